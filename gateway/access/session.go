package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// finishGrace is how long a proxy has to say goodbye on the contractor's screen after its session was ended. The way to
// the target is already shut by then.
const finishGrace = 700 * time.Millisecond

// Request asks for a session.
type Request struct {
	Principal identity.Principal
	Target    string
	Login     string // the account on the target; "" for HTTPS
	Protocol  string // ssh | https
}

// Target is what a proxy may know of a target: how to recognise it, not where it is.
type Target struct {
	Name        string
	Kind        string   // ssh | https
	HostKey     string   // ssh: pinned fingerprint, SHA256:…; "" when HostCA is used
	HostCA      string   // ssh: fingerprint of the authority that signs its host certificate, SHA256:…; "" when HostKey is used
	Host        string   // https: the public host name the app answers to
	Upstream    *url.URL // https: scheme http or https; its Host is only the name a TLS certificate must carry
	RedactJSON  []string // https: JSON paths never stored
	Opaque      string   // deny | execute
	ConfigPaths []string
	Port        uint16 // tcp: on which it listens
}

// Session is one recorded access to one target. It exists only after an allowing decision and with an open recording. It
// is safe for concurrent use.
type Session struct {
	door      *Door
	id        string
	principal identity.Principal
	login     string
	protocol  string
	target    directory.Target
	started   time.Time
	writer    *recorder.Writer
	ctx       context.Context
	cancel    context.CancelCauseFunc

	recording sync.Mutex // keeps entry offsets in the order they are written

	mu       sync.Mutex // guards the fields below; taken after no other lock
	decision policy.Decision
	grants   map[*Grant]struct{}
	conns    map[net.Conn]struct{}
	label    string
	over     bool // finish has begun
	hear     func(Warning)
	warned   map[time.Time]time.Duration // the last warning given of each end that is to come

	watchers   map[*Watching]struct{}
	supervised bool      // something ran that had to be watched
	unwatched  time.Time // since when nobody watches what has to be watched
	alone      bool      // the person was told so

	awaiting   atomic.Int64 // callers of AwaitWatcher
	lastUse    atomic.Int64 // Unix nanoseconds
	idleWarned atomic.Int64 // the lastUse of which the person was warned

	finished sync.Once
}

// Open decides whether the principal may reach the target at all and, if so, opens a recorded session. A *Refusal says
// no; any other error means the gateway could not open one, and nothing was let through.
func (d *Door) Open(ctx context.Context, req Request) (*Session, error) {
	changes := d.changes.Load()
	dir := d.cfg.Directory.Current()
	target, known := dir.Target(req.Target)
	action := connectAction(target, req.Login, req.Protocol)
	in, ok := d.input(req.Principal, req.Target, req.Login, action)
	if !known || !ok || connectOperation(target.Kind()) != action.Operation || !within(in, req.Target) {
		r := d.unfounded(notYours)
		return nil, d.refuseOpen(ctx, req, &r)
	}
	ruled := d.verdict(ctx, req.Principal, in)
	if ruled.Effect != policy.Allow {
		return nil, d.refuseOpen(ctx, req, &ruled)
	}
	if err := d.reserve(req.Principal.Person); err != nil {
		return nil, err
	}
	s, err := d.openSession(ctx, req, target, &ruled)
	if err != nil {
		d.release(req.Principal.Person)
		return nil, err
	}
	d.recheckSince(changes)
	return s, nil
}

func connectOperation(protocol string) string {
	switch protocol {
	case "ssh":
		return "ssh.connect"
	case "https":
		return "http.connect"
	case "tcp":
		return "tcp.connect"
	}
	return ""
}

// within tells whether every vendor of the chain lists the target (C-5, V-6). The guardrail says the same again; here it
// only keeps a stranger's target indistinguishable from one that does not exist.
func within(in policy.Input, target string) bool {
	if in.BreakGlass != nil {
		return true
	}
	for _, v := range append([]policy.Vendor{in.Vendor}, in.Parents...) {
		if !slices.Contains(v.Targets, target) {
			return false
		}
	}
	return true
}

// input gathers everything a decision depends on; false when person, target or login is unknown or the certificate names
// another vendor than the directory does.
func (d *Door) input(p identity.Principal, target, login string, action policy.Action) (policy.Input, bool) {
	now := d.cfg.Now()
	emergency := d.breakGlass(p, target, now)
	in, ok := d.directoryInput(p, target, login, emergency != nil)
	if !ok || in.Person.Vendor != p.Vendor {
		return policy.Input{}, false
	}
	in.BreakGlass = emergency
	in.Auth = policy.Auth{Kind: "human", Cert: policy.Cert{Serial: p.Serial, NotAfter: p.NotAfter},
		MFA: policy.MFA{Method: p.MFA.Method, At: p.MFA.At, UV: p.MFA.UV}}
	in.Source = policy.Source{IP: p.Source.Addr().Unmap()}
	in.Action = action
	in.Time = policy.Clock{Now: now, Zone: d.cfg.Zone.String()}

	d.mu.RLock()
	defer d.mu.RUnlock()
	_, in.Vendor.CutOff = d.cutOffs[in.Vendor.ID]
	for i, parent := range in.Parents {
		_, in.Parents[i].CutOff = d.cutOffs[parent.ID]
	}
	in.Leases = pertinent(d.leases.of(&in), &in)
	return in, true
}

// verdict decides an input. Nobody whose credential was revoked gets as far as policy, and nobody is allowed what policy
// binds to an obligation that nothing carries out.
func (d *Door) verdict(ctx context.Context, p identity.Principal, in policy.Input) ruling {
	if d.revoked(p) {
		r := d.unfounded(revokedReason)
		r.input = &in
		return r
	}
	r := ruling{Decision: d.cfg.Engine.Decide(ctx, in), input: &in}
	r.carriedOut()
	return r
}

func (d *Door) revoked(p identity.Principal) bool {
	return d.cfg.Revoked("person", p.Person) || d.cfg.Revoked("vendor", p.Vendor) ||
		d.cfg.Revoked("x509", p.Serial) || d.cfg.Revoked("ssh-cert", p.Serial)
}

func (d *Door) refuseOpen(ctx context.Context, req Request, r *ruling) error {
	refusal := &Refusal{Effect: policy.Deny, Reasons: r.Reasons, Needs: r.Needs, Decision: r.ID}
	ev := recorder.Event{Class: recorder.ClassCommand, Kind: "session.open", Outcome: recorder.Refused,
		Target: clip(req.Target, 256), Login: clip(req.Login, 64),
		Detail: map[string]any{"protocol": req.Protocol, "reasons": reasonIDs(r.Reasons)}}
	d.describe(&ev, req.Principal)
	if err := d.append(ctx, ev, r); err != nil {
		return fmt.Errorf("recording a refusal: %w", err)
	}
	return refusal
}

// reserve takes a place for one more session of the person.
func (d *Door) reserve(person string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := 0
	for _, n := range d.opening {
		total += n
	}
	if total >= d.cfg.MaxSessions {
		return fmt.Errorf("the gateway already carries %d sessions, its limit", total)
	}
	if d.opening[person] >= d.cfg.MaxPerPerson {
		return fmt.Errorf("%s already has %d sessions, the limit for one person", person, d.opening[person])
	}
	d.opening[person]++
	return nil
}

func (d *Door) release(person string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opening[person]--; d.opening[person] <= 0 {
		delete(d.opening, person)
	}
}

// openSession opens the recording, puts the opening on record and only then makes the session live.
func (d *Door) openSession(ctx context.Context, req Request, target directory.Target, r *ruling) (*Session, error) {
	started := d.cfg.Now().UTC()
	p := req.Principal
	s := &Session{
		door: d, id: newID("s-"), principal: p, login: req.Login, protocol: req.Protocol, target: target, started: started,
		decision: r.Decision, grants: make(map[*Grant]struct{}), conns: make(map[net.Conn]struct{}), label: startLabel(req.Protocol),
		warned: make(map[time.Time]time.Duration), watchers: make(map[*Watching]struct{}),
	}
	s.used(started)
	header := recorder.Header{Session: s.id, Person: p.Person, Vendor: p.Vendor, Target: target.Name, Login: req.Login,
		Protocol: req.Protocol, Started: started, Decision: r.ID, Revision: r.Revision,
		Source: &recorder.Source{IP: p.Source.Addr().Unmap(), Port: p.Source.Port(), Client: clip(p.Client, 128)}}
	for _, v := range d.cfg.Directory.Current().Chain(p.Vendor) {
		header.Chain = append(header.Chain, v.ID)
	}
	writer, err := recorder.Create(d.cfg.Recording, header)
	if err != nil {
		return nil, fmt.Errorf("opening the recording of session %s: %w", s.id, err)
	}
	s.writer = writer
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	go s.watchRecorder()
	if err := s.announce(ctx, r); err != nil {
		return nil, errors.Join(err, writer.Close("never opened"))
	}
	d.mu.Lock()
	d.live[s.id] = s
	d.mu.Unlock()
	return s, nil
}

func (s *Session) announce(ctx context.Context, r *ruling) error {
	if err := s.list(ctx, s.record("", time.Time{})); err != nil {
		return fmt.Errorf("listing session %s: %w", s.id, err)
	}
	ev := s.event(recorder.ClassCommand, "session.open", recorder.OK, map[string]any{"protocol": s.protocol})
	if err := s.door.append(ctx, ev, r); err != nil {
		return fmt.Errorf("recording the opening of session %s: %w", s.id, err)
	}
	return nil
}

// ID is the session's id, s- and a ULID.
func (s *Session) ID() string { return s.id }

// Principal is who the session belongs to.
func (s *Session) Principal() identity.Principal { return s.principal }

// Login is the account on the target.
func (s *Session) Login() string { return s.login }

// Context ends when the session must: context.Cause gives the *Ended whose message the person should see.
func (s *Session) Context() context.Context { return s.ctx }

// Target describes the other side without its address.
func (s *Session) Target() Target {
	t := Target{Name: s.target.Name, Kind: s.target.Kind(), Opaque: s.target.Opaque, ConfigPaths: s.target.ConfigPaths}
	if s.target.SSH != nil {
		t.HostKey, t.HostCA = s.target.SSH.HostKey, s.target.SSH.HostCA
	}
	if s.target.HTTPS != nil {
		t.Host, t.RedactJSON = s.target.HTTPS.Host, s.target.Redact.JSON
		t.Upstream = &url.URL{Scheme: s.target.HTTPS.Upstream.Scheme, Host: s.target.HTTPS.Upstream.Hostname()}
	}
	if s.target.TCP != nil {
		t.Port = s.target.TCP.Port()
	}
	return t
}

// Dial opens a connection to the target; it is the only way there (promise 1). The connection is closed when the session
// ends, whatever the caller does.
func (s *Session) Dial(ctx context.Context) (net.Conn, error) {
	if cause := context.Cause(s.ctx); cause != nil {
		return nil, cause
	}
	address, err := s.address()
	if err != nil {
		return nil, err
	}
	conn, err := s.door.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		s.door.cfg.Log.Warn("target not reachable", zap.String("session", s.id), zap.String("target", s.target.Name), zap.Error(err))
		return nil, fmt.Errorf("target %s is not reachable: %w", s.target.Name, withoutAddress(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.ctx.Err() != nil {
		conn.Close()
		return nil, context.Cause(s.ctx)
	}
	tracked := &trackedConn{Conn: conn, session: s}
	s.conns[tracked] = struct{}{}
	return tracked, nil
}

func (s *Session) address() (string, error) {
	switch {
	case s.target.SSH != nil:
		return s.target.SSH.Address, nil
	case s.target.TCP != nil:
		return s.target.TCP.Address, nil
	case s.target.HTTPS != nil:
		up := s.target.HTTPS.Upstream
		port := up.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[up.Scheme]
		}
		return net.JoinHostPort(up.Hostname(), port), nil
	}
	return "", fmt.Errorf("target %s has no address", s.target.Name)
}

// withoutAddress drops the address a net.OpError prints: contractors see target names only.
func withoutAddress(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return errors.New("connecting failed")
}

// trackedConn is known to its session until it is closed.
type trackedConn struct {
	net.Conn
	session *Session
}

func (c *trackedConn) Close() error {
	c.session.mu.Lock()
	delete(c.session.conns, c)
	c.session.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite passes a half-close on, for protocols that have one.
func (c *trackedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.New("connection cannot be half-closed")
}

// Record hands one entry to the recorder and returns once it is accepted; only then may it be shown (promise 3). When the
// recorder cannot take it, the session ends.
func (s *Session) Record(channel uint32, kind recorder.Kind, data []byte) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	s.recording.Lock()
	now := s.door.cfg.Now()
	err := s.writer.Write(recorder.Entry{Offset: s.since(now), Channel: channel, Kind: kind, Data: data})
	s.recording.Unlock()
	if uses(kind) {
		s.used(now)
	}
	if err == nil {
		return nil
	}
	return s.unrecorded(err)
}

// watchRecorder ends a session whose recording fails while nothing is being written to it.
func (s *Session) watchRecorder() {
	if err, failed := <-s.writer.Err(); failed && err != nil {
		s.unrecorded(err)
	}
}

// unrecorded ends a session that can no longer be recorded.
func (s *Session) unrecorded(err error) *Ended {
	s.door.cfg.Log.Error("recording failed; ending the session", zap.String("session", s.id), zap.Error(err))
	ended := &Ended{Reason: "recording failed", EN: "it can no longer be recorded", JA: "記録を続けられません"}
	s.kill(ended)
	return ended
}

func (s *Session) offset() time.Duration { return s.since(s.door.cfg.Now()) }

// since never runs backwards, as wall clocks do: started keeps its monotonic reading only if Now gives one.
func (s *Session) since(now time.Time) time.Duration { return max(0, now.Sub(s.started)) }

// Event puts one event of this session on record.
func (s *Session) Event(ctx context.Context, class recorder.Class, kind string, outcome recorder.Outcome, detail map[string]any) error {
	if _, err := s.door.cfg.Audit.Append(ctx, s.event(class, kind, outcome, detail)); err != nil {
		return fmt.Errorf("recording %s: %w", kind, err)
	}
	return nil
}

func (s *Session) event(class recorder.Class, kind string, outcome recorder.Outcome, detail map[string]any) recorder.Event {
	detail = s.named(detail)
	offset := s.offset().Milliseconds()
	ev := recorder.Event{Class: class, Kind: kind, Outcome: outcome, Session: s.id, Target: s.target.Name, Login: s.login,
		Enforced: s.Label(), OffsetMS: &offset, Detail: detail}
	s.door.describe(&ev, s.principal)
	return ev
}

// End closes the session from the proxy's side; reason is short and stable: "closed", "disconnected".
func (s *Session) End(reason string) {
	if ended, ok := context.Cause(s.ctx).(*Ended); ok {
		reason = ended.Reason
	}
	s.finish(reason)
}

// kill ends the session from the door's side: the way to the target is shut at once, the proxy tells the person, and a
// proxy that does not finish is finished.
func (s *Session) kill(ended *Ended) {
	s.cancel(ended)
	for _, conn := range s.openConns() {
		conn.Close()
	}
	time.AfterFunc(finishGrace, func() { s.End(ended.Reason) })
}

func (s *Session) openConns() []net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// finish closes whatever is open, writes the last entry and the session.end event, and forgets the session. It runs once;
// a second caller waits for the first.
func (s *Session) finish(reason string) {
	s.finished.Do(func() {
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
		for _, g := range s.openGrants() {
			g.End(recorder.Lost, map[string]any{"reason": reason})
		}
		s.cancel(&Ended{Reason: reason, EN: reason, JA: reason})
		for _, conn := range s.openConns() {
			conn.Close()
		}
		s.closeBooks(reason)
		s.door.mu.Lock()
		delete(s.door.live, s.id)
		s.door.mu.Unlock()
		s.door.release(s.principal.Person)
	})
}

func (s *Session) closeBooks(reason string) {
	log := s.door.cfg.Log.With(zap.String("session", s.id))
	ended := s.door.cfg.Now().UTC()
	outcome := recorder.OK
	if err := s.writer.Close(reason); err != nil {
		log.Error("closing the recording failed", zap.Error(err))
		outcome = recorder.Failed
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// The head ties the recording to the audit log: a recording cut short or taken away afterwards is found out by it.
	head := s.writer.Head()
	detail := map[string]any{"reason": reason, "ms": ended.Sub(s.started).Milliseconds(),
		"recording": map[string]any{"records": head.Records, "sha256": head.SHA256}}
	if err := s.recordEnd(ctx, s.event(recorder.ClassCommand, "session.end", outcome, detail)); err != nil {
		log.Error("recording the end failed", zap.Error(err))
	}
	if err := s.list(ctx, s.record(reason, ended)); err != nil {
		log.Error("listing the end failed", zap.Error(err))
	}
}

func (s *Session) record(reason string, ended time.Time) SessionRecord {
	return SessionRecord{ID: s.id, Person: s.principal.Person, Vendor: s.principal.Vendor, Target: s.target.Name, Login: s.login,
		Protocol: s.protocol, SourceIP: s.principal.Source.Addr().Unmap().String(), Enforced: s.Label(), StartedAt: s.started,
		EndedAt: ended, EndReason: reason, Recording: filepath.Base(recorder.Path(s.door.cfg.Recording.Dir, s.id))}
}

// decidedUntil is when the session must be decided again.
func (s *Session) decidedUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.decision.Until
	for g := range s.grants {
		if g.ruling.Until.Before(until) {
			until = g.ruling.Until
		}
	}
	return until
}

// recheck decides the session and everything running in it again and ends the session if any of it is no longer allowed.
func (s *Session) recheck(ctx context.Context) {
	if over := s.door.emergencyOver(s.principal); over != nil {
		s.kill(over)
		return
	}
	target := s.current()
	if moved(s.target, target) {
		s.kill(endedBy(s.door.unfounded(targetMoved)))
		return
	}
	again := s.decide(ctx, classified{action: connectAction(target, s.login, s.protocol)})
	if again.Effect != policy.Allow {
		s.kill(endedBy(again))
		return
	}
	s.mu.Lock()
	s.decision = again.Decision
	s.mu.Unlock()
	for _, g := range s.openGrants() {
		c, err := s.classify(g.op) // anew: the catalogue or the app's rules may be what changed
		if err != nil {
			s.kill(endedBy(s.door.unfounded(notOpen)))
			return
		}
		again := s.decide(ctx, c)
		if again.Effect != policy.Allow {
			s.kill(endedBy(again))
			return
		}
		s.mu.Lock()
		g.ruling.Until, g.ruling.Ends, g.ruling.Obligations = again.Until, again.Ends, again.Obligations
		s.mu.Unlock()
	}
}

// current is the session's target as the directory has it now, the zero Target when it is gone.
func (s *Session) current() directory.Target {
	t, _ := s.door.cfg.Directory.Current().Target(s.target.Name)
	return t
}

// moved tells whether a target that is still there stands elsewhere, or shows another key.
func moved(was, is directory.Target) bool {
	return is.Name != "" && !(reflect.DeepEqual(was.SSH, is.SSH) && reflect.DeepEqual(was.HTTPS, is.HTTPS))
}

var targetMoved = policy.Reason{ID: "target_moved", EN: "The target's address or key has changed; connect again.",
	JA: "対象の接続先または鍵が変更されました。接続し直してください。"}

// connectAction is the act of opening the way to a target; as one of its administrators it needs that right.
func connectAction(target directory.Target, login, protocol string) policy.Action {
	action := policy.Action{Protocol: protocol, Operation: connectOperation(protocol)}
	if administers(target, login) {
		action.Needs = []policy.Need{{Right: policy.Admin, Resource: "login:" + login}}
	}
	return action
}

// endedBy turns the reasons of a refusal into the reason a session ends.
func endedBy(r ruling) *Ended {
	ended := &Ended{Reason: "no longer allowed", EN: "it is no longer allowed", JA: "許可されなくなりました"}
	if len(r.Reasons) > 0 {
		why := r.Reasons[0]
		ended = &Ended{Reason: why.ID, EN: why.EN, JA: why.JA}
	}
	ended.ruling = &r
	return ended
}

// openGrants lists what is running.
func (s *Session) openGrants() []*Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Grant, 0, len(s.grants))
	for g := range s.grants {
		all = append(all, g)
	}
	return all
}

func reasonIDs(reasons []policy.Reason) []string {
	ids := make([]string, 0, len(reasons))
	for _, r := range reasons {
		ids = append(ids, r.ID)
	}
	return ids
}
