package deploy_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// machine is a target below a private folder: sshd's files, and a real sshd on loopback once it is started.
type machine struct {
	t        *testing.T
	sshd     string
	prefix   string
	login    string // who runs the test: without root sshd lets nobody else in
	port     string
	userCA   ssh.Signer
	hostCA   ssh.Signer
	hostKey  ssh.Signer
	identity string // a key that authorized_keys lets in, from before the bootstrap
}

const dropInInclude = "Include %s/etc/ssh/sshd_config.d/*.conf\n"

// newMachine has sshd_config begin with these lines; %s in them is the prefix.
func newMachine(t *testing.T, first string) *machine {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd, err = exec.LookPath("/usr/sbin/sshd"); err != nil {
			missing(t, "sshd")
		}
	}
	if _, err := exec.LookPath("ssh"); err != nil {
		missing(t, "ssh")
	}
	me, err := user.Current()
	must(t, err)
	m := &machine{t: t, sshd: sshd, prefix: filepath.Join(t.TempDir(), "a target"), login: me.Username, port: freePort(t)}
	if me.Uid == "0" {
		must(t, os.MkdirAll("/run/sshd", 0o755)) // sshd's own, where its service does not run
	}
	m.userCA, m.hostCA = newSigner(t), newSigner(t)
	m.hostKey = m.writeKey(m.ssh("ssh_host_ed25519_key"))
	m.identity = filepath.Join(m.prefix, "home", "id")
	own := m.writeKey(m.identity)
	m.write(filepath.Join(m.prefix, "home", "authorized_keys"), string(ssh.MarshalAuthorizedKey(own.PublicKey())))
	m.write(filepath.Join(m.prefix, "upstream_ca.pub"), string(ssh.MarshalAuthorizedKey(m.userCA.PublicKey())))
	m.write(filepath.Join(m.prefix, "host-cert.pub"), m.hostCertificate(m.hostKey.PublicKey()))
	if strings.Contains(first, "%s") {
		first = fmt.Sprintf(first, m.prefix)
	}
	// An Include of a path with spaces needs its quotes.
	first = strings.ReplaceAll(first, "Include "+m.prefix+"/etc/ssh/sshd_config.d/*.conf", `Include "`+m.prefix+`/etc/ssh/sshd_config.d/*.conf"`)
	m.write(m.ssh("sshd_config"), first+fmt.Sprintf(`ListenAddress 127.0.0.1
Port %s
HostKey "%s"
AuthorizedKeysFile "%s/home/authorized_keys"
PidFile none
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
`, m.port, m.ssh("ssh_host_ed25519_key"), m.prefix))
	return m
}

// missing skips where a test tool cannot be had, and fails under CI, where it must be.
func missing(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("%s is not installed", tool)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	must(t, err)
	return port
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(newKey(t))
	must(t, err)
	return signer
}

// ssh is a file below etc/ssh.
func (m *machine) ssh(name string) string { return filepath.Join(m.prefix, "etc", "ssh", name) }

func (m *machine) write(path, text string) {
	m.t.Helper()
	must(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(m.t, os.WriteFile(path, []byte(text), 0o600))
}

// writeKey makes a key pair: path and path.pub.
func (m *machine) writeKey(path string) ssh.Signer {
	m.t.Helper()
	key := newKey(m.t)
	block, err := ssh.MarshalPrivateKey(key, "")
	must(m.t, err)
	signer, err := ssh.NewSignerFromKey(key)
	must(m.t, err)
	m.write(path, string(pem.EncodeToMemory(block)))
	m.write(path+".pub", string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	return signer
}

func (m *machine) hostCertificate(key ssh.PublicKey) string {
	m.t.Helper()
	cert := &ssh.Certificate{
		Key: key, CertType: ssh.HostCert, KeyId: "db1", ValidPrincipals: []string{"db1"}, ValidBefore: ssh.CertTimeInfinity,
	}
	must(m.t, cert.SignCert(rand.Reader, m.hostCA))
	return string(ssh.MarshalAuthorizedKey(cert))
}

// bootstrap runs the script below the machine's prefix.
func (m *machine) bootstrap(args ...string) result {
	m.t.Helper()
	args = append([]string{"target-bootstrap.sh", "--prefix", m.prefix}, args...)
	cmd := exec.CommandContext(m.t.Context(), "sh", args...)
	cmd.Env = append(os.Environ(), "SSHD="+m.sshd, "TMPDIR="+m.t.TempDir())
	return m.run(cmd)
}

// all is what a first bootstrap is usually told.
func (m *machine) all(more ...string) []string {
	return append([]string{
		"--user-ca", filepath.Join(m.prefix, "upstream_ca.pub"), "--login", m.login, "--allow-root",
		"--host-certificate", filepath.Join(m.prefix, "host-cert.pub"),
	}, more...)
}

type result struct {
	out, err string
	code     int
}

func (m *machine) run(cmd *exec.Cmd) result {
	m.t.Helper()
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return result{out.String(), errout.String(), cmd.ProcessState.ExitCode()}
}

// start runs the real sshd until the test ends.
func (m *machine) start() {
	m.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(m.sshd, "-D", "-e", "-f", m.ssh("sshd_config"))
	cmd.Stderr = &log
	must(m.t, cmd.Start())
	m.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if m.t.Failed() {
			m.t.Logf("sshd said:\n%s", log.String())
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		select {
		case <-tick.C:
			if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", m.port)); err == nil {
				c.Close()
				return
			}
		case <-late:
			m.t.Fatal("sshd does not answer")
		}
	}
}

// connect is a login with stock ssh by the key in identity, meeting the host as a client of the gateway's host CA does.
func (m *machine) connect(identity, known string) result {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "known_hosts")
	must(m.t, os.WriteFile(file, []byte(known), 0o600))
	return m.run(exec.CommandContext(m.t.Context(), "ssh", "-F", "none", "-p", m.port, "-i", identity,
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", `UserKnownHostsFile="`+file+`"`, "-o", "GlobalKnownHostsFile=none",
		"-o", "HostKeyAlias=db1", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		m.login+"@127.0.0.1", "echo in"))
}

func (m *machine) authority() string {
	return "@cert-authority * " + string(ssh.MarshalAuthorizedKey(m.hostCA.PublicKey()))
}

// certified is a fresh key with a certificate that names these principals.
func (m *machine) certified(ca ssh.Signer, principals ...string) string {
	m.t.Helper()
	path := filepath.Join(m.t.TempDir(), "id")
	key := m.writeKey(path)
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "s-1", ValidPrincipals: principals,
		ValidAfter: uint64(time.Now().Add(-time.Minute).Unix()), ValidBefore: uint64(time.Now().Add(2 * time.Minute).Unix()),
	}
	must(m.t, cert.SignCert(rand.Reader, ca))
	m.write(path+"-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
	return path
}

func TestABootstrappedTargetLetsInTheGatewaysCertificatesAndNoOthers(t *testing.T) {
	for _, c := range []struct{ name, first string }{
		{"with drop-ins in use", dropInInclude},
		{"without", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, c.first)
			if got := m.bootstrap(m.all()...); got.code != 0 {
				t.Fatalf("bootstrap: %+v", got)
			}
			m.start()
			for _, c := range []struct {
				name, identity string
				in             bool
			}{
				{"the login's principal", m.certified(m.userCA, m.login), true},
				{"another principal", m.certified(m.userCA, "somebody"), false},
				{"no principal", m.certified(m.userCA), false},
				{"another CA", m.certified(newSigner(t), m.login), false},
				{"a key from before", m.identity, true},
			} {
				got := m.connect(c.identity, m.authority())
				if in := got.out == "in\n"; in != c.in {
					t.Errorf("%s: let in %v, want %v: %+v", c.name, in, c.in, got)
				}
			}
			stranger := "@cert-authority * " + string(ssh.MarshalAuthorizedKey(newSigner(t).PublicKey()))
			if got := m.connect(m.identity, stranger); got.code != 255 || !strings.Contains(got.err, "Host key verification failed") {
				t.Errorf("a client of another host CA: %+v", got)
			}
			plain := "db1 " + string(ssh.MarshalAuthorizedKey(m.hostKey.PublicKey()))
			if got := m.connect(m.identity, plain); got.out != "in\n" {
				t.Errorf("a client that knew the host key before: %+v", got)
			}
		})
	}
}

func TestBootstrappingAgainChangesNothing(t *testing.T) {
	m := newMachine(t, "")
	if got := m.bootstrap(m.all("--check")...); got.code != 1 || !strings.Contains(got.out, "upstream_ca.pub") {
		t.Errorf("check before: %+v", got)
	}
	before := m.tree()
	if got := m.bootstrap(m.all("--dry-run")...); got.code != 0 || !strings.Contains(got.out, "include") || m.tree() != before {
		t.Errorf("dry run: %+v", got)
	}
	if got := m.bootstrap(m.all()...); got.code != 0 || !strings.Contains(got.out, "done") {
		t.Fatalf("bootstrap: %+v", got)
	}
	after := m.tree()
	for _, args := range [][]string{m.all(), m.all("--check"), m.all("--dry-run")} {
		if got := m.bootstrap(args...); got.code != 0 || !strings.Contains(got.out, "nothing to do") {
			t.Errorf("again with %v: %+v", args[len(args)-1], got)
		}
	}
	// The host certificate that is installed stays where none is given.
	if got := m.bootstrap("--user-ca", filepath.Join(m.prefix, "upstream_ca.pub"), "--login", m.login, "--allow-root"); got.code != 0 ||
		!strings.Contains(got.out, "nothing to do") {
		t.Errorf("again without the host certificate: %+v", got)
	}
	if m.tree() != after {
		t.Errorf("the files changed from\n%s\nto\n%s", after, m.tree())
	}
}

// tree is every file below etc with its content.
func (m *machine) tree() string {
	m.t.Helper()
	var all strings.Builder
	must(m.t, filepath.WalkDir(filepath.Join(m.prefix, "etc"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s: %s\n", path, text)
		return err
	}))
	return all.String()
}

func TestALoginThatIsNoLongerNamedLosesItsPrincipal(t *testing.T) {
	m := newMachine(t, dropInInclude)
	other := "nobody"
	if got := m.bootstrap(m.all("--login", other)...); got.code != 0 {
		t.Fatalf("bootstrap: %+v", got)
	}
	if got := m.bootstrap(m.all()...); got.code != 0 || !strings.Contains(got.out, "remove "+m.ssh("sekisho/principals/"+other)) {
		t.Errorf("without the second login: %+v", got)
	}
	if _, err := os.Stat(m.ssh("sekisho/principals/" + other)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its principals are still there: %v", err)
	}
}

func TestABootstrapNeverLocksAnybodyOut(t *testing.T) {
	for _, c := range []struct{ name, first, want string }{
		{"another user CA", "TrustedUserCAKeys /etc/other_ca.pub\n", "manages certificate logins already"},
		{"other principals", "AuthorizedPrincipalsFile /etc/principals/%%u\n", "manages certificate logins already"},
		{"another user CA in a Match block", "Match User nobody\n  TrustedUserCAKeys /etc/other_ca.pub\nMatch all\n", "manages certificate"},
		{"a configuration that is broken already", "NoSuchKeyword yes\n", "mend that first"},
		{"public keys off", "PubkeyAuthentication no\n", "PubkeyAuthentication off"},
		{"an include inside a Match block", "Match User nobody\n" + dropInInclude + "Match all\n", "sshd refuses the new configuration"},
		{"others' drop-ins that never counted", "# Include\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, strings.ReplaceAll(c.first, "%%", "%"))
			sleeping := m.ssh("sshd_config.d/50-sleeping.conf")
			if c.want == "" {
				m.write(sleeping, "PermitRootLogin no\n")
			}
			before := m.tree()
			got := m.bootstrap(m.all()...)
			if c.want == "" {
				dump := m.run(exec.Command(m.sshd, "-T", "-f", m.ssh("sshd_config")))
				if got.code != 0 || !strings.Contains(dump.out, "permitrootlogin yes\n") {
					t.Errorf("bootstrap: %+v\n%s", got, dump.out)
				}
				return
			}
			if got.code != 1 || !strings.Contains(got.err, c.want) {
				t.Errorf("got %+v, want %q", got, c.want)
			}
			if m.tree() != before {
				t.Errorf("the files changed from\n%s\nto\n%s", before, m.tree())
			}
		})
	}
}

func TestAnotherHostCertificateStays(t *testing.T) {
	m := newMachine(t, "")
	m.write(m.ssh("other-cert.pub"), m.hostCertificate(m.hostKey.PublicKey()))
	config, err := os.ReadFile(m.ssh("sshd_config"))
	must(t, err)
	m.write(m.ssh("sshd_config"), fmt.Sprintf("HostCertificate \"%s\"\n%s", m.ssh("other-cert.pub"), config))
	if got := m.bootstrap(m.all()...); got.code != 1 || !strings.Contains(got.err, "host certificate already") {
		t.Errorf("got %+v", got)
	}
}

func TestABootstrapRefusesWhatCannotBeRight(t *testing.T) {
	m := newMachine(t, dropInInclude)
	ca := filepath.Join(m.prefix, "upstream_ca.pub")
	file := func(name, text string) string {
		path := filepath.Join(m.prefix, name)
		m.write(path, text)
		return path
	}
	line := string(ssh.MarshalAuthorizedKey(m.userCA.PublicKey()))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no CA", []string{"--login", m.login, "--allow-root"}, 2, "--user-ca is required"},
		{"no login", []string{"--user-ca", ca}, 2, "--login is required"},
		{"an option nobody knows", []string{"--force"}, 2, "unknown argument"},
		{"a login with a slash", []string{"--user-ca", ca, "--login", "../app"}, 2, "no account name"},
		{"root", []string{"--user-ca", ca, "--login", "root"}, 1, "never log in as root"},
		{"an account that does not exist", []string{"--user-ca", ca, "--login", "no-such-account"}, 1, "no account"},
		{"a private key as CA", []string{"--user-ca", m.identity, "--login", m.login, "--allow-root"}, 1, "one public key"},
		{"two CAs", []string{"--user-ca", file("two.pub", line+line), "--login", m.login, "--allow-root"}, 1, "one public key"},
		{"a CA with options", []string{"--user-ca", file("opt.pub", "cert-authority "+line), "--login", m.login, "--allow-root"}, 1, "options"},
		{"a certificate as CA", []string{"--user-ca", filepath.Join(m.prefix, "host-cert.pub"), "--login", m.login, "--allow-root"}, 1, "certificate"},
		{"a user certificate for the host", append(m.all(), "--host-certificate", m.certified(m.userCA, "app")+"-cert.pub"), 1, "not a host certificate"},
		{"a certificate of another host's key", append(m.all(), "--host-certificate", file("other-host.pub", m.hostCertificate(newSigner(t).PublicKey()))),
			1, "none of this host's keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := m.tree()
			if got := m.bootstrap(c.args...); got.code != c.code || !strings.Contains(got.err, c.want) {
				t.Errorf("got %+v, want %d %q", got, c.code, c.want)
			}
			if m.tree() != before {
				t.Error("files were changed")
			}
		})
	}
}

func TestTheHostKeyToCertifyIsShown(t *testing.T) {
	m := newMachine(t, "")
	want := string(ssh.MarshalAuthorizedKey(m.hostKey.PublicKey()))
	if got := m.bootstrap("--show-host-key"); got.code != 0 || got.out != want {
		t.Errorf("got %+v, want %q", got, want)
	}
}
