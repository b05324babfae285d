package policy_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/sekisho/sekisho/policy"
)

// BenchmarkDecide measures one decision: asked for the first time, asked again, and below a parent vendor.
func BenchmarkDecide(b *testing.B) {
	e := engine(b, nil)
	ctx := context.Background()
	run := func(name string, in policy.Input, next func(i int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				next(i)
				if d := e.Decide(ctx, in); d.Effect != policy.Allow {
					b.Fatal(d.Reasons, d.Fault())
				}
			}
		})
	}
	in := asks("maintenance", policy.Read)
	another := func(i int) { in.Action.Needs[0].Resource = "/srv/" + strconv.Itoa(i) }
	run("first", in, another)
	run("repeated", in, func(int) {})
	in.Parents = []policy.Vendor{vendor("parent", "maintenance")}
	run("first with a parent", in, another)
	run("repeated with a parent", in, func(int) {})
}
