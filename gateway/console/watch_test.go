package console_test

import (
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/recorder"
)

// stream reads a watch one entry at a time.
type stream struct {
	t    *testing.T
	next func() (console.Entry, error, bool)
}

func follow(t *testing.T, entries iter.Seq2[console.Entry, error]) *stream {
	next, stop := iter.Pull2(entries)
	t.Cleanup(stop)
	return &stream{t, next}
}

// text is the next entry of a kind as text; others are passed over.
func (s *stream) text(kind recorder.Kind) string {
	s.t.Helper()
	for {
		e, err, ok := s.next()
		if err != nil || !ok {
			s.t.Fatalf("no entry of kind %d came: %v", kind, err)
		}
		if e.Kind == kind {
			return e.Text
		}
	}
}

func say(t *testing.T, s *access.Session, kind recorder.Kind, text string) {
	t.Helper()
	if err := s.Record(1, kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestAnInvestigatorWatchesASessionLive(t *testing.T) {
	g := newGateway(t)
	hanako, ken := g.login("hanako"), g.login("ken")
	s := hanako.visit()
	say(t, s, recorder.KindStart, `{"kind":"ssh.shell","terminal":true}`)
	say(t, s, recorder.KindOutput, "before\r\n")
	say(t, s, recorder.KindInput, "a password that no screen shows")
	seen := follow(t, ken.Watch(t.Context(), s.ID()))
	if got := seen.text(recorder.KindOutput); got != "before\r\n" {
		t.Errorf("joined with %q", got)
	}
	list := collect(t, ken.Sessions(t.Context(), access.SessionQuery{Live: true}))
	if len(list) != 1 || list[0].Watchers != "ken" {
		t.Errorf("the list does not say who watches: %+v", list)
	}
	say(t, s, recorder.KindOutput, "after\r\n")
	if got := seen.text(recorder.KindOutput); got != "after\r\n" {
		t.Errorf("followed with %q", got)
	}
	askToWrite(t, s)
	if got := seen.text(recorder.KindDecided); !strings.Contains(got, "cp /tmp/new.conf") || strings.Contains(got, "context") {
		t.Errorf("a decision: %s", got)
	}
	s.End("closed")
	if got := seen.text(recorder.KindEnd); !strings.Contains(got, "closed") {
		t.Errorf("the end: %s", got)
	}
	if _, err, more := seen.next(); err != nil || more {
		t.Errorf("after the end: %v, %v", err, more)
	}
	for deadline := time.Now().Add(5 * time.Second); len(g.events("gateway.session.watched")) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the end of the watch is not on record")
		}
	}
	for kind, n := range map[string]int{"gateway.session.watch": 1, "gateway.session.watched": 1} {
		events := g.events(kind)
		if len(events) != n || events[0].Person != "ken" || !strings.Contains(events[0].Detail["what"].(string), s.ID()+": hanako") {
			t.Errorf("%s: %+v", kind, events)
		}
	}
}

func TestAWatcherNeverSeesWhatIsTyped(t *testing.T) {
	g := newGateway(t)
	hanako, ken := g.login("hanako"), g.login("ken")
	s := hanako.visit()
	say(t, s, recorder.KindOutput, "joined")
	seen := follow(t, ken.Watch(t.Context(), s.ID()))
	seen.text(recorder.KindOutput)
	say(t, s, recorder.KindInput, "secret")
	say(t, s, recorder.KindPacket, "cbody of a file")
	say(t, s, recorder.KindOutput, "shown")
	s.End("closed")
	for {
		e, err, ok := seen.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		if e.Kind == recorder.KindInput || e.Kind == recorder.KindPacket || strings.Contains(e.Text, "secret") {
			t.Errorf("seen: %+v", e)
		}
	}
}

func TestAWatcherWhoJoinsLateSeesTheEndAlone(t *testing.T) {
	g := newGateway(t)
	hanako, ken := g.login("hanako"), g.login("ken")
	s := hanako.visit()
	say(t, s, recorder.KindStart, `{"kind":"ssh.shell","terminal":true}`)
	for range 100 {
		say(t, s, recorder.KindOutput, strings.Repeat("x", 10<<10))
	}
	say(t, s, recorder.KindOutput, "last")
	for first := follow(t, ken.Watch(t.Context(), s.ID())); first.text(recorder.KindOutput) != "last"; { // then it is stored
	}
	seen := follow(t, ken.Watch(t.Context(), s.ID()))
	bytes := 0
	for {
		e, err, ok := seen.next()
		if err != nil || !ok {
			t.Fatal(err)
		}
		if bytes == 0 && e.Kind != recorder.KindStart {
			t.Errorf("the first entry is of kind %d, want the shell's start", e.Kind)
		}
		bytes += len(e.Text)
		if e.Text == "last" {
			break
		}
	}
	if bytes > 80<<10 {
		t.Errorf("%d bytes were replayed", bytes)
	}
}

// A watcher who takes nothing of a flood does not slow the session down.
func TestASlowWatcherHoldsNothingUp(t *testing.T) {
	g := newGateway(t)
	hanako, ken := g.login("hanako"), g.login("ken")
	s := hanako.visit()
	say(t, s, recorder.KindOutput, "go")
	seen := follow(t, ken.Watch(t.Context(), s.ID()))
	seen.text(recorder.KindOutput) // and no more
	began := time.Now()
	for range 256 {
		say(t, s, recorder.KindOutput, strings.Repeat("y", 64<<10))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("16 MiB took %v", took)
	}
	if err := s.Context().Err(); err != nil {
		t.Error(err)
	}
}

func TestOnlyStaffWatch(t *testing.T) {
	g := newGateway(t)
	hanako, mika, ken := g.login("hanako"), g.login("mika"), g.login("ken")
	s := hanako.visit()
	for _, m := range []*member{hanako, mika} {
		_, err, _ := follow(t, m.Watch(t.Context(), s.ID())).next()
		wantProblem(t, err, 403)
	}
	_, err, _ := follow(t, ken.Watch(t.Context(), "s-none")).next()
	wantProblem(t, err, 404)
}

func TestAWatcherWhoLogsOutSeesNoMore(t *testing.T) {
	g := newGateway(t)
	hanako, ken := g.login("hanako"), g.login("ken")
	s := hanako.visit()
	say(t, s, recorder.KindOutput, "go")
	seen := follow(t, ken.Watch(t.Context(), s.ID()))
	seen.text(recorder.KindOutput)
	if err := ken.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for {
		_, err, ok := seen.next()
		if err != nil && !errors.Is(err, t.Context().Err()) {
			t.Fatal(err)
		}
		if !ok {
			break
		}
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("seen for %v more", took)
	}
}

func TestASessionIsWatchedInChromium(t *testing.T) {
	g := newGateway(t)
	hanako := g.login("hanako")
	s := hanako.visit()
	b := enrolInBrowser(t, g, "ken")
	b.logIn()
	say(t, s, recorder.KindStart, `{"kind":"ssh.shell","terminal":true}`)
	say(t, s, recorder.KindOutput, "app@db1:~$ \x1b]0;a title\x07ls\r\n\x1b[1mREADME.txt\x1b[0m\r\n<script>alert(1)</script>\r\n")
	b.do(chromedp.Navigate(g.url(consoleHost)+"/sessions?live=1"), chromedp.WaitVisible(chromedp.CSS("table a[href$='/watch']")))
	b.shootBoth("watch-list")
	b.do(click("table a[href$='/watch']"), chromedp.WaitVisible(chromedp.CSS("#transcript li.output")))
	for _, line := range []string{"app@db1:~$ make\r\n", "\x1b[32mdone\x1b[0m\r\n"} {
		say(t, s, recorder.KindOutput, line)
	}
	b.sees("done")
	askToWrite(t, s)
	b.sees("needs approval")
	if text := b.body(); !strings.Contains(text, "<script>alert(1)</script>") || strings.Contains(text, "a title") {
		t.Errorf("the page shows %q", text)
	}
	b.wantLabelled()
	b.shootBoth("watch")
	b.do(chromedp.Navigate(g.url(consoleHost)+"/sessions/"+s.ID()+"/watch?lang=ja"), chromedp.WaitVisible(chromedp.CSS("#transcript li.output")))
	b.sees("承認制")
	b.shootBoth("watch-ja")
	s.End("closed")
	b.sees("セッションは終了しました")
	b.wantNoComplaints()
}

// sees waits for a text on the page.
func (b *browser) sees(text string) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(b.body(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never on the page: %q; it shows %q", text, b.body())
		}
	}
}
