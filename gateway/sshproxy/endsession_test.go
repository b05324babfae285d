package sshproxy_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// end has a member of staff end the one session that is live.
func (g *gateway) end(reason string) {
	g.t.Helper()
	var live []access.SessionRecord
	eventually(g.t, "a live session", func() bool {
		var err error
		live, err = g.door.Sessions(g.t.Context(), g.staff("ren"), access.SessionQuery{Live: true})
		must(g.t, err)
		return len(live) > 0
	})
	for _, s := range live {
		must(g.t, g.door.EndSession(g.t.Context(), g.staff("ren"), s.ID, reason))
	}
}

// wantEnded waits for the books of every session to be closed, each because ren ended it.
func (g *gateway) wantEnded() {
	g.t.Helper()
	eventually(g.t, "the end on record", func() bool {
		return len(g.events(recorder.ClassCommand, "session.end")) == len(g.events(recorder.ClassCommand, "session.open"))
	})
	for _, e := range g.events(recorder.ClassCommand, "session.end") {
		if e.Detail["reason"] != "ended by ren" {
			g.t.Errorf("ended because of %v", e.Detail["reason"])
		}
	}
}

func TestStaffEndsAnSFTPSession(t *testing.T) {
	g := newGateway(t, setup{})
	cmd := g.client(sora).command("-s", plus(theLogin(), "db1"), "sftp")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	_, err = stdin.Write([]byte{0, 0, 0, 5, 1, 0, 0, 0, 3}) // SSH_FXP_INIT, version 3
	must(t, err)
	_, err = io.ReadFull(stdout, make([]byte, 9))
	must(t, err)
	g.end("change window closed")
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "change window closed") {
		t.Errorf("%v: %s", err, stderr.String())
	}
	g.wantEnded()
}

func TestStaffEndsAForward(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer far.Close()
	go func() {
		conn, err := far.Accept()
		if err == nil {
			io.Copy(conn, conn)
		}
	}()
	g := newGateway(t, setup{targets: []string{"pg1: {tcp: {address: \"" + far.Addr().String() + "\"}}"}})
	client, err := g.client(hanako).dial("somebody")
	must(t, err)
	defer client.Close()
	_, port, _ := net.SplitHostPort(far.Addr().String())
	conn, err := client.Dial("tcp", net.JoinHostPort("pg1", port))
	must(t, err)
	_, err = conn.Write([]byte("ping"))
	must(t, err)
	_, err = io.ReadFull(conn, make([]byte, 4))
	must(t, err)
	began := time.Now()
	g.end("change window closed")
	if n, err := io.Copy(io.Discard, conn); n != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("%d bytes more, %v, after %v", n, err, time.Since(began))
	}
	g.wantEnded()
}

func TestStaffEndsAShellWhoseLineWaits(t *testing.T) {
	g := newGateway(t, setup{})
	s := g.client(hanako).screen(40, 120, "-t", plus(ops(t), "strict"))
	s.shows(`\$ `)
	s.types("touch made\r")
	s.shows(`Ctrl-C cancels`)
	g.end("change window closed")
	s.shows(`session ended: staff ended it: change window closed`)
	s.shows(`担当者が終了しました: change window closed`)
	if code := s.ends(); code != 255 {
		t.Errorf("exit %d", code)
	}
	g.wantEnded()
}

func TestStaffEndsACommandThatWaits(t *testing.T) {
	g := newGateway(t, setup{})
	s := g.client(hanako).screen(40, 120, "-t", plus(theLogin(), "db1"), "touch made")
	s.shows(`Ctrl-C cancels`)
	g.end("change window closed")
	s.shows(`change window closed`)
	s.ends()
	g.wantEnded()
}
