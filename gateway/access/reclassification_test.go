package access_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

func TestKeptLinesAreClassifiedAgainUnderAnotherCatalogue(t *testing.T) {
	h := newHouse(t)
	dir := filepath.Join(t.TempDir(), "policy")
	check(t, os.CopyFS(dir, rego.FS))
	file := filepath.Join(dir, "commands.yaml")
	text, err := os.ReadFile(file)
	check(t, err)
	check(t, os.WriteFile(file, bytes.Replace(text, []byte("write: [tee]"), []byte("write: [tee, site-put]"), 1), 0o600))
	rev, err := policy.Load(os.DirFS(dir), 2)
	check(t, err)
	again, err := h.door.Reclassify(rev)
	check(t, err)
	for name, c := range map[string]struct {
		target, operation, line string
		want                    string // needs, capped, ok
	}{
		"a line that reads":            {"db1", "ssh.exec", "cat /srv/app/a", "[{read /srv/app/a}] false true"},
		"a program of the new table":   {"db1", "ssh.exec", "site-put /srv/app/a", "[{write /srv/app/a}] false true"},
		"a line that cannot be told":   {"db1", "ssh.exec", `eval "$x"`, "[] true true"},
		"one with a secret":            {"db1", "ssh.exec", "mysql --password=MASKED", "[] false false"},
		"one on a target that is gone": {"db9", "ssh.exec", "cat /srv/app/a", "[] false false"},
		"what is no command":           {"app", "http.request", "GET /x", "[] false true"},
	} {
		t.Run(name, func(t *testing.T) {
			in := policy.Input{Target: policy.Target{Name: c.target}, Action: policy.Action{Protocol: "ssh", Operation: c.operation, Command: c.line}}
			action, capped, ok := again(&in)
			if capped {
				action.Needs = nil
			}
			if got := fmt.Sprint(action.Needs, capped, ok); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
