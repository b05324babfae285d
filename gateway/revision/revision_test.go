package revision_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

var (
	anywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	here     = netip.MustParseAddr("192.0.2.7")
)

func TestTheFirstStartTakesTheFolderAndLaterOnesWhatIsStored(t *testing.T) {
	g := start(t)
	g.inForce(1)
	first := g.Current()
	if first.Author != "@folder" || first.Status != revision.Active || len(first.Files) != len(g.folder()) {
		t.Errorf("the first revision is %+v", first)
	}
	ok(t, os.WriteFile(g.path("policy", "operations.rego"), []byte("package sekisho.operations\nallow if {"), 0o600))
	ok(t, g.restart())
	g.inForce(1)
	if again := g.Current(); again.Signature != first.Signature {
		t.Errorf("after a restart revision 1 is another: %+v", again)
	}
	if events := g.events(revision.AppliedKind); len(events) != 1 {
		t.Errorf("%d changes are on record, want the first start's alone", len(events))
	}
}

func TestAnApplyIsOnRecordWithBeforeAndAfterAndDecidesAtOnce(t *testing.T) {
	g := start(t)
	if g.dump() != policy.Allow {
		t.Fatal("a maintenance contractor may not run pg_dump under the shipped policy")
	}
	v := g.apply(noDumps)
	g.inForce(2)
	if g.dump() != policy.Deny {
		t.Error("pg_dump is not refused")
	}
	if v.Author != "aya" || v.Ticket != "CHG-1" || v.Base != 1 || v.Status != revision.Active || v.Hash != g.Engine().Revision().Hash() {
		t.Errorf("applied as %+v", v)
	}
	e := g.events(revision.AppliedKind)[0]
	before, _ := e.Detail["before"].(map[string]any)
	after, _ := e.Detail["after"].(map[string]any)
	diff, _ := e.Detail["diff"].(string)
	if e.Table != "R-4" || e.Person != "aya" || e.Outcome != recorder.OK || e.Detail["ticket"] != "CHG-1" || e.Detail["reason"] != "because" ||
		before["hash"] != g.History()[1].Hash || after["hash"] != v.Hash || !strings.Contains(diff, `+deny contains "No dumps."`) {
		t.Errorf("on record is %+v", e)
	}
	if g.History()[1].Status != revision.Superseded {
		t.Errorf("revision 1 is %s", g.History()[1].Status)
	}
}

func TestTheRecordComesBeforeTheStore(t *testing.T) {
	g := prepare(t)
	var order []string
	g.store = between{g.store, func() error { order = append(order, fmt.Sprint(len(g.events(revision.AppliedKind)))); return nil }, nil}
	ok(t, g.start())
	g.apply(noDumps)
	if fmt.Sprint(order) != "[1 2]" {
		t.Errorf("when the store was asked, there were %v events on record, want 1 and 2", order)
	}
}

func TestWhatIsAskedForIsRefusedInWords(t *testing.T) {
	g := start(t)
	for name, c := range map[string]struct {
		change func(c *revision.Change)
		want   error
		text   string
	}{
		"no reason":       {func(c *revision.Change) { c.Reason = " " }, revision.ErrRequest, "reason and a ticket"},
		"no ticket":       {func(c *revision.Change) { c.Ticket = "" }, revision.ErrRequest, "reason and a ticket"},
		"a time gone by":  {func(c *revision.Change) { c.ActivateAt = g.clock.Now().Add(-time.Second) }, revision.ErrRequest, "lie ahead"},
		"another base":    {func(c *revision.Change) { c.Base = 7 }, revision.ErrConflict, "from policy revision 7 and 1 is in force"},
		"nothing new":     {func(c *revision.Change) { c.Files = g.edited(nil) }, revision.ErrUnchanged, "in force already"},
		"an odd name":     {func(c *revision.Change) { c.Files["../x.rego"] = []byte("package x") }, revision.ErrRequest, "plain names"},
		"a note":          {func(c *revision.Change) { c.Files["NOTES.md"] = []byte("mind the gap") }, revision.ErrRequest, "plain names"},
		"no text":         {func(c *revision.Change) { c.Files["lib.rego"] = []byte("package x # \xff") }, revision.ErrRequest, "UTF-8"},
		"a huge file":     {func(c *revision.Change) { c.Files["big.rego"] = make([]byte, revision.MaxFile+1) }, revision.ErrRequest, "larger than"},
		"a huge folder":   {fill, revision.ErrRequest, "too large"},
		"an empty folder": {func(c *revision.Change) { c.Files = nil }, revision.ErrRequest, "no policy"},
		"a missing table": {func(c *revision.Change) { delete(c.Files, "matrix.yaml") }, nil, "matrix.yaml"},
		"a syntax mistake": {func(c *revision.Change) {
			c.Files["operations.rego"] = []byte("package sekisho.operations\nallow if {")
		}, nil, "operations.rego:2:"},
		"a bad command": {func(c *revision.Change) { c.Files["commands.yaml"] = []byte("fly: [kite]\n") }, nil, "commands.yaml:1:"},
		"a failing test": {func(c *revision.Change) {
			c.Files["mine_test.rego"] = []byte("package sekisho.mine_test\n\ntest_it if 1 == 2\n")
		}, nil, "mine_test.rego:3:"},
		"two mistakes": {func(c *revision.Change) {
			c.Files["operations.rego"] = []byte("package sekisho.operations\nallow if {")
			c.Files["windows.yaml"] = []byte("always: {days: [sunday]}\n")
		}, nil, "windows.yaml:1:"},
	} {
		t.Run(name, func(t *testing.T) {
			change := g.change(noDumps)
			c.change(&change)
			_, err := g.Apply(t.Context(), aya, change)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("error = %v, want %q in it", err, c.text)
			}
			var invalid *revision.Invalid
			if c.want != nil {
				wantErr(t, err, c.want)
			} else if !errors.As(err, &invalid) {
				t.Errorf("%v is not an Invalid", err)
			}
			g.inForce(1)
			if len(g.History()) != 1 {
				t.Errorf("there are %d revisions now", len(g.History()))
			}
		})
	}
}

func fill(c *revision.Change) {
	for i := range revision.MaxBytes/revision.MaxFile + 1 {
		c.Files[fmt.Sprintf("big%d.rego", i)] = make([]byte, revision.MaxFile-1)
	}
}

func TestNobodyIsLockedOut(t *testing.T) {
	g := start(t)
	for name, edit := range map[string]map[string]string{
		"by everybody being refused": {"staff.rego": "\ndeny contains \"Nobody.\" if input.action.operation == \"gateway.policy.apply\"\n"},
		"by no rollback":             {"staff.rego": "\ndeny contains \"Nobody.\" if input.action.operation == \"gateway.policy.rollback\"\n"},
		"by name":                    {"staff.rego": "\ndeny contains \"Not these.\" if {\n\tinput.person.id in {\"aya\", \"ken\"}\n\tstartswith(input.action.operation, \"gateway.policy.\")\n}\n"},
		"by the guardrail":           {"guardrail.rego": "\ndeny contains \"Shut.\" if input.person.staff == true\n"},
	} {
		t.Run(name, func(t *testing.T) {
			change := g.change(edit)
			delete(change.Files, "staff_test.rego") // they would notice
			delete(change.Files, "guardrail_test.rego")
			_, err := g.Apply(t.Context(), aya, change)
			wantErr(t, err, revision.ErrLockedOut)
			g.inForce(1)
		})
	}
	change := g.change(map[string]string{"staff.rego": "\ndeny contains \"Not ken.\" if {\n\tinput.person.id == \"ken\"\n\tstartswith(input.action.operation, \"gateway.policy.\")\n}\n"})
	delete(change.Files, "staff_test.rego")
	_, err := g.Apply(t.Context(), aya, change)
	ok(t, err)
}

func TestOfTwoWhoApplyAtOnceOneWinsAndTheOtherIsTold(t *testing.T) {
	g := start(t)
	changes := make([]revision.Change, 6)
	for i := range changes {
		changes[i] = g.change(remark(fmt.Sprint("by number ", i)))
	}
	errs := make([]error, len(changes))
	var wait sync.WaitGroup
	for i, c := range changes {
		wait.Go(func() { _, errs[i] = g.Apply(t.Context(), aya, c) })
	}
	wait.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantErr(t, err, revision.ErrConflict)
	}
	if won != 1 {
		t.Errorf("%d applies won, want 1", won)
	}
	g.inForce(2)
	if n := len(g.events(revision.AppliedKind)); n != 2 {
		t.Errorf("%d changes are on record, want the first start's and the winner's", n)
	}
}

// between stands between a Live and the database.
type between struct {
	revision.Store
	before func() error // of an Append
	after  func() error
}

func (b between) Append(ctx context.Context, entries []revision.Entry, files map[string][]byte) error {
	if b.before != nil {
		if err := b.before(); err != nil {
			return err
		}
	}
	err := b.Store.Append(ctx, entries, files)
	if b.after != nil {
		return errors.Join(err, b.after())
	}
	return err
}

var errDisk = errors.New("the disk is gone")

func TestWhenTheStoreFailsTheOldPolicyStays(t *testing.T) {
	g := prepare(t)
	var broken bool
	g.store = between{g.store, func() error {
		if broken {
			return errDisk
		}
		return nil
	}, nil}
	ok(t, g.start())
	broken = true
	_, err := g.Apply(t.Context(), aya, g.change(noDumps))
	wantErr(t, err, errDisk)
	if !strings.Contains(err.Error(), "the policy in force stays") {
		t.Errorf("%v does not say what is in force", err)
	}
	g.inForce(1)
	if g.dump() != policy.Allow || !g.folder().Equal(g.edited(nil)) || exists(g.path("policy.forward")) {
		t.Error("something of the failed change is left")
	}
	if e := g.events(revision.AppliedKind)[0]; e.Outcome != recorder.Failed || e.Revision != 2 {
		t.Errorf("on record last is %+v", e)
	}
	broken = false
	ok(t, g.restart())
	g.inForce(1)
	g.apply(noDumps)
	g.inForce(2)
}

func TestAChangeThatIsStoredCountsAlthoughSayingSoFailed(t *testing.T) {
	g := prepare(t)
	var broken bool
	g.store = between{g.store, nil, func() error {
		if broken {
			return errDisk
		}
		return nil
	}}
	ok(t, g.start())
	broken = true
	g.apply(noDumps)
	g.inForce(2)
	ok(t, g.restart())
	g.inForce(2)
}

func TestAHalfStoredChangeIsNone(t *testing.T) {
	g := start(t)
	db, err := sql.Open("sqlite", g.path("state.db"))
	ok(t, err)
	defer db.Close()
	_, err = db.Exec(`CREATE TRIGGER half BEFORE INSERT ON policy_files BEGIN SELECT RAISE(ABORT, 'no room'); END`)
	ok(t, err)
	if _, err := g.Apply(t.Context(), aya, g.change(noDumps)); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Fatalf("error = %v", err)
	}
	g.inForce(1)
	_, err = db.Exec(`DROP TRIGGER half`)
	ok(t, err)
	ok(t, g.restart())
	g.inForce(1)
	if len(g.History()) != 1 {
		t.Errorf("half a revision was stored: %+v", g.History())
	}
}

func TestAChangeThatNeverGotFromTheRecordToTheStoreIsMarked(t *testing.T) {
	g := prepare(t)
	killed := errors.New("killed")
	var die bool
	g.store = between{g.store, func() error {
		if die {
			panic(killed) // as kill -9 between the record and the store
		}
		return nil
	}, nil}
	ok(t, g.start())
	die = true
	func() {
		defer func() { recover() }()
		g.Apply(t.Context(), aya, g.change(noDumps))
	}()
	die = false
	ok(t, g.restart())
	g.inForce(1)
	e := g.events(revision.AppliedKind)[0]
	if e.Outcome != recorder.Lost || e.Revision != 2 || e.Detail["in_force"] != float64(1) {
		t.Errorf("on record last is %+v", e)
	}
	if !g.folder().Equal(g.edited(nil)) || exists(g.path("policy.forward")) {
		t.Error("the working copy is not what is in force")
	}
	ok(t, g.restart())
	if n := len(g.events(revision.AppliedKind)); n != 3 {
		t.Errorf("%d events, want the first start's, the lost one and its mark", n)
	}
}

func TestWhatWasChangedInTheDatabaseIsNamedAndNeverInForce(t *testing.T) {
	for name, change := range map[string]string{
		"a reason":            `UPDATE policy_entries SET record = CAST(replace(CAST(record AS TEXT), 'because', 'perhaps') AS BLOB) WHERE number = 2`,
		"a file":              `UPDATE policy_files SET content = CAST(content || x'0a' AS BLOB) WHERE CAST(content AS TEXT) LIKE '%No dumps.%'`,
		"a missing file":      `DELETE FROM policy_files WHERE CAST(content AS TEXT) LIKE '%No dumps.%'`,
		"a signature":         `UPDATE policy_entries SET signature = zeroblob(64) WHERE number = 2`,
		"a missing entry":     `DELETE FROM policy_entries WHERE seq = 2`,
		"an order":            `UPDATE policy_entries SET seq = 99 WHERE seq = 3`,
		"another's number":    `UPDATE policy_entries SET number = 9 WHERE number = 2`,
		"an entry once again": `INSERT INTO policy_entries SELECT 5, number, record, signature FROM policy_entries WHERE seq = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.apply(noDumps)
			db, err := sql.Open("sqlite", g.path("state.db"))
			ok(t, err)
			result, err := db.Exec(change)
			ok(t, err)
			if n, err := result.RowsAffected(); err != nil || n == 0 {
				t.Fatalf("nothing was changed: %d, %v", n, err)
			}
			ok(t, db.Close())
			err = g.restart()
			if !errors.Is(err, revision.ErrTampered) || !strings.Contains(err.Error(), "policy revision ") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestARevisionSignedWithAnotherKeyIsNone(t *testing.T) {
	g := start(t)
	other := start(t)
	ok(t, g.audit.Close())
	g.signer, g.audit = other.signer, other.audit
	wantErr(t, g.start(), revision.ErrTampered)
}

func TestARollbackIsANewRevisionOfTheOldFiles(t *testing.T) {
	g := start(t)
	g.apply(noDumps)
	v, err := g.Rollback(t.Context(), ken, 1, "the night shift stopped", "CHG-2")
	ok(t, err)
	g.inForce(3)
	if v.RollbackOf != 1 || v.Base != 2 || v.Author != "ken" || v.Hash != g.History()[2].Hash || g.dump() != policy.Allow {
		t.Errorf("rolled back as %+v", v)
	}
	_, err = g.Rollback(t.Context(), ken, 1, "again", "CHG-2")
	wantErr(t, err, revision.ErrUnchanged)
	_, err = g.Rollback(t.Context(), ken, 9, "again", "CHG-2")
	wantErr(t, err, revision.ErrNotFound)
	_, err = g.Rollback(t.Context(), ken, 2, "", "CHG-2")
	wantErr(t, err, revision.ErrRequest)
}

func TestASecondPersonConfirmsOrRejects(t *testing.T) {
	g := prepare(t)
	g.second = true
	g.same = func(a, b string) bool { return a == "aya" && b == "aya2" || a == "aya2" && b == "aya" }
	ok(t, g.start())
	g.inForce(1)
	v := g.apply(noDumps)
	if v.Status != revision.Waiting {
		t.Fatalf("applied as %s", v.Status)
	}
	g.inForce(1)
	_, err := g.Confirm(t.Context(), aya, 2)
	wantErr(t, err, revision.ErrOwn)
	again := aya
	again.Person = "aya2"
	_, err = g.Confirm(t.Context(), again, 2)
	wantErr(t, err, revision.ErrOwn)
	_, err = g.Reject(t.Context(), again, 2, "mine")
	wantErr(t, err, revision.ErrOwn)
	_, err = g.Withdraw(t.Context(), ken, 2, "not mine")
	wantErr(t, err, revision.ErrNotOwn)
	_, err = g.Rollback(t.Context(), ken, 2, "never was in force", "CHG-2")
	wantErr(t, err, revision.ErrState)
	v, err = g.Confirm(t.Context(), ken, 2)
	ok(t, err)
	g.inForce(2)
	if v.ConfirmedBy != "ken" || v.Author != "aya" {
		t.Errorf("confirmed as %+v", v)
	}
	_, err = g.Confirm(t.Context(), ken, 2)
	wantErr(t, err, revision.ErrState)

	// A rollback waits, too; and what waits can be rejected or taken back, once.
	if v, err = g.Rollback(t.Context(), ken, 1, "why", "CHG-3"); err != nil || v.Status != revision.Waiting {
		t.Fatalf("rollback: %+v, %v", v, err)
	}
	_, err = g.Reject(t.Context(), aya, v.Number, "")
	wantErr(t, err, revision.ErrRequest)
	v, err = g.Reject(t.Context(), aya, v.Number, "the dumps have to stop")
	ok(t, err)
	if v.Status != revision.Rejected || v.EndedBy != "aya" || g.events("policy.rejected")[0].Person != "aya" {
		t.Errorf("rejected as %+v", v)
	}
	_, err = g.Confirm(t.Context(), aya, v.Number)
	wantErr(t, err, revision.ErrState)
	v = g.apply(remark("one more"))
	v, err = g.Withdraw(t.Context(), aya, v.Number, "thought better of it")
	ok(t, err)
	if v.Status != revision.Withdrawn {
		t.Errorf("withdrawn as %+v", v)
	}
	ok(t, g.restart())
	g.inForce(2)
	if got := fmt.Sprint(statuses(g.History())); got != "[withdrawn rejected active superseded]" {
		t.Errorf("after a restart the statuses are %s", got)
	}
}

func statuses(list []revision.Version) (all []revision.Status) {
	for _, v := range list {
		all = append(all, v.Status)
	}
	return all
}

func TestWithASecondPersonSomebodyElseMustBeLeft(t *testing.T) {
	g := prepare(t)
	g.second, g.admins = true, []string{"aya", "aya2"}
	g.same = func(a, b string) bool { return strings.TrimSuffix(a, "2") == strings.TrimSuffix(b, "2") }
	ok(t, g.start())
	_, err := g.Apply(t.Context(), aya, g.change(noDumps))
	wantErr(t, err, revision.ErrLockedOut)
}

func TestWhatWaitsIsOvertakenByWhatComesIntoForceFirst(t *testing.T) {
	g := prepare(t)
	g.second = true
	ok(t, g.start())
	slow, quick := g.apply(remark("slow")), g.apply(noDumps)
	_, err := g.Confirm(t.Context(), ken, quick.Number)
	ok(t, err)
	g.inForce(quick.Number)
	_, err = g.Confirm(t.Context(), ken, slow.Number)
	wantErr(t, err, revision.ErrState)
	v, _, err := g.Get(t.Context(), slow.Number)
	ok(t, err)
	if v.Status != revision.Rejected || v.EndedBy != "@gateway" || !strings.Contains(v.Why, "revision 3 came into force before it") {
		t.Errorf("the overtaken one is %+v", v)
	}
}

func TestOnlySoManyRevisionsWait(t *testing.T) {
	g := prepare(t)
	g.second = true
	ok(t, g.start())
	for i := range 16 {
		g.apply(remark(fmt.Sprint(i)))
	}
	_, err := g.Apply(t.Context(), aya, g.change(remark("one too many")))
	wantErr(t, err, revision.ErrRequest)
}

func TestAPlanSaysWhatWouldChangeAndChangesNothing(t *testing.T) {
	g := start(t)
	p, err := g.Plan(t.Context(), g.edited(noDumps))
	ok(t, err)
	if p.Base != 1 || p.Number != 2 || p.Problem != "" || len(p.Diff) != 1 || p.Diff[0].Name != "maintenance.rego" || p.Tests < 40 {
		t.Errorf("planned %+v", p)
	}
	p, err = g.Plan(t.Context(), g.edited(map[string]string{"operations.rego": "\nallow if {"}))
	ok(t, err)
	if !strings.Contains(p.Problem, "operations.rego:") || len(p.Diff) != 1 {
		t.Errorf("of a mistake the plan says %+v", p)
	}
	g.inForce(1)
	if len(g.History()) != 1 {
		t.Error("planning made a revision")
	}
}
