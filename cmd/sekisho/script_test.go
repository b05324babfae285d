package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sekisho/sekisho/gateway/demo"
)

// TestMain lets scripts run this test binary as the real sekisho.
func TestMain(m *testing.M) {
	demo.ShellMain()
	testscript.Main(m, map[string]func(){
		"sekisho": func() { main() },
	})
}

// TestScripts runs the manual: each file of testdata/script is a story told with the real programs.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("LANG", "C.UTF-8")
			// What must not leak in from the person who runs the tests.
			for _, name := range []string{"SEKISHO_DIR", "SEKISHO_AS", "SSH_AUTH_SOCK"} {
				env.Setenv(name, "")
			}
			env.Values[skipper{}] = env.T().Skip
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "terminals" {
				return grantsTerminals()
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"demo":     startDemo,
			"status":   runStatus,
			"needs":    needs,
			"signal":   signalDemo,
			"until":    until,
			"field":    field,
			"port":     port,
			"machine":  prepareMachine,
			"terminal": terminal,
			"database": databaseFault,
		},
	})
}

// running is the demo a script has started.
type running struct {
	cmd  *exec.Cmd
	done chan error
}

// startDemo runs "sekisho demo --json" in the script's folder .demo and waits for its one line; the line is written to
// demo.json and its addresses to the environment.
func startDemo(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(".demo")
	cmd := exec.Command("sekisho", append([]string{"demo", "--dir", dir, "--json"}, args...)...)
	cmd.Path = lookIn(ts.Getenv("PATH"), "sekisho")
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()}
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	logFile, err := os.Create(ts.MkAbs("demo.log"))
	ts.Check(err)
	cmd.Stderr = logFile
	ts.Check(cmd.Start())
	run := &running{cmd: cmd, done: make(chan error, 1)}
	line := make(chan string, 1)
	go func() {
		first, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- first
		io.Copy(io.Discard, stdout)
		run.done <- cmd.Wait()
	}()
	ts.Defer(func() { run.stop(ts, syscall.SIGINT) })
	select {
	case ready := <-line:
		if !json.Valid([]byte(ready)) {
			log, _ := os.ReadFile(ts.MkAbs("demo.log"))
			ts.Fatalf("the demo did not become ready: %q\n%s", ready, log)
		}
		ts.Check(os.WriteFile(ts.MkAbs("demo.json"), []byte(ready), 0o600))
		exportReady(ts, ready)
	case <-time.After(2 * time.Minute):
		ts.Fatalf("the demo was not ready within two minutes")
	}
	demos.Store(ts.MkAbs("."), run)
}

// demos holds the *running demo by the script's folder; scripts run side by side.
var demos sync.Map

func lookIn(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		if full := filepath.Join(dir, name); isExecutable(full) {
			return full
		}
	}
	return name
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

func exportReady(ts *testscript.TestScript, ready string) {
	var r struct {
		SSHAddr    string `json:"ssh_addr"`
		HTTPSAddr  string `json:"https_addr"`
		ConsoleURL string `json:"console_url"`
		OrdersURL  string `json:"orders_url"`
		SSHConfig  string `json:"ssh_config"`
	}
	ts.Check(json.Unmarshal([]byte(ready), &r))
	ts.Setenv("SSH_ADDR", r.SSHAddr)
	ts.Setenv("HTTPS_ADDR", r.HTTPSAddr)
	ts.Setenv("CONSOLE", r.ConsoleURL)
	ts.Setenv("ORDERS", strings.TrimSuffix(r.OrdersURL, "/"))
	ts.Setenv("CFG", r.SSHConfig)
}

func (r *running) stop(ts *testscript.TestScript, sig os.Signal) {
	if r.cmd.ProcessState != nil {
		return
	}
	r.cmd.Process.Signal(sig)
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		r.cmd.Process.Kill()
		<-r.done
		ts.Logf("the demo did not stop within 20 s of %v and was killed", sig)
	}
}

// signalDemo sends the running demo a signal (INT, KILL, HUP); after INT and KILL it waits for the end.
func signalDemo(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}
	if len(args) != 1 {
		ts.Fatalf("usage: signal INT|KILL|HUP")
	}
	found, ok := demos.Load(ts.MkAbs("."))
	if !ok {
		ts.Fatalf("no demo is running")
	}
	run := found.(*running)
	if args[0] == "HUP" {
		ts.Check(run.cmd.Process.Signal(syscall.SIGHUP))
		return
	}
	run.stop(ts, signals[args[0]])
}

// runStatus runs a program and checks its exact exit status: status 3 ssh -F …
func runStatus(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status CODE PROGRAM [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case err == nil:
	case asExit(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Fatalf("%s: %v", args[1], err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s ended with status %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

func asExit(err error, target **exec.ExitError) bool {
	exit, ok := err.(*exec.ExitError)
	*target = exit
	return ok
}

// skipper keys the function that skips a script.
type skipper struct{}

// needs skips the script when a program is missing, and fails it under CI. It comes before anything is started.
func needs(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		if _, err := exec.LookPath(name); err == nil || isExecutable("/usr/sbin/"+name) || pythonHas(name) {
			continue
		}
		if os.Getenv("CI") != "" {
			ts.Fatalf("%s is not installed; make test installs it", name)
		}
		ts.Value(skipper{}).(func(...any))(name + " is not installed; make tools installs it")
	}
}

// pythonHas says whether a name such as python3-paramiko is that of a library which the system's Python has.
func pythonHas(name string) bool {
	module, ok := strings.CutPrefix(name, "python3-")
	return ok && exec.Command("/usr/bin/python3", "-W", "ignore", "-c", "import "+module).Run() == nil
}

// until repeats a program until its output holds a text, at most 20 s: until TEXT PROGRAM [ARG...]
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until TEXT PROGRAM [ARG...]")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ts.Exec(args[1], args[2:]...)
		if strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), args[0]) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("%q never appeared in the output of %s", args[0], strings.Join(args[1:], " "))
		}
	}
}

// field takes a field of the first line of JSON on stdout into the environment: field NAME json_key
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: field NAME json_key")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(lines[0]), &object))
	value, ok := object[args[1]]
	if !ok {
		ts.Fatalf("no field %q in %s", args[1], lines[0])
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// port takes a free port of this machine into the environment, for a program that cannot say which one it took: port NAME
func port(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	_, number, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], number)
}
