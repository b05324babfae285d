package policy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// What a decision may take. A step is an expression of OPA's, some 0.5 µs; a decision of the shipped policy takes about 60
// for each need and vendor of the chain.
const (
	maxSteps    = 100_000         // of one evaluation
	maxAllSteps = 1_000_000       // of all evaluations of a decision
	maxMade     = 16 << 20        // bytes of values that one evaluation makes
	maxTime     = 2 * time.Second // of a decision
)

// Errors of an evaluation that was stopped.
var (
	errTooLong = errors.New("the evaluation was stopped: it takes too long")
	errTooBig  = errors.New("the evaluation was stopped: it makes too much data")
)

// budget stops a decision whose evaluations take too many steps, make too much data or take too long, or whose caller has
// gone. OPA asks Cancelled at each step, always from the evaluating goroutine, so no goroutine has to watch; bounded builtins
// and the weighing of values (weigh.go) take from it what a step does not show.
type budget struct {
	ctx   context.Context
	begun time.Time
	steps int // of this evaluation
	all   int // of the evaluations before
	made  int // bytes
}

func newBudget(ctx context.Context) *budget { return &budget{ctx: ctx, begun: time.Now()} }

// next begins another evaluation.
func (b *budget) next() { b.all, b.steps, b.made = b.all+b.steps, 0, 0 }

// Cancel implements topdown.Cancel.
func (b *budget) Cancel() { b.steps = maxSteps }

// Cancelled implements topdown.Cancel.
func (b *budget) Cancelled() bool {
	b.steps++
	return b.steps >= maxSteps || b.steps%64 == 0 && b.late()
}

func (b *budget) late() bool {
	return b.all+b.steps >= maxAllSteps || time.Since(b.begun) > maxTime || b.ctx.Err() != nil
}

// spend takes steps and bytes before they are used; the error stops the evaluation.
func (b *budget) spend(steps, bytes int, at *ast.Location) error {
	b.steps += steps
	b.made += bytes
	var err error
	switch {
	case b.made > maxMade || bytes < 0:
		err = errTooBig
	case b.steps >= maxSteps || steps < 0:
		err = errTooLong
	default:
		return nil
	}
	if at != nil {
		err = fmt.Errorf("%s:%d:%d: %w", at.File, at.Row, at.Col, err)
	}
	return topdown.Halt{Err: err}
}

// bytesPerStep is how much can be read or made in the time of a step.
const bytesPerStep = 2048

// pay takes what a call makes and reads from its evaluation's budget. A call outside of any has one of its own.
func pay(bctx topdown.BuiltinContext, makes, reads int) error {
	b, ok := bctx.Cancel.(*budget)
	if !ok {
		b = testBudget(bctx.Context)
	}
	return b.spend((makes+reads)/bytesPerStep, makes, bctx.Location)
}

// testBudgets are those of the policy's own tests, which OPA's runner evaluates: one for each test, by its context.
type testBudgets struct {
	mu sync.Mutex
	by map[<-chan struct{}]*budget
}

type testBudgetsKey struct{}

func withTestBudgets(ctx context.Context) context.Context {
	return context.WithValue(ctx, testBudgetsKey{}, &testBudgets{by: map[<-chan struct{}]*budget{}})
}

func testBudget(ctx context.Context) *budget {
	if ctx != nil {
		if all, ok := ctx.Value(testBudgetsKey{}).(*testBudgets); ok {
			return all.of(ctx.Done())
		}
	}
	return &budget{}
}

func (t *testBudgets) of(test <-chan struct{}) *budget {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[test] == nil {
		t.by[test] = &budget{}
	}
	return t.by[test]
}
