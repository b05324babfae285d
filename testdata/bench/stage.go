package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The ways to a command on the same sshd.
const (
	wayDirect = "direct sshd"
	wayJump   = "ssh ProxyJump"
	wayBare   = "bare proxy"
	wayPlus   = "sekisho login+target"
	wayVia    = "sekisho -J"
	wayFull   = "login+target, files: full"
)

// Every way uses the same algorithms, or their prices would be compared instead. ProxyJump's own first leg has the
// configuration file's.
const (
	kex    = "curve25519-sha256"
	cipher = "aes128-gcm@openssh.com"
)

// stage is everything that runs while measuring: a target sshd, a jump sshd, the bare proxy and the gateway, all on
// loopback.
type stage struct {
	dir     string
	binary  string
	login   string
	payload string // file to download
	config  string // ssh_config with one Host per way
	ways    []string
	target  *server
	jump    *server
	bare    *server
	gateway *server            // files: hash
	full    *server            // files: full
	between map[string]*server // what stands between client and target, by way
	made    string             // account to remove again
}

// server is a long-lived process whose CPU counts, with that of its finished children.
type server struct {
	cmd *exec.Cmd
}

func newStage(dir, binary string) (*stage, error) {
	s := &stage{dir: dir, binary: binary, ways: []string{wayDirect, wayJump, wayBare, wayPlus, wayVia, wayFull}}
	for _, step := range []func() error{s.chooseLogin, s.makePayload, s.startGateways, s.makeKeys, s.startSSHDs, s.startBare, s.applyTarget, s.writeConfig} {
		if err := step(); err != nil {
			s.close()
			return nil, err
		}
	}
	s.between = map[string]*server{wayJump: s.jump, wayBare: s.bare, wayPlus: s.gateway, wayVia: s.gateway, wayFull: s.full}
	return s, nil
}

// chooseLogin chooses the account to log in as: our own, or for root, whom no contractor may be, one made for the while.
func (s *stage) chooseLogin() error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	s.login = me.Username
	if me.Uid != "0" {
		return nil
	}
	s.login = "sekisho-bench"
	if _, err := user.Lookup(s.login); err == nil {
		return nil
	}
	useradd := exec.Command("useradd", "--create-home", "--home-dir", filepath.Join(s.dir, "home"), "--shell", "/bin/sh",
		"--password", "*", s.login) // no password fits, yet the account is not locked, which sshd without PAM refuses
	out, err := useradd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("making an account to log in as: %w: %s", err, out)
	}
	s.made = s.login
	return nil
}

func (s *stage) makePayload() error {
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	s.payload = filepath.Join(s.dir, "payload")
	f, err := os.Create(s.payload)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, int64(*bytesMB)<<20); err != nil {
		return err
	}
	return f.Chmod(0o644)
}

// startGateways starts one gateway that keeps the hashes of files and one that keeps all of them.
func (s *stage) startGateways() (err error) {
	if s.gateway, err = s.startGateway("hash"); err != nil {
		return err
	}
	s.full, err = s.startGateway("full")
	return err
}

// startGateway runs the demo: a whole gateway with people who hold software authenticators. It makes its configuration when
// it starts for the first time and reads it from then on.
func (s *stage) startGateway(files string) (*server, error) {
	made, err := s.runDemo(files)
	if err != nil {
		return made, err
	}
	made.stop()
	config := s.path(files, "sekisho.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	changed := strings.Replace(string(text), "files: capped", "files: "+files, 1)
	if changed == string(text) {
		return nil, fmt.Errorf("%s does not say what is kept of files", config)
	}
	if err := os.WriteFile(config, []byte(changed), 0o600); err != nil {
		return nil, err
	}
	return s.runDemo(files)
}

func (s *stage) runDemo(dir string) (*server, error) {
	cmd := exec.Command(s.binary, "demo", "--dir", s.path(dir), "--json")
	logFile, err := os.Create(s.path(dir + ".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stderr = logFile
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil || !json.Valid(line) {
		cmd.Process.Kill()
		cmd.Wait()
		text, _ := os.ReadFile(s.path(dir + ".log"))
		return nil, fmt.Errorf("the gateway did not start: %v: %s", err, text)
	}
	return &server{cmd: cmd}, nil
}

// makeKeys makes the client's and the hosts' keys for the ways without a gateway.
func (s *stage) makeKeys() error {
	for _, name := range []string{"client", "target_host", "jump_host", "bare_host"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path(name)).CombinedOutput(); err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	pub, err := os.ReadFile(s.path("client.pub"))
	if err != nil {
		return err
	}
	return os.WriteFile(s.path("authorized_keys"), pub, 0o644)
}

func (s *stage) startSSHDs() error {
	var authorities []byte
	for _, gateway := range []string{"hash", "full"} {
		key, err := os.ReadFile(s.path(gateway, "ssh_upstream_ca.pub"))
		if err != nil {
			return err
		}
		authorities = append(authorities, key...)
	}
	upstream := s.path("upstream_cas")
	err := os.WriteFile(upstream, authorities, 0o644)
	if err != nil {
		return err
	}
	if s.target, err = s.startSSHD("target", "TrustedUserCAKeys "+upstream); err != nil {
		return err
	}
	s.jump, err = s.startSSHD("jump", "AllowTcpForwarding yes")
	return err
}

func (s *stage) startSSHD(name, extra string) (*server, error) {
	sshd, err := find("sshd")
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		// sshd's privilege separation folder, which its service makes at boot.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("ListenAddress 127.0.0.1:%d\nHostKey %s\nAuthorizedKeysFile %s\nUsePAM no\nStrictModes no\nPidFile none\nMaxStartups 100\nSubsystem sftp internal-sftp\n%s\n",
		port, s.path(name+"_host"), s.path("authorized_keys"), extra)
	if err := os.WriteFile(s.path(name+".conf"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.path(name+".port"), []byte(strconv.Itoa(port)), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", s.path(name+".conf"))
	logFile, err := os.Create(s.path(name + ".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stderr = logFile
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &server{cmd: cmd}, waitPort(port)
}

// startBare starts the bare proxy, which is this program again.
func (s *stage) startBare() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("bare.port"), []byte(strconv.Itoa(port)), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(self, "bare", s.path("bare_host"), s.path("client"), s.path("client.pub"),
		fmt.Sprintf("127.0.0.1:%d", port), "127.0.0.1:"+s.port("target"), s.login)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	s.bare = &server{cmd: cmd}
	return waitPort(port)
}

// applyTarget adds the sshd to the gateways' directories with the command line an admin would use.
func (s *stage) applyTarget() error {
	out, err := exec.Command("ssh-keygen", "-lf", s.path("target_host.pub")).Output()
	if err != nil {
		return err
	}
	target := fmt.Sprintf("\ntargets:\n  bench1:\n    ssh: {address: \"127.0.0.1:%s\", host_key: \"%s\"}\n    logins: [%s]\n",
		s.port("target"), strings.Fields(string(out))[1], s.login)
	for _, gateway := range []string{"hash", "full"} {
		text, err := os.ReadFile(s.path(gateway, "directory.yaml"))
		if err != nil {
			return err
		}
		changed := strings.Replace(string(text), "\ntargets:\n", target, 1)
		changed = strings.Replace(changed, "targets: [db1,", "targets: [bench1, db1,", 1)
		if err := os.WriteFile(s.path("directory.yaml"), []byte(changed), 0o600); err != nil {
			return err
		}
		out, err := exec.Command(s.binary, "apply", "-f", s.path("directory.yaml"), "--yes", "--reason", "bench", "--dir", s.path(gateway),
			"--as", "ren").CombinedOutput()
		if err != nil {
			return fmt.Errorf("applying the directory: %w: %s", err, out)
		}
	}
	return nil
}

func (s *stage) port(name string) string {
	port, _ := os.ReadFile(s.path(name + ".port"))
	return string(port)
}

// writeConfig writes one Host per way: plain keys for the ways without a gateway, the demo's for those with one.
func (s *stage) writeConfig() error {
	plain := fmt.Sprintf("  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  BatchMode yes\n  KexAlgorithms %s\n  Ciphers %s\n",
		s.login, s.path("client"), kex, cipher)
	var b strings.Builder
	fmt.Fprintf(&b, "Host bench-direct\n  HostName 127.0.0.1\n  Port %s\n%s", s.port("target"), plain)
	fmt.Fprintf(&b, "Host bench-bare\n  HostName 127.0.0.1\n  Port %s\n%s", s.port("bare"), plain)
	fmt.Fprintf(&b, "Host bench-jumphost\n  HostName 127.0.0.1\n  Port %s\n%s", s.port("jump"), plain)
	fmt.Fprintf(&b, "Host bench-jump\n  HostName 127.0.0.1\n  Port %s\n  ProxyJump bench-jumphost\n%s", s.port("target"), plain)
	s.config = s.path("ssh_config")
	return os.WriteFile(s.config, []byte(b.String()), 0o600)
}

// ssh is the client's command line for one way.
func (s *stage) ssh(way string, command string, flags ...string) *exec.Cmd {
	options, host := s.address(way)
	return exec.Command("ssh", append(append(options, flags...), host, command)...)
}

// sftp downloads the payload into nothing over one way.
func (s *stage) sftp(way string) *exec.Cmd {
	options, host := s.address(way)
	return exec.Command("sftp", append(append([]string{"-q"}, options...), host+":"+s.payload, os.DevNull)...)
}

// address is what OpenSSH's programs are told to take a way.
func (s *stage) address(way string) (options []string, host string) {
	demoConfig := s.path("hash", "ssh_config")
	if way == wayFull {
		demoConfig = s.path("full", "ssh_config")
	}
	options = []string{"-o", "KexAlgorithms=" + kex, "-o", "Ciphers=" + cipher}
	switch way {
	case wayPlus, wayFull:
		return append(options, "-F", demoConfig, "-o", "User="+s.login+"+bench1"), "gateway-hanako"
	case wayVia:
		return append(options, "-F", demoConfig, "-J", "gateway-hanako", "-o", "User="+s.login), "bench1"
	}
	host = map[string]string{wayDirect: "bench-direct", wayJump: "bench-jump", wayBare: "bench-bare"}[way]
	return append(options, "-F", s.config), host
}

// settle waits until the servers have reaped their children, whose CPU counts only then, and reaps what clients left behind.
func (s *stage) settle() {
	var servers []int
	for _, server := range s.servers() {
		servers = append(servers, server.cmd.Process.Pid)
	}
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, pid := range childrenOf(os.Getpid()) {
			if slices.Contains(servers, pid) {
				continue
			}
			if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err == nil {
				left++
			}
		}
		if left == 0 && len(childrenOf(s.target.cmd.Process.Pid)) == 0 && len(childrenOf(s.jump.cmd.Process.Pid)) == 0 {
			return
		}
	}
}

func (s *stage) close() {
	for _, server := range s.servers() {
		server.stop()
	}
	if s.made != "" {
		exec.Command("userdel", s.made).Run()
	}
}

func (s *stage) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// servers are those that run.
func (s *stage) servers() []*server {
	return slices.DeleteFunc([]*server{s.gateway, s.full, s.bare, s.jump, s.target}, func(one *server) bool { return one == nil })
}

func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Wait()
}

// cpu is the user and system time that the process has used, to the nanosecond by its CPU clock, and its reaped children,
// to the tick (proc(5), stat fields 16 and 17).
func (s *server) cpu() time.Duration {
	if s == nil {
		return 0
	}
	pid := s.cmd.Process.Pid
	var own unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &own); err != nil { // clock_getcpuclockid(3)
		return 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+2:])
	var ticks int64
	for _, f := range fields[13:15] {
		n, _ := strconv.ParseInt(string(f), 10, 64)
		ticks += n
	}
	return time.Duration(own.Nano()) + time.Duration(ticks)*10*time.Millisecond
}

// childrenOf lists a process's children, whichever of its threads made them.
func childrenOf(pid int) []int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []int
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func waitPort(port int) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return conn.Close()
		}
	}
	return errors.New("sshd did not start")
}
