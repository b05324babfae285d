package revision

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// testTime bounds compiling and testing one candidate.
const testTime = time.Minute

// Invalid is a policy that cannot come into force; its text has a line for each mistake, file:line:column first.
type Invalid struct{ text string }

func (e *Invalid) Error() string { return e.text }

// invalid tells the errors among what was found.
func invalid(report policy.Report) *Invalid {
	lines := make([]string, 0, len(report.Findings))
	for _, f := range report.Findings {
		if f.Severity == policy.SeverityError {
			lines = append(lines, fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message))
		}
	}
	return &Invalid{strings.Join(lines, "\n")}
}

// Check looks a policy over as Apply will; see policy.Check.
func (l *Live) Check(ctx context.Context, files Files) (policy.Report, error) {
	if err := files.Check(); err != nil {
		return policy.Report{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := l.enter(ctx); err != nil {
		return policy.Report{}, err
	}
	defer l.leave()
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	known := l.cfg.Directory()
	report := policy.Check(ctx, files.FS(), policy.CheckOptions{Commands: ParseCommands, Vendors: known.Vendors,
		Targets: known.Targets, Windows: known.Windows, Roles: known.Roles, Now: l.cfg.Now()})
	return report, ctx.Err()
}

// enter waits for one of the few places to compile in.
func (l *Live) enter(ctx context.Context) error {
	select {
	case l.examining <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Live) leave() { <-l.examining }

// Candidate compiles files that are not in force, for instance to simulate them. The number says what their decisions
// would name.
func (l *Live) Candidate(ctx context.Context, files Files, number int) (*policy.Revision, error) {
	if err := files.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	defer l.leave()
	rev, err := Load(files.FS(), number)
	if err != nil {
		return nil, &Invalid{err.Error()}
	}
	return rev, nil
}

// mending are the operations that somebody has to be able to do, so that a mistake can be mended.
var mending = []string{"gateway.policy.apply", "gateway.policy.rollback"}

// keepsIn refuses a candidate under which no admin of the directory could change the policy any more, or, where a second
// person is wanted, no two of them. A directory without admins is not asked.
func (l *Live) keepsIn(ctx context.Context, rev *policy.Revision) error {
	known := l.cfg.Directory()
	if len(known.Admins) == 0 {
		return nil
	}
	engine := policy.NewEngine(rev, l.cfg.Now)
	for _, operation := range mending {
		able, why := may(ctx, engine, known.Admins, operation)
		if len(able) == 0 {
			return fmt.Errorf("under this policy no admin may do %s (%s): %w", operation, why, ErrLockedOut)
		}
		if l.cfg.SecondPerson {
			if err := pairs(ctx, engine, known, able, operation); err != nil {
				return err
			}
		}
	}
	return nil
}

// pairs looks for two different people of whom one may do the operation and the other confirm it.
func pairs(ctx context.Context, engine *policy.Engine, known Directory, able []policy.Input, operation string) error {
	seconds, why := may(ctx, engine, known.Staff, "gateway.policy.confirm")
	for _, a := range able {
		for _, b := range seconds {
			if !known.same(a.Person.ID, b.Person.ID) {
				return nil
			}
		}
	}
	return fmt.Errorf("under this policy no admin may do %s and somebody else confirm it (%s): %w", operation, why, ErrLockedOut)
}

// same tells whether two ids are one person's.
func (d Directory) same(a, b string) bool { return a == b || d.Same != nil && d.Same(a, b) }

// may lists who may do an operation on the gateway, and says why the last one of the others may not.
func may(ctx context.Context, engine *policy.Engine, people []policy.Input, operation string) (able []policy.Input, why string) {
	for _, in := range people {
		in.Action = policy.Action{Protocol: "gateway", Operation: operation, Needs: []policy.Need{{Right: policy.Admin}}}
		d := engine.Decide(ctx, in)
		if d.Effect == policy.Allow {
			able = append(able, in)
			continue
		}
		why = "refused without a reason"
		if len(d.Reasons) > 0 {
			why = in.Person.ID + ": " + d.Reasons[0].EN
		}
	}
	return able, why
}
