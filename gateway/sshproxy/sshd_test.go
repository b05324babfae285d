package sshproxy_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/identity"
)

// sshd is OpenSSH's server as a target, set up as the documentation tells a target's owner to.
type sshd struct {
	addr        string
	fingerprint string // of its ed25519 key
	rsa         string // of its RSA key
	login       string
	home        string
	cmd         *exec.Cmd
	log         bytes.Buffer // read it after cmd.Wait
	dir         string
}

var errNoSSHD = errors.New("sshd is not installed")

// theSSHD is one server for all tests of the package.
var theSSHD = sync.OnceValues(startSSHD)

func realSSHD(t *testing.T) *sshd {
	t.Helper()
	d, err := theSSHD()
	if errors.Is(err, errNoSSHD) {
		missing(t, "sshd")
	}
	must(t, err)
	return d
}

// stopSSHD ends the server and, after a failure, shows what it had to say.
func stopSSHD(failed bool) {
	d, err := theSSHD()
	if err != nil || d == nil {
		return
	}
	d.cmd.Process.Kill()
	d.cmd.Wait()
	if failed {
		fmt.Fprintf(os.Stderr, "sshd said:\n%s", d.log.Bytes())
	}
	os.RemoveAll(d.dir)
}

func startSSHD() (*sshd, error) {
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(path); err != nil {
		return nil, errNoSSHD
	}
	d := &sshd{}
	if d.dir, err = os.MkdirTemp("", "sekisho-sshd-"); err != nil {
		return nil, err
	}
	for _, step := range []func() error{d.chooseLogin, d.makeKeys, d.trustGateway, d.chooseAddress} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return d, d.start(path)
}

// chooseLogin is the user who runs the tests. Root, as whom no contractor logs in, gets a login of its own in a mount
// namespace with another /etc, so that the machine's accounts stay as they are. A mount over /etc/passwd alone would
// vanish when somebody adds an account, because that renames a new file over it.
func (d *sshd) chooseLogin() error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	d.login, d.home = me.Username, me.HomeDir
	if me.Uid != "0" {
		return nil
	}
	d.login, d.home = "app", filepath.Join(d.dir, "home")
	etc := filepath.Join(d.dir, "etc")
	if out, err := exec.Command("cp", "-a", "/etc", etc).CombinedOutput(); err != nil {
		return fmt.Errorf("copying /etc: %w: %s", err, out)
	}
	passwd, err := os.ReadFile(filepath.Join(etc, "passwd"))
	if err != nil {
		return err
	}
	passwd = append(passwd, fmt.Sprintf("app:x:61234:61234::%s:/bin/sh\nops:x:61234:61234::%[1]s:/bin/bash\nzed:x:61234:61234::%[1]s:/bin/zsh\n",
		d.home)...)
	return errors.Join(os.Chmod(d.dir, 0o755), os.Mkdir(d.home, 0o755), os.Chown(d.home, 61234, 61234),
		os.WriteFile(filepath.Join(etc, "passwd"), passwd, 0o644), os.MkdirAll("/run/sshd", 0o755))
}

func (d *sshd) makeKeys() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if d.fingerprint, err = d.writeKey("ed25519", private); err != nil {
		return err
	}
	d.rsa, err = d.writeKey("rsa", testRSA())
	return err
}

func (d *sshd) writeKey(name string, private any) (fingerprint string, err error) {
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(signer.PublicKey()), os.WriteFile(filepath.Join(d.dir, name), pem.EncodeToMemory(block), 0o600)
}

// trustGateway is the target bootstrap: the upstream CA, and a host certificate from the gateway's host CA beside a port
// of its own.
func (d *sshd) trustGateway() error {
	dir, err := authorityDir()
	if err != nil {
		return err
	}
	authority, err := identity.OpenAuthority(dir, identity.KeySource{}, time.Now)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "upstream_ca.pub"), ssh.MarshalAuthorizedKey(authority.UpstreamCA()), 0o644)
}

func (d *sshd) chooseAddress() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.addr = l.Addr().String()
	return l.Close()
}

func (d *sshd) start(path string) error {
	_, port, err := net.SplitHostPort(d.addr)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`
Port %s
ListenAddress 127.0.0.1
HostKey %[2]s/ed25519
HostKey %[2]s/rsa
TrustedUserCAKeys %[2]s/upstream_ca.pub
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
PrintMotd no
PrintLastLog no
StrictModes no
MaxStartups 200
MaxSessions 30
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
LogLevel VERBOSE
`, port, d.dir)
	if err := os.WriteFile(filepath.Join(d.dir, "sshd_config"), []byte(config), 0o600); err != nil {
		return err
	}
	args := []string{path, "-D", "-e", "-f", filepath.Join(d.dir, "sshd_config")}
	if os.Getuid() == 0 {
		script := `mount --bind "$1" /etc && shift && exec "$@"`
		args = append([]string{"unshare", "-m", "sh", "-c", script, "sh", filepath.Join(d.dir, "etc")}, args...)
	}
	d.cmd = exec.Command(args[0], args[1:]...)
	// Should the tests be killed, the server goes with them.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	d.cmd.Stderr = &d.log
	if err := d.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if answers(d.addr) {
			return nil
		}
	}
	d.cmd.Process.Kill()
	d.cmd.Wait()
	return fmt.Errorf("sshd does not answer: %s", d.log.String())
}

// needTerminals leaves a test out where a sshd of our own cannot give its people terminals: one that is not root cannot
// where terminals do not belong to the group tty from the start, as in some containers.
func needTerminals(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	master, tty, err := pty.Open()
	must(t, err)
	defer master.Close()
	defer tty.Close()
	info, err := tty.Stat()
	must(t, err)
	group, err := user.LookupGroup("tty")
	if err == nil && fmt.Sprint(info.Sys().(*syscall.Stat_t).Gid) != group.Gid {
		t.Skip("an sshd that is not root cannot grant terminals on this machine")
	}
}

// answers tells whether an SSH server speaks at addr.
func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	hello := make([]byte, 4)
	_, err = io.ReadFull(conn, hello)
	return err == nil && strings.HasPrefix(string(hello), "SSH-")
}

// testRSA is an RSA key made once.
var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		panic(err)
	}
	return key
})
