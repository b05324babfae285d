package directory_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/store"
)

const (
	oneVendor  = "vendors: {acme: {type: temporary, windows: [office-hours]}}\n"
	twoVendors = oneVendor + "people: {p: {vendor: acme}}\n"
)

func database(t *testing.T) directory.Store {
	t.Helper()
	db, err := store.Open(context.Background(), filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db.Directory()
}

func live(t *testing.T, s directory.Store) *directory.Live {
	t.Helper()
	l, err := directory.NewLive(context.Background(), s, options())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func apply(l *directory.Live, yaml string, base int) (directory.Version, []directory.Change, error) {
	return l.Apply(context.Background(), []byte(yaml), "mika", "new contract", base)
}

func TestBeforeTheFirstApplyNobodyIsKnown(t *testing.T) {
	l := live(t, database(t))
	if l.Current().Number() != 0 || len(l.Current().People()) != 0 || l.Version().Number != 0 {
		t.Errorf("current = %+v", l.Current())
	}
	if _, ok := l.Current().Input("hanako", "db1", "app"); ok {
		t.Error("somebody was found in an empty directory")
	}
}

func TestAnAppliedDirectoryIsInForceAndSurvivesARestart(t *testing.T) {
	s := database(t)
	l := live(t, s)
	called := 0
	l.OnChange(func() {
		called++
		if len(l.Current().Vendors()) == 0 {
			t.Error("told of a change that is not in force")
		}
	})
	v, changes, err := apply(l, specExample, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	if v.Number != 1 || v.By != "mika" || v.Reason != "new contract" || !v.At.Equal(at) || string(v.YAML) != specExample {
		t.Errorf("version = %+v (R-4)", v)
	}
	if len(changes) == 0 || called != 1 || l.Current().Number() != 1 {
		t.Errorf("%d changes, told %d times, number %d", len(changes), called, l.Current().Number())
	}
	again := live(t, s)
	if diff := directory.Diff(l.Current(), again.Current()); len(diff) != 0 || again.Current().Number() != 1 {
		t.Errorf("after a restart: version %d, %v", again.Current().Number(), diff)
	}
}

func TestAPlanChangesNothing(t *testing.T) {
	l := live(t, database(t))
	if _, _, err := apply(l, oneVendor, 0); err != nil {
		t.Fatal(err)
	}
	planned, changes, err := l.Plan([]byte(twoVendors))
	if err != nil {
		t.Fatal(err)
	}
	if planned.Number() != 2 || len(changes) != 1 || changes[0].String() != "+ people.p.vendor: acme" {
		t.Errorf("plan = %d, %v", planned.Number(), changes)
	}
	if l.Current().Number() != 1 || len(l.Current().People()) != 0 {
		t.Error("a plan was put in force")
	}
}

func TestAnApplyIsAllOrNothing(t *testing.T) {
	s := database(t)
	l := live(t, s)
	if _, _, err := apply(l, oneVendor, 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		yaml, by, reason string
		base             int
		want             string
	}{
		"a mistake in the document":  {oneVendor + "people: {q: {vendor: zeta}}", "mika", "r", 1, "directory.yaml:2:22: there is no vendor"},
		"nobody who did it":          {twoVendors, "", "r", 1, "who does it and a reason are required"},
		"no reason":                  {twoVendors, "mika", " \n", 1, "who does it and a reason are required"},
		"based on an older version":  {twoVendors, "mika", "r", 0, directory.ErrConflict.Error()},
		"based on a version to come": {twoVendors, "mika", "r", 2, directory.ErrConflict.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := l.Apply(context.Background(), []byte(c.yaml), c.by, c.reason, c.base)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want %q", err, c.want)
			}
			if l.Current().Number() != 1 || len(l.Current().People()) != 0 || live(t, s).Current().Number() != 1 {
				t.Error("something was changed")
			}
		})
	}
}

func TestAStoreThatFailsChangesNothing(t *testing.T) {
	l := live(t, database(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := l.Apply(ctx, []byte(oneVendor), "mika", "r", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if l.Current().Number() != 0 || len(l.Current().Vendors()) != 0 {
		t.Error("put in force although it was not stored")
	}
}

func TestApplyingTheSameBytesAgainMakesNoVersion(t *testing.T) {
	l := live(t, database(t))
	if _, _, err := apply(l, oneVendor, 0); err != nil {
		t.Fatal(err)
	}
	v, changes, err := apply(l, oneVendor, 1)
	if err != nil || v.Number != 1 || len(changes) != 0 {
		t.Errorf("version %d, %v, %v", v.Number, changes, err)
	}
	v, changes, err = apply(l, "# now explained\n"+oneVendor, 1)
	if err != nil || v.Number != 2 || len(changes) != 0 {
		t.Errorf("a comment: version %d, %v, %v", v.Number, changes, err)
	}
}

func TestOfManyAppliesAtOnceExactlyOneWins(t *testing.T) {
	l := live(t, database(t))
	var wait sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wait.Go(func() { _, _, errs[i] = apply(l, oneVendor, 0) })
	}
	wait.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, directory.ErrConflict) {
			t.Errorf("error = %v", err)
		}
	}
	if won != 1 || l.Current().Number() != 1 {
		t.Errorf("%d won, version %d", won, l.Current().Number())
	}
}

func TestAGatewayThatWasSlowerCatchesUp(t *testing.T) {
	s := database(t)
	fast, slow := live(t, s), live(t, s)
	if _, _, err := apply(fast, twoVendors, 0); err != nil {
		t.Fatal(err)
	}
	told := false
	slow.OnChange(func() { told = true })
	if _, _, err := apply(slow, oneVendor, 0); !errors.Is(err, directory.ErrConflict) {
		t.Fatalf("error = %v", err)
	}
	if slow.Current().Number() != 1 || len(slow.Current().People()) != 1 || !told {
		t.Errorf("version %d with %v, told: %v", slow.Current().Number(), slow.Current().People(), told)
	}
	if _, _, err := apply(slow, oneVendor, 1); err != nil {
		t.Errorf("the repeated apply: %v", err)
	}
}

func TestAWindowThatPolicyLostDoesNotStopTheGateway(t *testing.T) {
	s := database(t)
	if _, _, err := apply(live(t, s), oneVendor, 0); err != nil {
		t.Fatal(err)
	}
	l, err := directory.NewLive(context.Background(), s, directory.Options{Zone: tokyo})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := l.Current().Vendor("acme"); len(v.Windows) != 1 {
		t.Errorf("vendor = %+v", v)
	}
	if _, _, err := l.Plan([]byte(oneVendor)); err == nil {
		t.Error("a new document may name the lost window")
	}
}

func TestAStoredDirectoryThatCannotBeReadStopsTheGateway(t *testing.T) {
	s := database(t)
	bad := directory.Version{Number: 1, YAML: []byte("vendors: ["), By: "mika", Reason: "r"}
	if err := s.SaveDirectory(context.Background(), bad); err != nil {
		t.Fatal(err)
	}
	_, err := directory.NewLive(context.Background(), s, options())
	if err == nil || !strings.Contains(err.Error(), "stored directory version 1:1:10:") {
		t.Errorf("error = %v", err)
	}
}

func TestALiveDirectoryNeedsAZone(t *testing.T) {
	if _, err := directory.NewLive(context.Background(), database(t), directory.Options{}); err == nil {
		t.Error("made without a zone")
	}
}
