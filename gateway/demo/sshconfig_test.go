package demo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/demo"
	"golang.org/x/crypto/ssh"
)

// jumpHost stands in for a gateway: it ends the inner SSH of a jump itself, with a host certificate for the target's
// name, and answers each command with who asked for what.
type jumpHost struct {
	t              *testing.T
	hostCA, userCA ssh.Signer
	addr           string
}

func startJumpHost(t *testing.T) *jumpHost {
	t.Helper()
	j := &jumpHost{t: t, hostCA: newSigner(t), userCA: newSigner(t)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	j.addr = ln.Addr().String()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go j.outer(c)
		}
	}()
	return j
}

func (j *jumpHost) config(name string) *ssh.ServerConfig {
	key := newSigner(j.t)
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{name}, ValidBefore: ssh.CertTimeInfinity}
	sign(j.t, cert, j.hostCA)
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		j.t.Error(err)
	}
	cfg := &ssh.ServerConfig{}
	cfg.AddHostKey(signer)
	return cfg
}

func (j *jumpHost) outer(c net.Conn) {
	cfg := j.config("gateway")
	cfg.PublicKeyCallback = func(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		cert, ok := key.(*ssh.Certificate)
		if !ok || !bytes.Equal(cert.SignatureKey.Marshal(), j.userCA.PublicKey().Marshal()) {
			return nil, errors.New("no certificate")
		}
		return &ssh.Permissions{Extensions: map[string]string{"person": cert.ValidPrincipals[0]}}, nil
	}
	sc, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		var m struct {
			Host   string
			Port   uint32
			Origin string
			From   uint32
		}
		if nc.ChannelType() == "session" {
			go answer(nc, sc.Permissions.Extensions["person"]+" as "+sc.User())
			continue
		}
		if err := ssh.Unmarshal(nc.ExtraData(), &m); err != nil || m.Origin != "127.0.0.1" || m.From != 65535 {
			nc.Reject(ssh.Prohibited, "not OpenSSH's own jump")
			continue
		}
		ch, requests, err := nc.Accept()
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		go j.inner(ch, m.Host, sc.Permissions.Extensions["person"])
	}
}

func (j *jumpHost) inner(ch ssh.Channel, target, person string) {
	cfg := j.config(target)
	cfg.NoClientAuth = true
	sc, channels, requests, err := ssh.NewServerConn(pipeConn{ch}, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		go answer(nc, person+" as "+sc.User()+" on "+target)
	}
}

// pipeConn is a channel that looks like a connection.
type pipeConn struct{ ssh.Channel }

func (pipeConn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (pipeConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (c pipeConn) SetDeadline(t time.Time) error      { return nil }
func (c pipeConn) SetReadDeadline(t time.Time) error  { return nil }
func (c pipeConn) SetWriteDeadline(t time.Time) error { return nil }

func answer(nc ssh.NewChannel, text string) {
	ch, requests, err := nc.Accept()
	if err != nil {
		return
	}
	for r := range requests {
		r.Reply(r.Type == "exec" || r.Type == "env", nil)
		if r.Type == "exec" {
			io.WriteString(ch, text+"\n")
			ch.SendRequest("exit-status", false, make([]byte, 4))
			ch.Close()
		}
	}
}

// folder fills a demo folder for hanako and sora and returns it.
func (j *jumpHost) folder(name string) (dir, config string) {
	j.t.Helper()
	dir = filepath.Join(j.t.TempDir(), name)
	h := &targetHost{t: j.t, dir: dir, ca: j.userCA}
	c := demo.SSHConfig{
		Dir: dir, Gateway: j.addr, HostCA: j.hostCA.PublicKey(), Default: "hanako",
		Targets: []demo.SSHTarget{{Name: "db1", Login: "app"}, {Name: "build1", Login: "app"}},
	}
	for _, person := range []string{"hanako", "sora"} {
		key := h.identity(filepath.Join("people", person, "id_ed25519"), func(c *ssh.Certificate) { c.ValidPrincipals = []string{person} })
		c.People = append(c.People, demo.SSHPerson{ID: person, IdentityFile: key, CertificateFile: key + "-cert.pub"})
	}
	config, err := demo.WriteSSHConfig(c)
	if err != nil {
		j.t.Fatal(err)
	}
	return dir, config
}

func TestStockSSHReachesEveryTargetAsEveryPerson(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		missing(t, "ssh")
	}
	j := startJumpHost(t)
	for _, name := range []string{"demo", "my demo, 100% ours; $HOME's", "デモ"} {
		t.Run(name, func(t *testing.T) {
			dir, config := j.folder(name)
			for _, c := range []struct{ args, want string }{
				{"db1", "hanako as app on db1"},
				{"db1-hanako", "hanako as app on db1"},
				{"db1-sora", "sora as app on db1"},
				{"build1-sora", "sora as app on build1"},
				{"gateway", "hanako as hanako"},
				{"app+db1@gateway-sora", "sora as app+db1"},
				{"root@db1", "hanako as root on db1"},
			} {
				cmd := exec.CommandContext(t.Context(), "ssh", "-F", config, c.args, "true")
				// A home that is empty, and stays so.
				home := t.TempDir()
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
				got := run(t, cmd)
				if got.out != c.want+"\n" || got.code != 0 {
					t.Errorf("ssh %s: %+v, want %q", c.args, got, c.want)
				}
				if left, _ := os.ReadDir(home); len(left) > 0 {
					t.Errorf("ssh %s touched the home: %v", c.args, left)
				}
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 3 { // people, ssh_config, known_hosts
				t.Errorf("the folder holds %v", entries)
			}
		})
	}
}

func TestAHostKeyOfAnotherCAIsRefused(t *testing.T) {
	j := startJumpHost(t)
	dir, config := j.folder("demo")
	write(t, filepath.Join(dir, "known_hosts"), "@cert-authority * "+string(ssh.MarshalAuthorizedKey(newSigner(t).PublicKey())), 0o644)
	got := run(t, exec.CommandContext(t.Context(), "ssh", "-F", config, "db1", "true"))
	if got.code != 255 || !strings.Contains(got.err, "Host key verification failed") {
		t.Errorf("an unknown gateway: %+v", got)
	}
}

func TestAFolderThatSSHCannotNameIsRefused(t *testing.T) {
	for _, dir := range []string{`/tmp/a"b`, `/tmp/a\b`, "/tmp/${HOME}", "relative"} {
		_, err := demo.WriteSSHConfig(demo.SSHConfig{Dir: dir, Gateway: "127.0.0.1:22", HostCA: newSigner(t).PublicKey()})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(dir)) {
			t.Errorf("folder %q: %v", dir, err)
		}
	}
}
