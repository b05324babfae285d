package sshproxy_test

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// until lets time pass.
func (g *gateway) until(t time.Time) { g.clock.advance(t.Sub(g.clock.Now())) }

// C-2: whoever sits at a terminal is told twice before the session ends, a pipe once and on stderr alone.
func TestTheEndOfACertificateIsToldBeforeItComes(t *testing.T) {
	needTerminals(t)
	g := newGateway(t, setup{})
	c := g.client(hanako)
	end := time.Unix(int64(c.cert.ValidBefore), 0).UTC()
	clock := end.Format("15:04")
	s := c.screen(24, 120, "-t", plus(theLogin(), "db1"), "echo here; sleep 1000")
	s.shows(`here`)
	script := c.command(plus(theLogin(), "db1"), "echo here; sleep 1000")
	stdout, err := script.StdoutPipe()
	must(t, err)
	stderr, err := script.StderrPipe()
	must(t, err)
	must(t, script.Start())
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); line != "here\n" {
		t.Fatalf("%q, %v", line, err)
	}

	g.until(end.Add(-10 * time.Minute))
	s.shows(`sekisho: this session ends in 10 minutes, at ` + clock + ` UTC: .*C-1`)
	s.shows(`sekisho: このセッションは10 分後（` + clock + ` UTC）に終了します`)
	g.until(end.Add(-time.Minute))
	s.shows(`sekisho: this session ends in 1 minute, at ` + clock + ` UTC`)
	said := bufio.NewReader(stderr)
	first, err := said.ReadString('\n')
	must(t, err)
	if !strings.Contains(first, "ends in 1 minute, at "+clock+" UTC") {
		t.Errorf("the pipe's first word is %q", first)
	}
	g.until(end)
	s.shows(`sekisho: session ended: .*certificate`)
	s.ends()
	rest, _ := io.ReadAll(out)
	words, _ := io.ReadAll(said)
	if script.Wait(); len(rest) > 0 || !strings.Contains(string(words), "session ended") {
		t.Errorf("stdout %q, stderr %q", rest, words)
	}
	for _, e := range g.events(recorder.ClassCommand, "session.end") {
		if e.Detail["reason"] != "certificate" {
			t.Errorf("ended because of %v", e.Detail["reason"])
		}
	}
}
