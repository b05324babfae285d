package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
)

// shellArg is the hidden first argument under which the program starts itself to become a target's shell.
const shellArg = "__demo-shell"

// shellReady is set once the program's main has passed through ShellMain. Without that, starting a shell would start the
// whole program again.
var shellReady atomic.Bool

// errConfine marks a start that was refused because the kernel's confinement failed.
var errConfine = errors.New("confining the shell")

// shellStart is what the program tells its own copy: where to go, what to shut, what to become.
type shellStart struct {
	Home     string   `json:"home"`
	Readable []string `json:"readable"` // besides Home, which is writable
	Confine  bool     `json:"confine"`
	Argv     []string `json:"argv"` // Argv[0] is a path
	Self     bool     `json:"self"` // Argv[0] is this program
	Name     string   `json:"name"` // becomes the program's own argv[0]
}

// ShellMain must be the first call of main. In the copy of the program that a Target starts for a shell it confines
// itself with Landlock, becomes the shell and never returns; everywhere else it only notes that it was called.
func ShellMain() {
	if len(os.Args) == 2 && os.Args[1] == filesArg {
		serveFiles()
	}
	if len(os.Args) != 3 || os.Args[1] != shellArg {
		shellReady.Store(true)
		return
	}
	runtime.LockOSThread() // confinement is a thread's until it executes
	fmt.Fprintln(os.Stderr, "demo target:", becomeShell(os.Args[2]))
	os.Exit(126)
}

// becomeShell returns only when it failed.
func becomeShell(spec string) error {
	var s shellStart
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		return fmt.Errorf("reading how to start the shell: %w", err)
	}
	if len(s.Argv) == 0 {
		return errors.New("nothing to start")
	}
	if err := os.Chdir(s.Home); err != nil {
		return err
	}
	if s.Self {
		self, err := os.Readlink("/proc/self/exe")
		if err != nil {
			return err
		}
		s.Argv[0], s.Readable = self, append(s.Readable, self)
	}
	if s.Confine {
		if err := confine(s.Home, s.Readable); err != nil {
			return fmt.Errorf("%w: %w", errConfine, err)
		}
	}
	argv := append([]string{s.Name}, s.Argv[1:]...)
	return fmt.Errorf("starting %s: %w", s.Argv[0], syscall.Exec(s.Argv[0], argv, os.Environ()))
}

// command is the process of a session: the SFTP server, a shell when line is nil, otherwise sh -c line.
func (t *Target) command(files bool, line *string, env []string) (*exec.Cmd, error) {
	shell := t.sandbox.shell()
	start := shellStart{Home: t.cfg.Dir, Readable: t.sandbox.readable, Confine: t.sandbox.missing() == ""}
	switch {
	case files:
		start.Argv, start.Self = []string{"", filesArg}, true
	case line != nil:
		start.Argv = []string{"/bin/sh", "-c", *line}
	case filepath.Base(shell) == "bash":
		// Not a login shell: /etc/profile may print or ask, the plain rc below HOME may not.
		start.Argv = []string{shell, "--noprofile", "--rcfile", filepath.Join(t.cfg.Dir, ".bashrc")}
	default:
		start.Argv = []string{shell}
	}
	if start.Name = filepath.Base(start.Argv[0]); files {
		start.Name = "sftp-server"
	}
	spec, err := json.Marshal(start)
	if err != nil {
		return nil, err
	}
	self, err := executable()
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{Path: self, Args: []string{filepath.Base(self), shellArg, string(spec)}, Env: env, Dir: t.cfg.Dir}, nil
}

// executable names the running program, also when its file was replaced since it started.
func executable() (string, error) {
	if _, err := os.Stat("/proc/self/exe"); err == nil {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// environment is what every process of a login starts with; nothing of the user's own environment is in it.
func (t *Target) environment(login string) []string {
	return []string{
		"HOME=" + t.cfg.Dir,
		"USER=" + login,
		"LOGNAME=" + login,
		"SHELL=" + t.sandbox.shell(),
		"PATH=" + filepath.Join(t.cfg.Dir, "bin") + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"TMPDIR=" + filepath.Join(t.cfg.Dir, "tmp"),
		"ENV=" + filepath.Join(t.cfg.Dir, ".shrc"),
		"DEMO_TARGET=" + t.cfg.Name,
	}
}

// clientEnv says whether a client may set this variable: the locale, as sshd's AcceptEnv ships it.
func clientEnv(name string) bool {
	return name == "LANG" || (strings.HasPrefix(name, "LC_") && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "")
}

// sandbox is what the kernel lets a target's shells see.
type sandbox struct {
	home     string
	readable []string // system paths with everything hidden cut out
}

// systemPaths hold programs, libraries, settings and facts about processes: what a shell needs to be of use.
var systemPaths = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/nix/store", "/gnu/store",
	"/run/current-system",
}

func newSandbox(home string, hidden []string) sandbox {
	if own, err := os.UserHomeDir(); err == nil {
		hidden = append(slices.Clone(hidden), own) // no shell of a contractor reads the user's files
	}
	s := sandbox{home: home}
	// What stands beside the home belongs to the gateway, or to another target.
	hidden = append(slices.Clone(hidden), filepath.Dir(home))
	var real []string
	for _, dir := range hidden {
		if dir, err := filepath.EvalSymlinks(dir); err == nil && dir != "/" {
			real = append(real, dir)
		}
	}
	for _, path := range systemPaths {
		if path, err := filepath.EvalSymlinks(path); err == nil {
			s.readable = append(s.readable, without(path, real)...)
		}
	}
	slices.Sort(s.readable)
	s.readable = slices.Compact(s.readable)
	return s
}

// without lists path, or its parts that hold none of the hidden folders: Landlock can open a tree but not shut a branch.
func without(path string, hidden []string) []string {
	holds := func(dir string) bool { return within(path, dir) }
	if slices.ContainsFunc(hidden, func(dir string) bool { return within(dir, path) }) {
		return nil
	}
	if !slices.ContainsFunc(hidden, holds) {
		return []string{path}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	var parts []string
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 {
			parts = append(parts, without(filepath.Join(path, e.Name()), hidden)...)
		}
	}
	return parts
}

// within says whether path is dir or stands below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// shell is the user's own bash, or the first shell the sandbox can read.
func (s sandbox) shell() string {
	for _, shell := range []string{os.Getenv("SHELL"), "/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"} {
		if filepath.Base(shell) == "bash" && filepath.IsAbs(shell) && s.canRun(shell) {
			return shell
		}
	}
	return "/bin/sh"
}

func (s sandbox) canRun(program string) bool {
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return false
	}
	info, err := os.Stat(real)
	if err != nil || info.Mode()&0o111 == 0 {
		return false
	}
	return slices.ContainsFunc(s.readable, func(dir string) bool { return within(dir, real) })
}
