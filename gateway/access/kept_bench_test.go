package access

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// month is how many decisions the log of the benchmarks holds.
const month = 200_000

// work is one contractor's command on one target, as a real month has them: few people, a few hundred different lines with a
// number in some of them, now and then a lease.
func work(i int, now time.Time) policy.Input {
	vendor := policy.Vendor{ID: fmt.Sprint("vendor", i%20), Type: "maintenance", Chain: []string{fmt.Sprint("vendor", i%20)},
		Contract: policy.Contract{From: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Windows: []string{"always"},
		Targets: []string{"db1", "db2", "db3", "web1", "web2", "web3", "batch1", "batch2"}}
	line := fmt.Sprintf("systemctl status app%d --no-pager", i%300)
	if i%4 == 0 {
		line = fmt.Sprintf("tail -n 200 /var/log/app/%08d.log", i)
	}
	in := policy.Input{Person: policy.Person{ID: fmt.Sprint("person", i%60), Vendor: vendor.ID}, Vendor: vendor,
		Auth: policy.Auth{Kind: "human", Cert: policy.Cert{Serial: "3f2a9c", NotAfter: now.AddDate(0, 6, 0).Truncate(24 * time.Hour)},
			MFA: policy.MFA{Method: "webauthn", At: now.Truncate(8 * time.Hour), UV: true}},
		Source: policy.Source{IP: netip.MustParseAddr("192.0.2.7")},
		Target: policy.Target{Name: vendor.Targets[i%8], Kind: "ssh", Login: "app", Labels: map[string]string{"env": "prod"}},
		Action: policy.Action{Protocol: "ssh", Operation: "ssh.exec", Command: line,
			Needs: []policy.Need{{Right: policy.Execute, Resource: line}}},
		Time: policy.Clock{Now: now, Zone: "Asia/Tokyo"}}
	if i%50 == 0 {
		in.Leases = []policy.Lease{{ID: fmt.Sprint("l-", i), Person: in.Person.ID, Target: in.Target.Name, Right: policy.Execute,
			Pattern: line, Until: now.Add(time.Hour)}}
	}
	return in
}

// worked is the event of such a command.
func worked(i int, in *policy.Input) recorder.Event {
	offset := int64(i)
	return recorder.Event{Class: recorder.ClassCommand, Kind: "command.run", Outcome: recorder.OK, Person: in.Person.ID,
		Vendor: in.Vendor.ID, Chain: in.Vendor.Chain, Session: fmt.Sprintf("s-01JDXXXXXXXXXXXXXXXX%06d", i/50), Target: in.Target.Name, Login: "app",
		Source: &recorder.Source{IP: in.Source.IP, Port: 51324, Client: "OpenSSH_9.2"}, Enforced: LabelParsed, OffsetMS: &offset,
		Detail: map[string]any{"operation": "ssh.exec", "line": in.Action.Command, "needs": in.Action.Needs, "exit": 0,
			"started": in.Time.Now, "ms": 120}}
}

// aMonth fills a door's log and tells how many bytes an event has without and with its input.
func aMonth(b *testing.B, keep bool) (d *Door, since time.Time, perEvent float64) {
	b.Helper()
	since = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	d = keeper(b, func() time.Time { return since })
	var clock sync.Mutex
	at := since
	d.cfg.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return at }
	jobs := make(chan int)
	var done sync.WaitGroup
	for range 200 {
		done.Go(func() {
			for i := range jobs {
				now := d.cfg.Now()
				in := work(i, now)
				r := ruling{Decision: policy.Decision{ID: fmt.Sprintf("d-%026d", i), Effect: policy.Allow, Revision: 7}}
				if keep {
					r.input = &in
				}
				if err := d.append(context.Background(), worked(i, &in), &r); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range month {
		jobs <- i
		clock.Lock()
		at = at.Add(30 * 24 * time.Hour / month)
		clock.Unlock()
	}
	close(jobs)
	done.Wait()
	reading, err := d.cfg.Audit.Read(recorder.ClassCommand, time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	defer reading.Close()
	return d, since, float64(reading.Size()) / month
}

// processorTime is what the process has used of the processor: other work on the machine does not count.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkHistory(b *testing.B) {
	_, _, bare := aMonth(b, false)
	d, since, kept := aMonth(b, true)
	b.Run("in bulk", func(b *testing.B) {
		b.ReportAllocs()
		start, used := time.Now(), processorTime(b)
		for range b.N {
			n := 0
			for batch, err := range d.everything(b, since, since.AddDate(0, 2, 0)).all(b.Context()) {
				if err != nil {
					b.Fatal(err)
				}
				n += len(batch)
			}
			if n != month {
				b.Fatal(n)
			}
		}
		b.ReportMetric(float64(b.N)*month/time.Since(start).Seconds(), "events/s")
		b.ReportMetric(float64(processorTime(b)-used)/float64(b.N)/month, "cpu-ns/event")
		b.ReportMetric(bare, "B/event-bare")
		b.ReportMetric(kept, "B/event-kept")
	})
	b.Run("in bulk and decided again under two revisions", func(b *testing.B) {
		base := d.cfg.Engine.Revision()
		start, used := time.Now(), processorTime(b)
		for range b.N {
			history := d.everything(b, since, since.AddDate(0, 2, 0)).all(b.Context())
			sim, err := policy.Simulate(b.Context(), base, base, history, policy.SimulateOptions{})
			if err != nil || sim.Decisions != month || sim.Changed != 0 {
				b.Fatal(sim, err)
			}
		}
		b.ReportMetric(1e6*time.Since(start).Seconds()/float64(b.N)/month, "s/million")
		b.ReportMetric(float64(processorTime(b)-used)/float64(b.N)/month, "cpu-ns/event")
	})
	b.Run("one by its id", func(b *testing.B) {
		for i := range b.N {
			id := fmt.Sprintf("d-%026d", (i*7919)%month)
			if k, _, err := d.keptIn(context.Background(), recorder.ClassCommand, stretch{}, id); err != nil || k.Input == nil {
				b.Fatal(id, err)
			}
		}
	})
}
