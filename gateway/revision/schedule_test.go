package revision_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/revision"
)

// serve runs the clockwork for one test.
func (g *gateway) serve() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Serve(ctx)
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	g.t.Cleanup(stop)
	return stop
}

// becomes waits until a revision has a status.
func (g *gateway) becomes(number int, status revision.Status) revision.Version {
	g.t.Helper()
	return g.becomesWithin(20*time.Second, number, status)
}

func (g *gateway) becomesWithin(limit time.Duration, number int, status revision.Status) revision.Version {
	g.t.Helper()
	end := time.Now().Add(limit)
	for {
		all := g.History()
		v := all[len(all)-number]
		if v.Status == status {
			return v
		}
		if time.Now().After(end) {
			g.t.Fatalf("after %v revision %d is %s, want %s", limit, number, v.Status, status)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (g *gateway) schedule(edits map[string]string, in time.Duration) revision.Version {
	g.t.Helper()
	c := g.change(edits)
	c.ActivateAt = g.clock.Now().Add(in)
	v, err := g.Apply(g.t.Context(), aya, c)
	ok(g.t, err)
	if v.Status != revision.Scheduled {
		g.t.Fatalf("applied as %s", v.Status)
	}
	return v
}

func TestAScheduledRevisionComesIntoForceWithinASecondOfItsTime(t *testing.T) {
	g := start(t)
	g.serve()
	g.schedule(noDumps, time.Hour)
	g.inForce(1)
	g.clock.pass(time.Hour - time.Second)
	g.clock.seen() // too early is as wrong as too late
	g.inForce(1)
	g.clock.pass(time.Second)
	v := g.becomesWithin(time.Second, 2, revision.Active)
	if v.ActivatedAt.Before(v.ActivateAt) {
		t.Errorf("in force at %v, before %v", v.ActivatedAt, v.ActivateAt)
	}
	if e := g.events(revision.AppliedKind)[0]; e.Detail["author"] != "aya" || e.Revision != 2 {
		t.Errorf("on record is %+v", e)
	}
}

func TestAScheduledRevisionComesIntoForceAfterARestart(t *testing.T) {
	g := start(t)
	g.schedule(noDumps, time.Hour)
	g.clock.pass(2 * time.Hour)
	ok(t, g.restart())
	g.inForce(1)
	g.serve()
	g.becomes(2, revision.Active)
	g.inForce(2)
}

func TestAScheduledRevisionIsOvertaken(t *testing.T) {
	g := start(t)
	g.serve()
	g.schedule(noDumps, time.Hour)
	g.apply(remark("meanwhile"))
	v := g.becomes(2, revision.Rejected)
	if !strings.Contains(v.Why, "revision 3 came into force before it") {
		t.Errorf("it is not told why: %+v", v)
	}
	g.clock.pass(2 * time.Hour)
	g.clock.seen() // it has had its chance
	g.inForce(3)
}

func TestOfTwoScheduledTheFirstOvertakesTheSecond(t *testing.T) {
	g := start(t)
	g.schedule(remark("later"), 2*time.Hour)
	g.schedule(noDumps, time.Hour)
	g.clock.pass(3 * time.Hour)
	g.serve()
	g.becomes(3, revision.Active)
	g.becomes(2, revision.Rejected)
}

func TestAScheduledRevisionThatWouldLockEverybodyOutIsRejected(t *testing.T) {
	g := start(t)
	change := map[string]string{"staff.rego": "\ndeny contains \"Not ken.\" if {\n\tinput.person.id == \"ken\"\n\tstartswith(input.action.operation, \"gateway.policy.\")\n}\n"}
	g.schedule(change, time.Hour)
	g.admins = []string{"ken"} // aya has left
	g.clock.pass(2 * time.Hour)
	g.serve()
	v := g.becomes(2, revision.Rejected)
	if v.EndedBy != "@gateway" || !strings.Contains(v.Why, "Not ken.") {
		t.Errorf("rejected as %+v", v)
	}
	g.inForce(1)
	if e := g.events("policy.rejected")[0]; e.Revision != 2 {
		t.Errorf("on record is %+v", e)
	}
}

func TestAScheduledRevisionWhoseFilesWereChangedIsRejected(t *testing.T) {
	g := start(t)
	g.schedule(noDumps, time.Hour)
	g.exec(`UPDATE policy_files SET content = CAST(content || x'0a' AS BLOB) WHERE CAST(content AS TEXT) LIKE '%No dumps.%'`)
	g.clock.pass(2 * time.Hour)
	g.serve()
	if v := g.becomes(2, revision.Rejected); !strings.Contains(v.Why, "maintenance.rego is not the file that was signed") {
		t.Errorf("rejected as %+v", v)
	}
	g.inForce(1)
}

func TestAConfirmedRevisionWaitsForItsTime(t *testing.T) {
	g := prepare(t)
	g.second = true
	ok(t, g.start())
	g.serve()
	c := g.change(noDumps)
	c.ActivateAt = g.clock.Now().Add(time.Hour)
	v, err := g.Apply(t.Context(), aya, c)
	ok(t, err)
	if v.Status != revision.Waiting {
		t.Fatalf("applied as %s", v.Status)
	}
	v, err = g.Confirm(t.Context(), ken, 2)
	ok(t, err)
	if v.Status != revision.Scheduled || v.ConfirmedBy != "ken" {
		t.Fatalf("confirmed as %+v", v)
	}
	g.inForce(1)
	g.clock.pass(time.Hour)
	g.becomes(2, revision.Active)
}

func TestWhenTheStoreFailsAtItsTimeAScheduledRevisionIsTriedAgain(t *testing.T) {
	g := prepare(t)
	var broken bool
	g.store = between{g.store, func() error {
		if broken {
			return errDisk
		}
		return nil
	}, nil}
	ok(t, g.start())
	g.schedule(noDumps, time.Hour)
	broken = true
	g.clock.pass(time.Hour)
	stop := g.serve()
	for len(g.events(revision.AppliedKind)) < 3 { // the first start's, this one's, and that it failed
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	g.inForce(1)
	broken = false
	g.clock.pass(time.Minute)
	g.serve()
	g.becomes(2, revision.Active)
}
