package revision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
)

// Limits on what people say about a change, in bytes, and on changes that wait.
const (
	maxReason = 1000
	maxTicket = 200
	maxSource = 500
	maxOpen   = 16
	maxAhead  = 366 * 24 * time.Hour
	storeTime = 10 * time.Second
)

// Change asks for a new revision.
type Change struct {
	Files      Files
	Base       int // the revision in force that its author has seen; Plan gives it
	Reason     string
	Ticket     string
	Source     string    // where the files come from; optional
	ActivateAt time.Time // optional, at once when zero
}

// Plan is what a change would mean.
type Plan struct {
	Base         int               `json:"base"`   // the revision in force, for Change
	Number       int               `json:"number"` // what the revision would be
	Hash         string            `json:"hash"`
	Diff         []policy.FileDiff `json:"diff"`
	Findings     []policy.Finding  `json:"findings"`
	Tests        int               `json:"tests"`
	Problem      string            `json:"problem,omitempty"` // why it could not be applied
	SecondPerson bool              `json:"second_person,omitempty"`
}

// Plan tells what Apply would do with files. Nothing is changed.
func (l *Live) Plan(ctx context.Context, files Files) (Plan, error) {
	now, before, err := l.Get(ctx, 0)
	if err != nil {
		return Plan{}, err
	}
	report, err := l.Check(ctx, files)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Base: now.Number, Number: len(l.book.Load().versions) + 1, Findings: report.Findings, Tests: report.Tests,
		SecondPerson: l.cfg.SecondPerson}
	if p.Diff, err = policy.DiffFiles(before.FS(), files.FS()); err != nil {
		return p, err
	}
	if report.Errors() > 0 {
		p.Problem = invalid(report).Error()
		return p, nil
	}
	rev, err := l.Candidate(ctx, files, p.Number)
	if err != nil {
		return p, err
	}
	p.Hash = rev.Hash()
	switch err := l.keepsIn(ctx, rev); {
	case err != nil:
		p.Problem = err.Error()
	case files.Equal(before):
		p.Problem = ErrUnchanged.Error()
	}
	return p, nil
}

// Apply makes a revision of files that load, pass their own tests and lock nobody out. It comes into force at once, at its
// time, or waits for a second person, as its Status says. On any error the policy in force stays.
func (l *Live) Apply(ctx context.Context, by identity.Principal, c Change) (Version, error) {
	if err := l.checkChange(by, c); err != nil {
		return Version{}, err
	}
	report, err := l.Check(ctx, c.Files)
	if err != nil {
		return Version{}, err
	}
	if report.Errors() > 0 {
		return Version{}, invalid(report)
	}
	m := made{Reason: c.Reason, Ticket: c.Ticket, Source: c.Source, Base: c.Base, ActivateAt: c.ActivateAt.UTC()}
	return l.propose(ctx, by, m, c.Files)
}

// Rollback makes a revision of the files of an earlier one that was in force.
func (l *Live) Rollback(ctx context.Context, by identity.Principal, number int, reason, ticket string) (Version, error) {
	b := l.book.Load()
	v, err := b.version(number)
	if err != nil {
		return Version{}, err
	}
	if v.ActivatedAt.IsZero() {
		return Version{}, fmt.Errorf("policy revision %d is %s and never was in force; apply its files instead: %w", number, v.Status, ErrState)
	}
	files, err := l.files(ctx, v)
	if err != nil {
		return Version{}, err
	}
	c := Change{Files: files, Base: b.inForce, Reason: reason, Ticket: ticket}
	if err := l.checkChange(by, c); err != nil {
		return Version{}, err
	}
	m := made{Reason: reason, Ticket: ticket, Base: c.Base, RollbackOf: number, Source: fmt.Sprintf("revision %d", number)}
	return l.propose(ctx, by, m, files)
}

func (l *Live) checkChange(by identity.Principal, c Change) error {
	wait := c.ActivateAt.Sub(l.cfg.Now())
	b := l.book.Load()
	switch {
	case by.Person == "":
		return fmt.Errorf("a policy change needs an author: %w", ErrRequest)
	case strings.TrimSpace(c.Reason) == "" || strings.TrimSpace(c.Ticket) == "":
		return fmt.Errorf("a policy change needs a reason and a ticket: %w", ErrRequest)
	case len(c.Reason) > maxReason || len(c.Ticket) > maxTicket || len(c.Source) > maxSource:
		return fmt.Errorf("a reason has at most %d bytes, a ticket %d and a source %d: %w", maxReason, maxTicket, maxSource, ErrRequest)
	case !c.ActivateAt.IsZero() && (wait <= 0 || wait > maxAhead):
		return fmt.Errorf("the time to activate at must lie ahead, at most a year: %w", ErrRequest)
	case c.Base != b.inForce:
		return fmt.Errorf("this change was made from policy revision %d and %d is in force: %w", c.Base, b.inForce, ErrConflict)
	case len(b.open()) >= maxOpen:
		return fmt.Errorf("%d revisions wait already; confirm, reject or withdraw some: %w", maxOpen, ErrRequest)
	}
	return nil
}

// propose compiles, signs and stores a new revision and, when nothing is left to wait for, puts it in force.
func (l *Live) propose(ctx context.Context, by identity.Principal, m made, files Files) (Version, error) {
	number := len(l.book.Load().versions) + 1
	rev, err := l.Candidate(ctx, files, number)
	if err != nil {
		return Version{}, err
	}
	if err := l.keepsIn(ctx, rev); err != nil {
		return Version{}, err
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	l.changing.Lock()
	defer l.changing.Unlock()
	b := l.book.Load()
	if m.Base != b.inForce || number != len(b.versions)+1 {
		return Version{}, ErrConflict
	}
	if m.Hash, m.Files, m.SecondPerson = rev.Hash(), files.infos(), l.cfg.SecondPerson; m.Hash == b.current().Hash {
		return Version{}, ErrUnchanged
	}
	d := l.draft()
	if err := d.add(step{Number: number, Kind: stepMade, By: by.Person, Made: &m}); err != nil {
		return Version{}, err
	}
	if m.SecondPerson || !m.ActivateAt.IsZero() {
		return l.keep(ctx, by, d, number, files)
	}
	return l.activate(ctx, by, d, activation{number: number, files: files, rev: rev})
}

// finishing lets what has begun come to an end when whoever asked for it has gone.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeTime)
}

func (l *Live) draft() *draft {
	return &draft{book: l.book.Load(), signer: l.cfg.Signer, at: l.cfg.Now().UTC()}
}

// keep stores a new revision that is to wait.
func (l *Live) keep(ctx context.Context, by identity.Principal, d *draft, number int, files Files) (Version, error) {
	v, err := d.book.version(number)
	if err != nil {
		return v, err
	}
	kind := "policy.scheduled"
	if v.Status == Waiting {
		kind = "policy.proposed"
	}
	before, err := l.files(ctx, d.book.current())
	if err != nil {
		return v, err
	}
	if err := l.note(ctx, by, kind, described(v, d.book.current()).changing(before, files)); err != nil {
		return v, err
	}
	return v, l.store(ctx, by, kind, d, v, files)
}

// Confirm is the yes of a second person: the revision comes into force at once or at its time.
func (l *Live) Confirm(ctx context.Context, by identity.Principal, number int) (Version, error) {
	v, err := l.answerable(by, number)
	if err != nil {
		return v, err
	}
	if v.Status != Waiting {
		return v, fmt.Errorf("policy revision %d is %s and does not wait for anybody: %w", number, v.Status, ErrState)
	}
	files, err := l.files(ctx, v)
	if err != nil {
		return v, err
	}
	rev, err := l.Candidate(ctx, files, number)
	if err != nil {
		return v, err
	}
	if err := l.keepsIn(ctx, rev); err != nil {
		return v, err
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	l.changing.Lock()
	defer l.changing.Unlock()
	d := l.draft()
	if err := d.add(step{Number: number, Kind: stepConfirmed, By: by.Person}); err != nil {
		return v, err
	}
	if v.ActivateAt.After(d.at) {
		return l.answer(ctx, by, "policy.confirmed", d, number)
	}
	return l.activate(ctx, by, d, activation{number: number, files: files, rev: rev})
}

// Reject is the no of somebody else to a revision that is not in force yet.
func (l *Live) Reject(ctx context.Context, by identity.Principal, number int, reason string) (Version, error) {
	if v, err := l.answerable(by, number); err != nil {
		return v, err
	}
	return l.end(ctx, by, step{Number: number, Kind: stepRejected, By: by.Person, Why: reason}, "policy.rejected")
}

// answerable finds a revision that somebody other than its author may answer.
func (l *Live) answerable(by identity.Principal, number int) (Version, error) {
	v, err := l.book.Load().version(number)
	if err == nil && (by.Person == "" || l.cfg.Directory().same(by.Person, v.Author)) {
		err = fmt.Errorf("policy revision %d is by %s: %w", number, v.Author, ErrOwn)
	}
	return v, err
}

// Withdraw takes back one's own revision that is not in force yet.
func (l *Live) Withdraw(ctx context.Context, by identity.Principal, number int, reason string) (Version, error) {
	v, err := l.book.Load().version(number)
	if err != nil {
		return v, err
	}
	if by.Person == "" || !l.cfg.Directory().same(by.Person, v.Author) {
		return v, fmt.Errorf("policy revision %d is by %s; others reject it: %w", number, v.Author, ErrNotOwn)
	}
	return l.end(ctx, by, step{Number: number, Kind: stepWithdrawn, By: by.Person, Why: reason}, "policy.withdrawn")
}

func (l *Live) end(ctx context.Context, by identity.Principal, s step, kind string) (Version, error) {
	if strings.TrimSpace(s.Why) == "" || len(s.Why) > maxReason {
		return Version{}, fmt.Errorf("say why, in at most %d bytes: %w", maxReason, ErrRequest)
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	l.changing.Lock()
	defer l.changing.Unlock()
	d := l.draft()
	if err := d.add(s); err != nil {
		return Version{}, err
	}
	return l.answer(ctx, by, kind, d, s.Number)
}

// answer puts on record and stores what was said to a revision.
func (l *Live) answer(ctx context.Context, by identity.Principal, kind string, d *draft, number int) (Version, error) {
	v, err := d.book.version(number)
	if err != nil {
		return v, err
	}
	if err := l.note(ctx, by, kind, described(v, d.book.current())); err != nil {
		return v, err
	}
	return v, l.store(ctx, by, kind, d, v, nil)
}

// activation is a revision about to be in force.
type activation struct {
	number int
	files  Files
	rev    *policy.Revision
}

// activate puts a revision in force: first on record, then stored, then deciding, last in the working copy. What waits and
// was made from the revision before is overtaken.
func (l *Live) activate(ctx context.Context, by identity.Principal, d *draft, a activation) (Version, error) {
	before := l.Current()
	if err := d.activate(a.number); err != nil {
		return Version{}, err
	}
	v, err := d.book.version(a.number)
	if err != nil {
		return v, err
	}
	old, err := l.files(ctx, before)
	if err != nil {
		return v, err
	}
	follow, err := l.cfg.Folder.prepare(before.Number, v.Number, old, a.files)
	if err != nil {
		return v, err
	}
	if err := l.note(ctx, by, AppliedKind, described(v, before).changing(old, a.files)); err != nil {
		return v, errors.Join(err, follow.cancel())
	}
	if err := l.store(ctx, by, AppliedKind, d, v, a.files); err != nil {
		return v, errors.Join(err, follow.cancel())
	}
	l.engine.Swap(a.rev)
	if err := follow.finish(); err != nil {
		// The policy is in force; the working copy is put right at the next start.
		l.cfg.Log.Error("the policy folder was not brought up to the revision in force", zap.Int("revision", v.Number), zap.Error(err))
	}
	return v, nil
}

// activate adds the steps of a revision coming into force.
func (d *draft) activate(number int) error {
	base := d.book.inForce
	if err := d.add(step{Number: number, Kind: stepActivated, By: gatewayItself}); err != nil {
		return err
	}
	for _, v := range d.book.open() {
		if v.Base != base {
			continue
		}
		why := fmt.Sprintf("revision %d came into force before it", number)
		if err := d.add(step{Number: v.Number, Kind: stepRejected, By: gatewayItself, Why: why}); err != nil {
			return err
		}
	}
	return nil
}

// store keeps a draft and makes it the book. When the store fails it is asked again what it has, because a change may be
// stored although saying so failed; a change that is not is put on record as failed.
func (l *Live) store(ctx context.Context, by identity.Principal, kind string, d *draft, v Version, files Files) error {
	err := l.cfg.Store.Append(ctx, d.entries, files.byDigest())
	if err == nil {
		l.book.Store(d.book)
		return nil
	}
	again, cancel := finishing(ctx)
	defer cancel()
	lost := l.refresh(again)
	if lost == nil && l.book.Load().last == d.book.last {
		return nil
	}
	if lost == nil {
		lost = l.adopt(again)
	}
	failed := l.fail(again, by, kind, v, err)
	if errors.Is(err, ErrConflict) {
		return errors.Join(err, lost, failed)
	}
	return errors.Join(fmt.Errorf("storing policy revision %d failed, the policy in force stays: %w", v.Number, err), lost, failed)
}
