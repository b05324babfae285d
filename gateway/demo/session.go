package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"
)

const sessionEnvs = 64 // variables a client may set, each within envBytes

const envBytes = 1024

// session is one session channel. Its fields belong to the goroutine that serves the channel's requests; process has its
// own once it runs.
type session struct {
	target *Target
	conn   *ssh.ServerConn
	ch     ssh.Channel
	env    []string
	term   *ptyRequest // nil without a terminal
	proc   *process    // nil until a shell or exec was asked for
}

func (t *Target) serveChannel(conn *ssh.ServerConn, nc ssh.NewChannel) {
	ch, requests, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	s := &session{target: t, conn: conn, ch: ch}
	for r := range requests {
		ok := s.request(r)
		if r.WantReply {
			r.Reply(ok, nil)
		}
		if ok && (r.Type == "shell" || r.Type == "exec" || r.Type == "subsystem") {
			s.proc.attach(ch)
		}
	}
	if s.proc != nil {
		s.proc.hangup()
		<-s.proc.done
	}
}

// request answers one request of the channel; what it does not know is refused.
func (s *session) request(r *ssh.Request) bool {
	var err error
	switch r.Type {
	case "pty-req":
		err = s.requestTerminal(r.Payload)
	case "env":
		err = s.setEnv(r.Payload)
	case "shell":
		err = s.start(false, nil)
	case "subsystem":
		var m struct{ Name string }
		if err = ssh.Unmarshal(r.Payload, &m); err == nil && m.Name != "sftp" {
			err = errors.New("no such subsystem")
		}
		if err == nil {
			err = s.start(true, nil)
		}
	case "exec":
		var m struct{ Command string }
		if err = ssh.Unmarshal(r.Payload, &m); err == nil {
			err = s.start(false, &m.Command)
		}
	case "window-change":
		var m windowSize
		if err = ssh.Unmarshal(r.Payload, &m); err == nil {
			err = s.resize(m)
		}
	case "signal":
		var m struct{ Name string }
		if err = ssh.Unmarshal(r.Payload, &m); err == nil {
			err = s.signal(m.Name)
		}
	default:
		return false
	}
	if err != nil {
		s.target.cfg.Log.Debug("demo target refused a request", zap.String("type", r.Type), zap.Error(err))
	}
	return err == nil
}

func (s *session) requestTerminal(payload []byte) error {
	if s.proc != nil || s.term != nil {
		return errors.New("too late for a terminal")
	}
	// Like sshd: what the certificate does not permit is not given.
	if _, ok := s.conn.Permissions.Extensions["permit-pty"]; !ok {
		return errors.New("the certificate does not permit a terminal")
	}
	term, err := parsePtyRequest(payload)
	if err != nil {
		return err
	}
	s.term = term
	return nil
}

func (s *session) setEnv(payload []byte) error {
	var m struct{ Name, Value string }
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return err
	}
	switch {
	case s.proc != nil:
		return errors.New("too late for a variable")
	case !clientEnv(m.Name):
		return fmt.Errorf("variable %q may not be set from outside", m.Name)
	case len(m.Name)+len(m.Value) > envBytes || strings.ContainsRune(m.Value, 0):
		return fmt.Errorf("variable %q is too long or no text", m.Name)
	case len(s.env) >= sessionEnvs:
		return errors.New("too many variables")
	}
	s.env = append(s.env, m.Name+"="+m.Value)
	return nil
}

func (s *session) start(files bool, line *string) error {
	if s.proc != nil {
		return errors.New("a session runs one program")
	}
	if line != nil && strings.ContainsRune(*line, 0) {
		return errors.New("a command line holds no NUL")
	}
	env := append(s.target.environment(s.conn.User()), s.connectionEnv()...)
	env = append(env, s.env...)
	if !slices.ContainsFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "LANG=") }) {
		env = append(env, "LANG=C.UTF-8")
	}
	if s.term != nil {
		env = append(env, "TERM="+s.term.name)
	}
	cmd, err := s.target.command(files, line, env)
	if err != nil {
		return err
	}
	s.proc, err = startProcess(cmd, s.term)
	return err
}

// connectionEnv is SSH_CLIENT and SSH_CONNECTION in sshd's form.
func (s *session) connectionEnv() []string {
	remote, local := splitAddr(s.conn.RemoteAddr()), splitAddr(s.conn.LocalAddr())
	return []string{
		"SSH_CLIENT=" + remote[0] + " " + remote[1] + " " + local[1],
		"SSH_CONNECTION=" + remote[0] + " " + remote[1] + " " + local[0] + " " + local[1],
	}
}

func (s *session) resize(m windowSize) error {
	if s.proc == nil || s.proc.tty == nil {
		return errors.New("no terminal")
	}
	return resize(s.proc.tty, m)
}

// signals are RFC 4254's names.
var signals = map[string]syscall.Signal{
	"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP,
	"ILL": syscall.SIGILL, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE,
	"QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV, "TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1,
	"USR2": syscall.SIGUSR2,
}

func (s *session) signal(name string) error {
	sig, ok := signals[name]
	if !ok || s.proc == nil {
		return fmt.Errorf("no process to send signal %q to", name)
	}
	return s.proc.signal(sig)
}

// process is a running program with its pipes, or its terminal.
type process struct {
	cmd    *exec.Cmd
	tty    *os.File // the terminal's controlling side, nil without one
	stdin  *os.File
	stdout *os.File
	stderr *os.File // nil with a terminal
	done   chan struct{}

	mu   sync.Mutex
	over bool // waited for: the process group's number may belong to somebody else
}

func startProcess(cmd *exec.Cmd, term *ptyRequest) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	var theirs []*os.File
	var err error
	if term != nil {
		theirs, err = p.openTerminal(term)
	} else {
		theirs, err = p.openPipes()
	}
	if err == nil {
		err = cmd.Start()
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		p.closeOurs()
		return nil, err
	}
	return p, nil
}

func (p *process) openTerminal(term *ptyRequest) ([]*os.File, error) {
	ours, theirs, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a terminal: %w", err)
	}
	p.tty, p.stdin, p.stdout = ours, ours, ours
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs, theirs, theirs
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.cmd.Env = append(p.cmd.Env, "SSH_TTY="+theirs.Name())
	if err := resize(ours, term.size); err != nil {
		return []*os.File{theirs}, err
	}
	return []*os.File{theirs}, setModes(theirs, term.modes)
}

func (p *process) openPipes() (theirs []*os.File, err error) {
	var in, out, errout *os.File
	if in, p.stdin, err = os.Pipe(); err != nil {
		return nil, err
	}
	theirs = append(theirs, in)
	if p.stdout, out, err = os.Pipe(); err != nil {
		return theirs, err
	}
	theirs = append(theirs, out)
	if p.stderr, errout, err = os.Pipe(); err != nil {
		return theirs, err
	}
	theirs = append(theirs, errout)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, errout
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return theirs, nil
}

func (p *process) closeOurs() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// attach moves bytes between the channel and the process until the output is drained, then says how it ended and closes
// the channel. It returns at once.
func (p *process) attach(ch ssh.Channel) {
	go func() {
		io.Copy(p.stdin, ch)
		if p.tty == nil { // a terminal has one file for both directions
			p.stdin.Close()
		}
	}()
	var output sync.WaitGroup
	output.Go(func() { p.drain(ch, p.stdout) })
	if p.stderr != nil {
		output.Go(func() { p.drain(ch.Stderr(), p.stderr) })
	}
	go func() {
		defer close(p.done)
		if p.tty != nil {
			// The terminal hangs up when its first process is gone, so waiting first cannot lose output.
			p.wait()
			output.Wait()
		} else {
			output.Wait()
			p.wait()
		}
		p.closeOurs()
		ch.CloseWrite()
		sendExit(ch, p.cmd.ProcessState)
		ch.Close()
	}()
}

// drain copies until the process has closed its end or the channel is gone; then the process gets SIGPIPE.
func (p *process) drain(to io.Writer, from *os.File) {
	if _, err := io.Copy(to, from); errors.Is(err, io.EOF) && p.tty == nil {
		from.Close()
	}
}

func (p *process) wait() {
	p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// signal reaches the process group of the program, or whatever its terminal has in the foreground.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return os.ErrProcessDone
	}
	group := p.cmd.Process.Pid
	if front := foreground(p.tty); front > 0 {
		group = front
	}
	return syscall.Kill(-group, sig)
}

// hangup ends what still runs once the channel is gone: SIGHUP as from a terminal, SIGKILL if that does not help.
func (p *process) hangup() {
	p.kill(syscall.SIGHUP)
	late := time.AfterFunc(targetHangup, func() {
		p.kill(syscall.SIGKILL)
		// Something that left the group may still hold a pipe; nobody reads it any more.
		p.closeOurs()
	})
	defer late.Stop()
	<-p.done
}

func (p *process) kill(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	if front := foreground(p.tty); front > 0 {
		syscall.Kill(-front, sig)
	}
	syscall.Kill(-p.cmd.Process.Pid, sig)
}

// sendExit tells the client the exit status, or the signal that ended the program.
func sendExit(ch ssh.Channel, state *os.ProcessState) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(state.ExitCode())}))
		return
	}
	ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Name       string
		Core       bool
		Text, Lang string
	}{signalName(status.Signal()), status.CoreDump(), status.Signal().String(), ""}))
}

func signalName(sig syscall.Signal) string {
	for name, s := range signals {
		if s == sig {
			return name
		}
	}
	return fmt.Sprintf("%d@sekisho", int(sig))
}
