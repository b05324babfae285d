package sshproxy_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/sshproxy"
	"github.com/sekisho/sekisho/recorder"
)

// hello answers every command with a line and exit 0.
func hello(ch ssh.Channel, req *ssh.Request) {
	req.Reply(true, nil)
	ch.Write([]byte("hello\n"))
	ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
	ch.Close()
}

// notReached checks that a command failed with its own clear error, which names the session, and that it is on record.
func notReached(t *testing.T, g *gateway, got result, says, reason string) {
	t.Helper()
	if got.code != 255 || got.stdout != "" || !strings.Contains(got.stderr, says) || strings.Contains(got.stderr, "Permission denied") ||
		!regexp.MustCompile(`s-[0-9A-Z]{26}`).MatchString(got.stderr) {
		t.Error(got)
	}
	failed := g.events(recorder.ClassCommand, "session.failed")
	if len(failed) == 0 || !strings.Contains(fmt.Sprint(failed[0].Detail["reason"]), reason) {
		t.Errorf("on record: %+v", failed)
	}
	eventually(t, "the session is closed", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == len(failed) })
}

func TestAnotherHostKeyIsItsOwnError(t *testing.T) {
	var reached atomic.Bool
	real := newTarget(t, hello, func(tg *target) {
		tg.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			reached.Store(true)
			return nil, nil
		}
	})
	pinned := newSigner(t).PublicKey()
	yaml := fmt.Sprintf("other: {ssh: {address: %q, host_key: %q}, logins: [app]}", real.addr, ssh.FingerprintSHA256(pinned))
	g := newGateway(t, setup{targets: []string{yaml}, log: silent})
	c := g.client(hanako)
	for name, way := range map[string]string{"ssh -J gateway": "app@other", "login+target": plus("app", "other")} {
		t.Run(name, func(t *testing.T) {
			got := c.ssh(way, "id")
			notReached(t, g, got, "did not prove that it is other", "another key")
			if !strings.Contains(got.stderr, ssh.FingerprintSHA256(pinned)) || !strings.Contains(got.stderr, ssh.FingerprintSHA256(real.key)) {
				t.Errorf("the fingerprints are missing: %s", got.stderr)
			}
		})
	}
	if reached.Load() {
		t.Error("a login was tried at a host that is not the target")
	}
}

// TestThePinMayBeOfAnyOfTheHostsKeys: sshd prefers to show its ed25519 key, the directory has the RSA one.
func TestThePinMayBeOfAnyOfTheHostsKeys(t *testing.T) {
	d := realSSHD(t)
	yaml := fmt.Sprintf("other: {ssh: {address: %q, host_key: %q}, logins: [%s], opaque: execute}", d.addr, d.rsa, d.login)
	g := newGateway(t, setup{targets: []string{yaml}})
	if got := g.client(hanako).ssh(plus(d.login, "other"), "echo in"); got.stdout != "in\n" {
		t.Error(got)
	}
}

func TestATargetProvesItselfByAHostCertificate(t *testing.T) {
	ca, key := newSigner(t), newSigner(t)
	certify := func(change func(*ssh.Certificate)) ssh.Signer {
		cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"other"}, ValidBefore: ssh.CertTimeInfinity}
		by := ca
		if change != nil {
			change(cert)
		} else {
			by = newSigner(t)
		}
		must(t, cert.SignCert(rand.Reader, by))
		signer, err := ssh.NewCertSigner(cert, key)
		must(t, err)
		return signer
	}
	for _, c := range []struct {
		name   string
		signer ssh.Signer
		reason string // "" when it is let through
	}{
		{"for its name", certify(func(*ssh.Certificate) {}), ""},
		{"for another name", certify(func(c *ssh.Certificate) { c.ValidPrincipals = []string{"db2"} }), "does not hold"},
		{"for no name", certify(func(c *ssh.Certificate) { c.ValidPrincipals = nil }), "names no host"},
		{"expired", certify(func(c *ssh.Certificate) { c.ValidBefore = 1 }), "does not hold"},
		{"a user certificate", certify(func(c *ssh.Certificate) { c.CertType = ssh.UserCert }), "not a host certificate"},
		{"of another authority", certify(nil), "another authority"},
		{"no certificate", key, "no host certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := newTarget(t, hello, func(tg *target) {
				// A certificate and a plain key are two keys to the library: leave the one to be shown.
				tg.config = &ssh.ServerConfig{PublicKeyCallback: tg.config.PublicKeyCallback}
				tg.show(c.signer)
			})
			yaml := fmt.Sprintf("other: {ssh: {address: %q, host_ca: %q}, logins: [app]}", tg.addr, ssh.FingerprintSHA256(ca.PublicKey()))
			g := newGateway(t, setup{targets: []string{yaml}, log: silent})
			got := g.client(hanako).ssh(plus("app", "other"), "ls")
			if c.reason == "" {
				if got.stdout != "hello\n" || got.code != 0 {
					t.Error(got)
				}
				return
			}
			notReached(t, g, got, "did not prove", c.reason)
		})
	}
}

func TestAnUnreachableTargetIsItsOwnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	l.Close()
	yaml := fmt.Sprintf("other: {ssh: {address: %q, host_key: %q}, logins: [app]}", address, ssh.FingerprintSHA256(newSigner(t).PublicKey()))
	g := newGateway(t, setup{targets: []string{yaml}, log: silent})
	got := g.client(hanako).ssh("app@other", "id")
	notReached(t, g, got, "cannot be reached", "unreachable")
	if strings.Contains(got.stderr, address) || strings.Contains(got.stderr, "127.0.0.1") {
		t.Errorf("the target's address is shown: %s", got.stderr)
	}
}

func TestATargetThatRefusesTheGatewayIsItsOwnError(t *testing.T) {
	tg := newTarget(t, hello, func(tg *target) {
		tg.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, io.EOF }
	})
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}, log: silent})
	notReached(t, g, g.client(hanako).ssh("app@other", "id"), "does not let the gateway in", "refused the gateway's certificate")
}

func TestAServerThatIsNotSSHIsItsOwnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "220 mail ESMTP\r\n")
			conn.Close()
		}
	}()
	yaml := fmt.Sprintf("other: {ssh: {address: %q, host_key: %q}, logins: [app]}", l.Addr(), ssh.FingerprintSHA256(newSigner(t).PublicKey()))
	g := newGateway(t, setup{targets: []string{yaml}, log: silent})
	notReached(t, g, g.client(hanako).ssh("app@other", "id"), "did not answer as an SSH server", "handshake")
}

func TestATargetThatNeverAnswersIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close() // nobody accepts: the handshake waits
	yaml := fmt.Sprintf("other: {ssh: {address: %q, host_key: %q}, logins: [app]}", l.Addr(), ssh.FingerprintSHA256(newSigner(t).PublicKey()))
	g := newGateway(t, setup{targets: []string{yaml}, log: silent, limits: sshproxy.Limits{Upstream: 200 * time.Millisecond}})
	notReached(t, g, g.client(hanako).ssh("app@other", "id"), "did not answer", "handshake")
}

func TestATargetThatBreaksOffIsToldAndOnRecordAsLost(t *testing.T) {
	drop := make(chan struct{})
	tg := newTarget(t, func(ch ssh.Channel, req *ssh.Request) {
		req.Reply(true, nil)
		ch.Write([]byte("half a li"))
		close(drop)
	})
	go func() {
		<-drop
		tg.drop()
	}()
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}})
	got := g.client(hanako).ssh("app@other", "ls")
	if got.code != 255 || !strings.Contains(got.stderr, "the connection to other was lost") {
		t.Error(got)
	}
	eventually(t, "the end is on record", func() bool { return len(g.events(recorder.ClassCommand, "command.run")) == 1 })
	if ev := g.events(recorder.ClassCommand, "command.run")[0]; ev.Outcome != recorder.Lost {
		t.Errorf("R-2 event %+v", ev)
	}
}

func TestATargetThatRefusesAChannelIsPassedOn(t *testing.T) {
	d := realSSHD(t)
	g := newGateway(t, setup{limits: sshproxy.Limits{Channels: 32}})
	conn, err := g.client(hanako).dial(d.login + "+db1")
	must(t, err)
	defer conn.Close()
	for range 30 { // sshd's MaxSessions here
		_, requests, err := conn.OpenChannel("session", nil)
		must(t, err)
		go ssh.DiscardRequests(requests)
	}
	_, _, err = conn.OpenChannel("session", nil)
	if err == nil || !strings.Contains(err.Error(), "the target") {
		t.Fatalf("the 31st channel: %v", err)
	}
	conn.Close()
	refused, _ := errors.AsType[*ssh.OpenChannelError](err)
	g.hasOnRecord(refused.Message)
}

// hasOnRecord waits for the end of the only session there was and looks for a text in its recording.
func (g *gateway) hasOnRecord(text string) {
	g.t.Helper()
	eventually(g.t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
	for _, e := range g.entries() {
		if strings.Contains(string(e.Data), text) {
			return
		}
	}
	g.t.Errorf("%q was shown and is not on record", text)
}

func TestWhatATargetSaysOfADeathIsOnRecord(t *testing.T) {
	type exitSignal struct {
		Signal        string
		Core          bool
		Message, Lang string
	}
	tg := newTarget(t, func(ch ssh.Channel, req *ssh.Request) {
		req.Reply(true, nil)
		ch.SendRequest("exit-signal", false, ssh.Marshal(exitSignal{"KILL", false, "customer 4711", "customer 4712"}))
		ch.Close()
	})
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}})
	conn, err := g.client(hanako).dial("app+other")
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	exit, ok := errors.AsType[*ssh.ExitError](session.Run("ls"))
	if !ok || exit.Signal() != "KILL" || exit.Msg() != "customer 4711" || exit.Lang() != "" {
		t.Errorf("ended with %v", exit)
	}
	conn.Close()
	g.hasOnRecord("customer 4711")
}

// TestATargetThatNeverAnswersKeepsNoSession: what the client sends meanwhile fills up, and that it has left stands behind.
func TestATargetThatNeverAnswersKeepsNoSession(t *testing.T) {
	silence := make(chan struct{})
	asked := make(chan struct{})
	tg := newTarget(t, func(ssh.Channel, *ssh.Request) {
		close(asked)
		<-silence
	})
	defer close(silence)
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}, limits: sshproxy.Limits{Upstream: 500 * time.Millisecond}, log: silent})
	conn, err := g.client(hanako).dial("app+other")
	must(t, err)
	ch, requests, err := conn.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(requests)
	go ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{"ls"}))
	<-asked
	for range 100 {
		ch.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{"TERM"}))
	}
	conn.Close()
	eventually(t, "the session has ended", func() bool { return len(g.events(recorder.ClassCommand, "session.end")) == 1 })
}

func TestATargetsBannerIsShownOnceAndMadeSafe(t *testing.T) {
	tg := newTarget(t, hello, func(tg *target) {
		tg.config.BannerCallback = func(ssh.ConnMetadata) string { return "Authorised use only.\r\n\x1b]0;owned\a" }
	})
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}})
	got := g.client(hanako).ssh("app@other", "ls")
	if got.stdout != "hello\n" || got.stderr != "Authorised use only.\n]0;owned" {
		t.Error(got)
	}
}

// TestATargetCannotAskAnythingOfTheContractor has a target open channels and send requests the other way.
func TestATargetCannotAskAnythingOfTheContractor(t *testing.T) {
	answered := make(chan string, 3)
	start := func(ch ssh.Channel, req *ssh.Request) {
		req.Reply(true, nil)
		ok, err := ch.SendRequest("auth-agent-req@openssh.com", true, nil)
		answered <- fmt.Sprint("request ", ok, err)
		ok, err = ch.SendRequest("keepalive@openssh.com", true, nil)
		answered <- fmt.Sprint("keepalive ", ok, err)
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
		ch.Close()
	}
	tg := newTarget(t, start, func(tg *target) {
		tg.onConn = func(conn *ssh.ServerConn) {
			_, _, err := conn.OpenChannel("auth-agent@openssh.com", nil)
			answered <- fmt.Sprint("channel ", err != nil)
			conn.SendRequest("hostkeys-00@openssh.com", false, []byte("x"))
		}
	})
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}})
	c := g.client(hanako)
	conn, err := c.dial("app+other")
	must(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	must(t, err)
	must(t, session.Run("ls"))
	got := map[string]bool{}
	for range 3 {
		got[<-answered] = true
	}
	for _, want := range []string{"channel true", "request false <nil>", "keepalive false <nil>"} {
		if !got[want] {
			t.Errorf("want %q among %v", want, got)
		}
	}
}

func TestTheGatewayLogsInWithAShortLivedCertificateOfOnePrincipal(t *testing.T) {
	shown := make(chan *ssh.Certificate, 1)
	tg := newTarget(t, hello, func(tg *target) {
		tg.config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			cert, _ := key.(*ssh.Certificate)
			select {
			case shown <- cert:
			default:
			}
			return nil, nil
		}
	})
	g := newGateway(t, setup{targets: []string{tg.yaml("other")}})
	if got := g.client(hanako).ssh("app@other", "ls"); got.stdout != "hello\n" {
		t.Fatal(got)
	}
	cert := <-shown
	if cert == nil || len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] != "app" || !strings.Contains(cert.KeyId, hanako) ||
		!strings.Contains(cert.KeyId, "s-") || time.Until(time.Unix(int64(cert.ValidBefore), 0)) > 3*time.Minute {
		t.Errorf("certificate %+v", cert)
	}
}
