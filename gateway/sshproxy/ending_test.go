package sshproxy_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// admin is a member of staff, proved.
func (g *gateway) admin() identity.Principal {
	now := g.clock.Now()
	return identity.Principal{Person: "admin", Vendor: "@staff", Serial: "1", NotAfter: now.Add(time.Hour),
		MFA: identity.MFA{Method: "webauthn", At: now, UV: true}}
}

// ways of ending what a contractor does from outside.
var endings = map[string]func(g *gateway){
	"the vendor is cut off": func(g *gateway) {
		g.cutOff()
	},
	"the person is revoked": func(g *gateway) {
		must(g.t, g.registry.RevokePerson(g.t.Context(), hanako, "left", "admin"))
	},
	"the session is ended": func(g *gateway) {
		live, err := g.door.Sessions(g.t.Context(), g.admin(), access.SessionQuery{Live: true})
		must(g.t, err)
		for _, s := range live {
			must(g.t, g.door.EndSession(g.t.Context(), g.admin(), s.ID, "enough"))
		}
	},
	"the last WebAuthn is too old": func(g *gateway) { g.clock.advance(13 * time.Hour) },
}

func TestALiveTerminalEndsWithinASecondAndSaysWhy(t *testing.T) {
	needTerminals(t)
	for name, end := range endings {
		for form, way := range ways("db1") {
			t.Run(name+", "+form, func(t *testing.T) {
				g := newGateway(t, setup{})
				c := g.client(hanako)
				s := c.screen(24, 100, way)
				s.types("echo st''arted; while :; do sleep 0.01; echo x; done\r")
				s.shows(`started\r\n`)
				start := time.Now()
				end(g)
				s.shows(`sekisho: session ended: [^\r\n]+\r\n`)
				s.shows(`セッション[^\r\n]+\r\n`)
				if code := s.ends(); code != 255 {
					t.Errorf("exit %d", code)
				}
				if took := time.Since(start); took > time.Second+500*time.Millisecond {
					t.Errorf("it took %s (a second, and half of one for a busy machine)", took)
				}
				eventually(t, "the end is on record", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
				if ran := g.events(recorder.ClassCommand, "command.run"); len(ran) != 1 || ran[0].Outcome != recorder.Lost {
					t.Errorf("R-2 event %+v", ran)
				}
			})
		}
	}
}

func TestALiveCommandEndsAndSaysWhyOnStderr(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	cmd := c.command(plus(theLogin(), "db1"), "echo started; sleep 1000")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	expect(t, out, "started\n")
	g.cutOff()
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if len(rest) != 0 || !strings.Contains(stderr.String(), "sekisho: session ended") || cmd.ProcessState.ExitCode() != 255 {
		t.Errorf("stdout %q, exit %d, stderr %s", rest, cmd.ProcessState.ExitCode(), stderr.String())
	}
}

// TestAClientThatDoesNotReadIsEndedToo: nothing of it may hold up the end.
func TestAClientThatDoesNotReadIsEndedToo(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	out, err := session.StdoutPipe()
	must(t, err)
	must(t, session.Start("echo started; yes"))
	expect(t, out, "started\n")
	start := time.Now()
	g.cutOff()
	conn.Wait()
	if took := time.Since(start); took > time.Second+500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

func TestNothingOpensAfterACutOffOnAConnectionThatIsThere(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	conn, err := c.dial(theLogin() + "+db1")
	must(t, err)
	defer conn.Close()
	outer := c.outer()
	g.cutOff()
	for name, open := range map[string]func() error{
		"login+target": func() error {
			session, err := conn.NewSession()
			if err != nil {
				return err
			}
			return session.Run("true")
		},
		"jump": func() error {
			inner, err := c.inside(outer, jump("db1"), theLogin())
			if err != nil {
				return err
			}
			session, err := inner.NewSession()
			if err != nil {
				return err
			}
			return session.Run("true")
		},
	} {
		if open() == nil {
			t.Errorf("%s: a command ran after the vendor was cut off (I-1)", name)
		}
	}
}

// TestAClientThatVanishesEndsItsSession: the target hears of it and the record says so.
func TestAClientThatVanishesEndsItsSession(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	cmd := c.command(theLogin()+"@db1", "echo started; sleep 1000")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	expect(t, out, "started\n")
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
	ran := g.events(recorder.ClassCommand, "command.run")
	if len(ran) != 1 || ran[0].Outcome != recorder.Lost {
		t.Errorf("R-2 event %+v", ran)
	}
	if end := g.events(recorder.ClassCommand, "session.end")[0]; end.Detail["reason"] != "disconnected" {
		t.Errorf("R-2 event %+v", end)
	}
}

// entries reads the recording of the only session there was.
func (g *gateway) entries() []recorder.Entry {
	g.t.Helper()
	all := g.events(recorder.ClassCommand, "session.open")
	if len(all) != 1 {
		g.t.Fatalf("%d sessions", len(all))
	}
	r, err := recorder.Open(recorder.Path(g.dir+"/recordings", all[0].Session), g.authority.RecordingIdentity())
	must(g.t, err)
	defer r.Close()
	var entries []recorder.Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		must(g.t, err)
		e.Data = append([]byte(nil), e.Data...)
		entries = append(entries, e)
	}
}

func TestEverythingThatPassedIsRecorded(t *testing.T) {
	g := newGateway(t, setup{})
	c := g.client(hanako)
	input := randomBytes(100 << 10)
	got := c.sshWith(input, plus(theLogin(), "db1"), "cat; echo err >&2; exit 3")
	if got.code != 3 {
		t.Fatal(got)
	}
	eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
	data := map[recorder.Kind]string{}
	var order []recorder.Kind
	for _, e := range g.entries() {
		data[e.Kind] += string(e.Data)
		if len(order) == 0 || order[len(order)-1] != e.Kind {
			order = append(order, e.Kind)
		}
	}
	if data[recorder.KindInput] != string(input) || data[recorder.KindOutput] != string(input) || data[recorder.KindStderr] != "err\n" {
		t.Errorf("recorded %d bytes in, %d out, %q", len(data[recorder.KindInput]), len(data[recorder.KindOutput]), data[recorder.KindStderr])
	}
	if data[recorder.KindExit] != `{"status":3}` || !strings.Contains(data[recorder.KindStart], `"kind":"ssh.exec"`) ||
		!strings.Contains(data[recorder.KindStart], "cat; echo err") {
		t.Errorf("recorded start %q, exit %q", data[recorder.KindStart], data[recorder.KindExit])
	}
	if order[0] != recorder.KindDecided || order[1] != recorder.KindStart || order[len(order)-1] != recorder.KindEnd {
		t.Errorf("recorded in the order %v", order)
	}
	ran := g.events(recorder.ClassCommand, "command.run")
	if len(ran) != 1 || ran[0].Outcome != recorder.OK || ran[0].Detail["exit"] != float64(3) {
		t.Errorf("R-2 event %+v", ran)
	}
}

func TestATerminalsSizeAndNoticesAreRecorded(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{})
	c := g.client(hanako)
	s := c.screen(30, 100, plus(theLogin(), "db1"))
	s.types("echo st''arted; exit 0\r")
	s.shows(`started\r\n`)
	s.ends()
	eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
	var size, start string
	for _, e := range g.entries() {
		switch e.Kind {
		case recorder.KindResize:
			size = string(e.Data)
		case recorder.KindStart:
			start = string(e.Data)
		}
	}
	if size != "100x30" || !strings.Contains(start, `"terminal":true`) || !strings.Contains(start, `"term":"xterm"`) {
		t.Errorf("recorded size %q, start %q", size, start)
	}

	refused := newGateway(t, setup{})
	k := refused.client(ken)
	k.ssh(plus(theLogin(), "db1"), "rm x")
	eventually(t, "the session has ended", func() bool { return len(refused.events(recorder.ClassCommand, "session.end")) == 1 })
	var notice string
	for _, e := range refused.entries() {
		if e.Kind == recorder.KindNotice {
			notice += string(e.Data)
		}
	}
	if !strings.Contains(notice, "M-4") {
		t.Errorf("what the gateway showed is recorded as %q", notice)
	}
}

// TestNothingIsShownAfterTheRecordingHasEnded ends the session under a command that is about to write.
func TestNothingIsShownAfterTheRecordingHasEnded(t *testing.T) {
	g := newGateway(t, setup{log: silent})
	c := g.client(hanako)
	cmd := c.command(plus(theLogin(), "db1"), "echo started; read x; echo secret; sleep 1000")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	expect(t, out, "started\n")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	live, err := g.door.Sessions(ctx, g.admin(), access.SessionQuery{Live: true})
	must(t, err)
	must(t, g.door.EndSession(ctx, g.admin(), live[0].ID, "enough"))
	in.Write([]byte("\n"))
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if strings.Contains(string(rest), "secret") {
		t.Error("output appeared after the recording had ended")
	}
}

// cutOff shuts Hanako's vendor out (I-1).
func (g *gateway) cutOff() {
	g.t.Helper()
	_, err := g.door.CutOff(g.t.Context(), g.admin(), "acme-maintenance", "incident")
	must(g.t, err)
}

func TestACommandThatACutOffOvertakesSaysWhy(t *testing.T) {
	var g *gateway
	tg := newTarget(t, func(ch ssh.Channel, req *ssh.Request) { g.cutOff() }) // and never answers the request
	g = newGateway(t, setup{targets: []string{tg.yaml("other")}})
	for name, way := range map[string]string{"ssh -J gateway": "app@other", "login+target": plus("app", "other")} {
		got := g.client(hanako).ssh(way, "ls")
		if got.code == 0 || !strings.Contains(got.stderr, "incident") && !strings.Contains(got.stderr, "I-1") {
			t.Errorf("%s: %v", name, got)
		}
	}
}
