package policy_test

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/sekisho/sekisho/policy"
)

// BenchmarkPromises prints how what the project promises about decisions stands, each as a share of its bound in the unit's
// name. Everything is measured in turn, in many short batches of which the fastest counts, so that the figures hold on a
// machine that does other things, too.
func BenchmarkPromises(b *testing.B) {
	one := []policy.Vendor{vendor("acme", "maintenance")}
	in := asks("maintenance", policy.Read)
	e, opa := engine(b, nil), newPlain(b, one)
	first := func(inputs ...policy.Input) func() {
		i := 0
		return func() {
			policy.Forget(e)
			if d := e.Decide(context.Background(), inputs[i%len(inputs)]); d.Effect != policy.Allow {
				b.Fatal(d.Reasons, d.Fault())
			}
			i++
		}
	}
	again := func() {
		if d := e.Decide(context.Background(), in); d.Effect != policy.Allow {
			b.Fatal(d.Reasons, d.Fault())
		}
	}
	runs := []*batch{
		{name: "plain", size: 4, run: func() {
			if effect, err := opa.decide(&in); effect != policy.Allow {
				b.Fatal(effect, err)
			}
		}},
		{name: "first", size: 16, run: first(in)},
		{name: "chain", size: 16, run: first(chainOfThree())},
		{name: "ten", size: 16, run: first(askingAll(10)...)},
		{name: "ten thousand", size: 16, run: first(askingAll(10_000)...)},
		{name: "repeated", size: 500, run: again},
	}
	fastest := map[string]float64{}
	for b.Loop() {
		for _, r := range runs {
			if took := r.measure(); fastest[r.name] == 0 || took < fastest[r.name] {
				fastest[r.name] = took
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(fastest["first"]/fastest["plain"], "first/plain(≤0.25)")
	b.ReportMetric(fastest["repeated"]/1000, "µs-repeated(≤0.5)")
	b.ReportMetric(fastest["ten thousand"]/fastest["ten"], "10000/10-vendors(≤1.2)")
	b.ReportMetric(fastest["chain"]/fastest["first"], "chain-of-3/1(≤2.5)")
	b.ReportMetric(fastest["plain"]/1000, "µs-plain")
	b.ReportMetric(fastest["first"]/1000, "µs-first")
}

// batch is something that is measured a few times in a row.
type batch struct {
	name string
	size int
	run  func()
}

// measure is how long one run took, in nanoseconds.
func (t *batch) measure() float64 {
	begun := time.Now()
	for range t.size {
		t.run()
	}
	return float64(time.Since(begun)) / float64(t.size)
}

// BenchmarkDecide measures one decision, ours and our peers'. First is with nothing remembered at all; of the others the name
// says what was seen before.
func BenchmarkDecide(b *testing.B) {
	one := []policy.Vendor{vendor("acme", "maintenance")}
	in := asks("maintenance", policy.Read)
	b.Run("OPA the plain way", func(b *testing.B) {
		opa := newPlain(b, one)
		for b.Loop() {
			if effect, err := opa.decide(&in); effect != policy.Allow {
				b.Fatal(effect, err)
			}
		}
	})
	b.Run("Cedar", func(b *testing.B) {
		c := newCedar(b, one)
		for b.Loop() {
			if effect := c.decide(&in, "open"); effect != policy.Allow {
				b.Fatal(effect)
			}
		}
	})
	b.Run("Go map, matrix only", func(b *testing.B) {
		m := newMap()
		for b.Loop() {
			if effect := m.decide(&in); effect != policy.Allow {
				b.Fatal(effect)
			}
		}
	})
	e := engine(b, nil)
	b.Run("first", func(b *testing.B) { decideAll(b, e, true, in) })
	b.Run("first, an approval with its reasons", func(b *testing.B) { decideAll(b, e, true, asks("maintenance", policy.Write)) })
	b.Run("first, three rights", func(b *testing.B) {
		decideAll(b, e, true, asks("maintenance", policy.Read, policy.Execute, policy.Read))
	})
	b.Run("first, a chain of three", func(b *testing.B) { decideAll(b, e, true, chainOfThree()) })
	b.Run("first, ten vendors", func(b *testing.B) { decideAll(b, e, true, askingAll(10)...) })
	b.Run("first, 10,000 vendors", func(b *testing.B) { decideAll(b, e, true, askingAll(10_000)...) })
	b.Run("a new path in a known session", func(b *testing.B) { decideAll(b, e, false, onPaths(in, 100_000)...) })
	b.Run("a new path, rules that read it", func(b *testing.B) {
		reading := engine(b, map[string]string{"maintenance.rego": more(b, "maintenance.rego",
			`deny contains "No customer files." if lib.touches("/srv/app/customers")`)})
		decideAll(b, reading, false, onPaths(in, 100_000)...)
	})
	b.Run("repeated", func(b *testing.B) { decideAll(b, e, false, in) })
	b.Run("repeated, a chain of three", func(b *testing.B) { decideAll(b, e, false, chainOfThree()) })
}

// decideAll decides the inputs in turn, with everything forgotten between them if first.
func decideAll(b *testing.B, e *policy.Engine, first bool, inputs ...policy.Input) {
	ctx := context.Background()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if first {
			policy.Forget(e)
		}
		if d := e.Decide(ctx, inputs[i%len(inputs)]); d.Effect == policy.Deny {
			b.Fatal(d.Reasons, d.Fault())
		}
		i++
	}
}

// chainOfThree is a person below two parents, each of another type.
func chainOfThree() policy.Input {
	in := asks("maintenance", policy.Read)
	in.Parents = []policy.Vendor{vendor("parent", "development"), vendor("head", "operations")}
	return in
}

func onPaths(in policy.Input, n int) []policy.Input {
	list := make([]policy.Input, n)
	for i := range list {
		list[i] = in
		list[i].Action.Needs = []policy.Need{{Right: policy.Read, Resource: "/srv/app/" + strconv.Itoa(i)}}
	}
	return list
}

// vendors are n vendors, each with its own network and targets.
func vendors(n int) []policy.Vendor {
	list := make([]policy.Vendor, n)
	for i := range list {
		list[i] = vendor(fmt.Sprintf("vendor-%05d", i), "maintenance")
		list[i].Networks = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)}
		list[i].Targets = []string{fmt.Sprintf("db-%d", i), fmt.Sprintf("app-%d", i)}
	}
	return list
}

// askingAll is one person of each of n vendors, in an order without a pattern.
func askingAll(n int) []policy.Input {
	list := make([]policy.Input, n)
	for i, v := range vendors(n) {
		in := asks("maintenance", policy.Read)
		in.Person = policy.Person{ID: "person-" + strconv.Itoa(i), Vendor: v.ID}
		in.Vendor, in.Target.Name = v, v.Targets[0]
		in.Source.IP = v.Networks[0].Addr().Next()
		list[i*7919%n] = in // 7919 is prime
	}
	return list
}

// BenchmarkMemory prints how much memory 1,000 vendors take as the Go structs that decisions read and in OPA's store.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	measure := func(build func() any) float64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		kept := build()
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(kept)
		return float64(after.HeapAlloc-before.HeapAlloc) / n * 1000 / 1024
	}
	b.Run("Go structs", func(b *testing.B) {
		var kib float64
		for b.Loop() {
			kib = measure(func() any { return vendors(n) })
		}
		b.ReportMetric(kib, "KiB/1000vendors")
	})
	b.Run("OPA store", func(b *testing.B) {
		var kib float64
		for b.Loop() {
			kib = measure(func() any {
				data := plainData(b, vendors(n))
				return inmem.NewFromObject(data)
			})
		}
		b.ReportMetric(kib, "KiB/1000vendors")
	})
}
