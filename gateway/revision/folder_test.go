package revision_test

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// exec changes the database behind the gateway's back.
func (g *gateway) exec(statement string) {
	g.t.Helper()
	db, err := sql.Open("sqlite", g.path("state.db"))
	ok(g.t, err)
	result, err := db.Exec(statement)
	ok(g.t, err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		g.t.Fatalf("nothing was changed: %d, %v", n, err)
	}
	ok(g.t, db.Close())
}

func TestAnUntouchedFolderFollowsWhatIsInForce(t *testing.T) {
	g := start(t)
	ok(t, os.WriteFile(g.path("policy", "NOTES.md"), []byte("mine"), 0o644))
	ok(t, os.MkdirAll(g.path("policy", ".git"), 0o755))
	c := g.change(noDumps)
	c.Files["mine.rego"] = []byte("package sekisho.mine\n\nanswer := 42\n")
	delete(c.Files, "consulting_test.rego")
	_, err := g.Apply(t.Context(), aya, c)
	ok(t, err)
	if !g.folder().Equal(c.Files) {
		t.Error("the folder did not follow the apply")
	}
	if !exists(g.path("policy", "NOTES.md")) || !exists(g.path("policy", ".git")) || exists(g.path("policy.forward")) {
		t.Error("what stands beside the policy was touched, or something was left behind")
	}
	_, err = g.Rollback(t.Context(), aya, 1, "why", "CHG-2")
	ok(t, err)
	_, first, err := g.Get(t.Context(), 1)
	ok(t, err)
	if !g.folder().Equal(first) {
		t.Error("the folder did not follow the rollback")
	}
}

func TestAFolderSomebodyWorksInIsLeftAlone(t *testing.T) {
	g := start(t)
	ok(t, os.WriteFile(g.path("policy", "operations.rego"), []byte("package sekisho.operations\n# half done"), 0o600))
	g.apply(noDumps)
	want, _ := os.ReadFile(g.path("policy", "operations.rego"))
	if strings.Contains(string(g.folder()["maintenance.rego"]), "No dumps.") || !strings.Contains(string(want), "half done") {
		t.Error("somebody's work was overwritten")
	}
}

func TestAnApplyOfTheFolderItselfLeavesItAsItIs(t *testing.T) {
	g := start(t)
	want := g.edited(noDumps)
	ok(t, os.WriteFile(g.path("policy", "maintenance.rego"), want["maintenance.rego"], 0o600))
	g.apply(noDumps)
	if !g.folder().Equal(want) || exists(g.path("policy.forward")) {
		t.Error("the folder was touched")
	}
}

// TestKilledAnywhereTheFolderIsOldOrNew kills a process at every step of an apply.
func TestKilledAnywhereTheFolderIsOldOrNew(t *testing.T) {
	if os.Getenv("KILL_DIR") != "" {
		applyUntilKilled(t)
		return
	}
	self, err := os.Executable()
	ok(t, err)
	seen := map[string]bool{}
	for _, step := range []string{"record", "store", "stored", "file"} {
		t.Run(step, func(t *testing.T) {
			g := start(t)
			_, old, err := g.Get(t.Context(), 1)
			ok(t, err)
			ok(t, os.WriteFile(g.path("key"), g.signer, 0o600))
			ok(t, g.audit.Close())
			ok(t, g.db.Close())
			cmd := exec.Command(self, "-test.run=^TestKilledAnywhereTheFolderIsOldOrNew$")
			cmd.Env = append(os.Environ(), "KILL_DIR="+g.dir, "KILL_STEP="+step)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("it was not killed: %v\n%s", err, out)
			}
			g.open()
			ok(t, g.start())
			_, now, err := g.Get(t.Context(), 0)
			ok(t, err)
			if !g.folder().Equal(now) || exists(g.path("policy.forward")) {
				t.Errorf("revision %d is in force and the folder is not it", g.Current().Number)
			}
			if number := g.Current().Number; number == 1 != now.Equal(old) {
				t.Errorf("revision %d has not its files", number)
			}
			seen[string(rune('0'+g.Current().Number))] = true
			left, err := filepath.Glob(g.path("policy", ".sekisho*"))
			ok(t, err)
			if len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if !seen["1"] || !seen["2"] {
		t.Errorf("after a kill only %v was in force; one of both outcomes was never tried", seen)
	}
}

// applyUntilKilled runs in the child: it kills itself at the step.
func applyUntilKilled(t *testing.T) {
	key, err := os.ReadFile(filepath.Join(os.Getenv("KILL_DIR"), "key"))
	ok(t, err)
	step := os.Getenv("KILL_STEP")
	kill := func(at string) func() error {
		return func() error {
			if at == step {
				self, err := os.FindProcess(os.Getpid())
				ok(t, err)
				ok(t, self.Kill())
				select {}
			}
			return nil
		}
	}
	g := &gateway{t: t, dir: os.Getenv("KILL_DIR"), signer: key, admins: []string{"aya", "ken"}}
	g.clock.now = now
	g.open()
	g.store = between{g.store, kill("store"), kill("stored")}
	ok(t, g.start())
	c := g.change(map[string]string{"maintenance.rego": "\n# one\n", "operations.rego": "\n# two\n", "temporary.rego": "\n# three\n"})
	if step == "record" {
		g.audit.Close()
		kill("record")()
	}
	if step == "file" {
		go func() {
			for { // as soon as the first file is new and another is not
				text, _ := os.ReadFile(g.path("policy", "maintenance.rego"))
				if strings.HasSuffix(string(text), "# one\n") {
					kill("file")()
				}
			}
		}()
	}
	_, err = g.Apply(context.Background(), aya, c)
	ok(t, err)
	select {} // the killer comes late at most
}
