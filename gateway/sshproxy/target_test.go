package sshproxy_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// target is an SSH server that does exactly what a test wants, where sshd would behave.
type target struct {
	addr   string
	key    ssh.PublicKey
	config *ssh.ServerConfig
	start  func(ch ssh.Channel, req *ssh.Request)
	onConn func(conn *ssh.ServerConn) // optional

	mu    sync.Mutex
	conns []net.Conn
}

// newTarget serves a target that lets everybody in and calls start for each shell, exec and subsystem request; prepare
// changes it before it serves.
func newTarget(t *testing.T, start func(ch ssh.Channel, req *ssh.Request), prepare ...func(*target)) *target {
	t.Helper()
	tg := &target{start: start, config: &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil },
	}}
	tg.show(newSigner(t))
	for _, change := range prepare {
		change(tg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() {
		l.Close()
		tg.drop()
	})
	tg.addr = l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tg.mu.Lock()
			tg.conns = append(tg.conns, conn)
			tg.mu.Unlock()
			go tg.serve(conn)
		}
	}()
	return tg
}

// show sets the host key; another of the same type is replaced.
func (tg *target) show(signer ssh.Signer) {
	tg.config.AddHostKey(signer)
	tg.key = signer.PublicKey()
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	return signer
}

// drop breaks every connection, as a crash would.
func (tg *target) drop() {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	for _, c := range tg.conns {
		c.Close()
	}
}

// yaml is the target's line in the directory.
func (tg *target) yaml(name string) string {
	return fmt.Sprintf("%s: {ssh: {address: %q, host_key: %q}, logins: [app], opaque: execute}", name, tg.addr,
		ssh.FingerprintSHA256(tg.key))
}

func (tg *target) serve(conn net.Conn) {
	sc, channels, requests, err := ssh.NewServerConn(conn, tg.config)
	if err != nil {
		conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	if tg.onConn != nil {
		go tg.onConn(sc)
	}
	for nc := range channels {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		go func() {
			for req := range reqs {
				switch req.Type {
				case "shell", "exec", "subsystem":
					tg.start(ch, req)
				default:
					if req.WantReply {
						req.Reply(true, nil)
					}
				}
			}
		}()
	}
}
