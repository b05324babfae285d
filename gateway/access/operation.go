package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
	"github.com/sekisho/sekisho/recorder"
)

// Labels say how a session's rights were enforced (promise 7), from the strongest to the weakest.
const (
	LabelWire     = "wire"     // each operation parsed on the wire
	LabelParsed   = "parsed"   // command lines classified: a guard rail, not a wall
	LabelRecorded = "recorded" // what runs is on record, not decided
)

var labelOrder = []string{LabelWire, LabelParsed, LabelRecorded}

func startLabel(protocol string) string {
	switch protocol {
	case "https":
		return LabelWire
	case "ssh":
		return LabelParsed
	}
	return LabelRecorded
}

// Operation is what a proxy was asked to do, raw: the door classifies it.
type Operation struct {
	Kind      string // ssh.exec | ssh.shell | ssh.line | sftp.… | tcp.forward | http.request
	Command   string // ssh.exec: the line as sent; ssh.line: as entered, history expanded
	Gated     bool   // ssh.shell: each line is asked about
	Dir       string // ssh.line: the folder the shell is in, "" when that is not known
	Aliases   map[string]string
	Functions map[string]bool
	Opaque    string // ssh.line: why the shell itself says that it cannot be told, "" when it does not
	Once      string // ssh.line: names this entering of the line; what variables in it mean may be another thing next time
	Path      string // http.request: canonical, as it will be forwarded; sftp.*: as the target resolves it
	To        string // sftp.rename, sftp.hardlink: the new name, resolved; sftp.symlink: what the link says
	Read      bool   // sftp.open
	Write     bool   // sftp.open
	Own       bool   // sftp.rename: of a file this session made, onto a free name
	Folder    bool   // sftp.rename: of a folder, with all that is in it
	Method    string // http.request
	Channel   uint32 // the channel its recording entries carry
	Terminal  bool   // a person looks at a terminal
}

// Grant is an operation that was allowed and now runs. End it when it is over.
type Grant struct {
	session *Session
	op      Operation
	action  policy.Action
	line    string // the whole line, masked
	label   string
	ruling  ruling // Until is guarded by session.mu
	started time.Time
	ended   sync.Once
	lasting atomic.Bool // it has run for so long that its decision goes on record before its end
	keeping sync.Mutex  // held while the decision is put on record
	kept    bool        // it is; guarded by keeping
}

// classified is an operation with the rights it needs.
type classified struct {
	action policy.Action
	line   string // the whole line, masked
	label  string
	why    string         // why a line is opaque
	shut   *policy.Reason // why the door refuses it, whatever policy says
	// handsOut says that it gives contents away rather than showing them (F-2).
	handsOut bool
}

// Authorize decides one operation and puts the decision into the recording before anything happens. A *Refusal says no or
// not yet; any other error means the session cannot go on.
func (s *Session) Authorize(ctx context.Context, op Operation) (*Grant, error) {
	if s.ctx.Err() != nil {
		return nil, &Refusal{Effect: policy.Deny, Reasons: []policy.Reason{notOpen}}
	}
	changes := s.door.changes.Load()
	c, err := s.classify(op)
	if err != nil {
		return nil, err
	}
	ruled := s.decide(ctx, c)
	lonely := s.lacksWatcher(&ruled)
	if lonely {
		ruled.refuse(notWatched)
	}
	if err := s.recordDecision(op.Channel, c.action, &ruled); err != nil {
		return nil, err
	}
	if ruled.Effect != policy.Allow {
		return nil, s.refuse(ctx, op, c, &ruled, lonely)
	}
	g := &Grant{session: s, op: op, action: c.action, line: c.line, label: c.label, ruling: ruled, started: s.door.cfg.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.ctx.Err() != nil {
		return nil, &Refusal{Effect: policy.Deny, Reasons: []policy.Reason{notOpen}}
	}
	s.grants[g] = struct{}{}
	s.weaken(c.label)
	s.door.recheckSince(changes)
	return g, nil
}

func (s *Session) decide(ctx context.Context, c classified) ruling {
	in, ok := s.door.input(s.principal, s.target.Name, s.login, c.action)
	if !ok || !within(in, s.target.Name) {
		return s.door.unfounded(notYours)
	}
	ruled := s.door.verdict(ctx, s.principal, in)
	ruled.keepIn(c)
	switch {
	case ruled.Effect == policy.Deny:
	case c.shut != nil:
		ruled.refuse(*c.shut)
	case c.action.Opaque && in.BreakGlass == nil && s.current().Opaque != directory.OpaqueExecute:
		ruled.refuse(opaqueReason(c.why))
	case ruled.Effect == policy.Approval && c.action.Command != c.line: // nobody approves what they are not shown
		ruled.refuse(lineNotShown)
	}
	return ruled
}

// carriedOut refuses what policy allows only under obligations that nothing here carries out yet: forgetting one would open
// more than policy meant. In SSH sessions somebody watches and downloads can be off; files are carried up to max_bytes.
func (r *ruling) carriedOut() {
	o := r.Obligations
	var does policy.Action
	if r.input != nil {
		does = r.input.Action
	}
	onSSH := does.Protocol == "ssh"
	counted := does.Operation == "ssh.connect" || strings.HasPrefix(does.Operation, "sftp.")
	if r.Effect == policy.Deny ||
		!(o.Watermark || o.Supervise && !onSSH || viewing(o) && !onSSH || o.MaxBytes > 0 && !counted) {
		return
	}
	r.refuse(notCarriedOut)
}

// keepIn refuses what would hand out what may only be looked at (F-2).
func (r *ruling) keepIn(c classified) {
	if c.handsOut && r.Effect != policy.Deny && viewing(r.Obligations) {
		r.refuse(onlyViewing)
	}
}

// viewing says that files may be looked at, not taken away.
func viewing(o policy.Obligations) bool { return o.Download != "" && o.Download != "on" }

var onlyViewing = policy.Reason{ID: "download_off", Table: "F-2",
	EN: "What is here may be looked at, not taken away: use a terminal. A program without one, and SFTP, hand files out.",
	JA: "ここにあるものは閲覧のみ可能で、持ち出しはできません。端末を使ってください。"}

func opaqueReason(why string) policy.Reason {
	r := policy.Reason{ID: "opaque_line",
		EN: "What this line does cannot be told before it runs, and this target refuses such lines.",
		JA: "この行の動作は実行前に判定できず、この対象では許可されていません。"}
	if why != "" {
		r.EN += " It is opaque because of: " + why + "."
		r.JA += " 理由: " + why
	}
	return r
}

// classify turns a raw operation into the rights it needs. What it does not know needs nothing, which policy denies.
func (s *Session) classify(op Operation) (classified, error) {
	c := classified{action: policy.Action{Protocol: s.protocol, Operation: op.Kind}, label: LabelWire, handsOut: op.handsOut()}
	switch op.Kind {
	case "ssh.exec":
		catalogue, err := s.door.currentCatalogue()
		if err != nil {
			return c, err
		}
		s.door.classifyLine(&c, catalogue, op.Command)
	case "ssh.line":
		catalogue, err := s.door.currentCatalogue()
		if err != nil {
			return c, err
		}
		shell := command.Shell{Dir: op.Dir, Aliases: op.Aliases, Functions: op.Functions, Opaque: op.Opaque}
		s.door.take(&c, catalogue.ClassifyIn(shell, op.Command), op.Command)
		c.action.Needs = once(c.action.Needs, op.Once)
	case "ssh.shell":
		c.action.Needs = []policy.Need{{Right: policy.Execute, Resource: "shell"}}
		c.label = LabelRecorded
		if op.Gated {
			c.action.Needs[0].Right, c.label = policy.Read, LabelParsed
		}
	case "sftp.open", "sftp.stat", "sftp.realpath", "sftp.readlink", "sftp.list", "sftp.setstat", "sftp.mkdir", "sftp.remove",
		"sftp.rmdir", "sftp.rename", "sftp.symlink", "sftp.hardlink":
		c.action.Needs = op.fileNeeds()
	case "tcp.forward":
		c.action.Needs = []policy.Need{{Right: policy.Execute, Resource: "tcp:" + s.target.Name}}
		c.label = LabelRecorded
	case "http.request":
		if right, ok := s.current().RightFor(op.Method, op.Path); ok {
			c.action.Needs = []policy.Need{{Right: right, Resource: op.Method + " " + op.Path}}
		}
		c.line = op.Method + " " + op.Path
		c.action.Command = c.line
		c.bound()
	}
	return c, nil
}

// weaken lowers the session's label to the weakest operation it allowed; s.mu is held.
func (s *Session) weaken(label string) {
	if slices.Index(labelOrder, label) > slices.Index(labelOrder, s.label) {
		s.label = label
	}
}

// Label is the weakest enforcement this session has had so far.
func (s *Session) Label() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.label
}

func (s *Session) recordDecision(channel uint32, action policy.Action, r *ruling) error {
	data, err := r.whole(action)
	if err != nil {
		return fmt.Errorf("keeping decision %s: %w", r.ID, err)
	}
	return s.Record(channel, recorder.KindDecided, data)
}

// refuse files a request where a second person could say yes, puts the refusal on record and words it.
func (s *Session) refuse(ctx context.Context, op Operation, c classified, r *ruling, lonely bool) error {
	refusal := &Refusal{Effect: r.Effect, Reasons: r.Reasons, Needs: r.Needs, Decision: r.ID}
	outcome := recorder.Refused
	if lonely {
		refusal.Watch = s.id
	}
	if r.Effect == policy.Approval {
		id, err := s.door.file(ctx, s, op, c, r.Decision)
		if err != nil {
			return err
		}
		refusal.Request, outcome = id, recorder.Pending
	}
	detail := describeOperation(op, c.action, c.line)
	detail["reasons"] = reasonIDs(r.Reasons)
	detail["tables"] = tables(r.Reasons)
	set(detail, "request", refusal.Request)
	class, kind := recorder.ClassCommand, "command.refused"
	if op.onFile() {
		class, kind = recorder.ClassFile, "file.refused"
	}
	ev := s.event(class, kind, outcome, detail)
	ev.Enforced = c.label
	if err := s.door.append(ctx, ev, r); err != nil {
		return err
	}
	return refusal
}

func tables(reasons []policy.Reason) []string {
	var ids []string
	for _, r := range reasons {
		if r.Table != "" && !slices.Contains(ids, r.Table) {
			ids = append(ids, r.Table)
		}
	}
	return ids
}

func describeOperation(op Operation, action policy.Action, line string) map[string]any {
	detail := map[string]any{"operation": op.Kind}
	set(detail, "line", line)
	if op.onFile() {
		set(detail, "path", op.Path)
		set(detail, "to", op.To)
	}
	if action.Opaque {
		detail["opaque"] = true
	}
	if len(action.Needs) > 0 {
		detail["needs"] = action.Needs
	}
	return detail
}

// Decision is what allowed the operation.
func (g *Grant) Decision() policy.Decision {
	g.session.mu.Lock()
	defer g.session.mu.Unlock()
	return g.ruling.Decision
}

// MaxBytes is how many bytes one transfer may carry, 0 for any number.
func (g *Grant) MaxBytes() int64 { return g.ruling.Obligations.MaxBytes }

// Label says how this operation's rights are enforced.
func (g *Grant) Label() string { return g.label }

// Line is the command line as it may be stored, its secrets masked; "" for an operation without one.
func (g *Grant) Line() string { return g.line }

// End puts the finished operation on record as command.run with detail added, for instance exit or status. Only the
// first call counts.
func (g *Grant) End(outcome recorder.Outcome, detail map[string]any) {
	g.ended.Do(func() {
		s := g.session
		s.mu.Lock()
		delete(s.grants, g)
		s.mu.Unlock()
		all := describeOperation(g.op, g.action, g.line)
		all["started"] = g.started.UTC()
		all["ms"] = s.door.cfg.Now().Sub(g.started).Milliseconds()
		for k, v := range detail {
			all[k] = v
		}
		class, kind := g.op.event()
		if kind == "" {
			return
		}
		ev := s.event(class, kind, outcome, all)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.finish(ctx, ev); err != nil {
			s.unrecorded(err)
		}
	})
}

// lease names the lease that made the operation possible, if one did.
func (g *Grant) lease() string {
	for _, need := range g.ruling.Needs {
		if need.Lease != "" {
			return need.Lease
		}
	}
	return ""
}
