package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway"
)

// trial is a demo that runs as people start it, and the commands they type beside it.
type trial struct {
	t *testing.T
	gateway.DemoReady
	cmd  *exec.Cmd
	over chan struct{} // closed when the demo has ended
}

func startTrial(t *testing.T, args ...string) *trial {
	t.Helper()
	// A socket's path is short, so the folder stands close to the root.
	dir, err := os.MkdirTemp("", "sekisho")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &trial{t: t, over: make(chan struct{}), cmd: exec.Command("sekisho", append([]string{"demo", "--dir", dir, "--json"}, args...)...)}
	d.cmd.Env = append(os.Environ(), "HOME="+dir)
	d.cmd.Stderr = t.Output()
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	line, _ := bufio.NewReader(stdout).ReadBytes('\n')
	go func() {
		io.Copy(io.Discard, stdout)
		d.cmd.Wait()
		close(d.over)
	}()
	if err := json.Unmarshal(line, &d.DemoReady); err != nil {
		t.Fatalf("the demo did not become ready: %q: %v", line, err)
	}
	return d
}

// stop ends the demo as Ctrl-C does.
func (d *trial) stop() {
	d.cmd.Process.Signal(os.Interrupt)
	select {
	case <-d.over:
	case <-time.After(20 * time.Second):
		d.cmd.Process.Kill()
		d.t.Error("the demo did not stop within 20 s")
	}
}

// sekisho runs a command that works and returns what it prints.
func (d *trial) sekisho(args ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), "sekisho", append(args, "--dir", d.Dir)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		d.t.Fatalf("sekisho %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errOut)
	}
	return out.String()
}

// command is one that waits for somebody.
type command struct {
	t    *testing.T
	name string
	done chan error

	mu   sync.Mutex
	said bytes.Buffer
}

func (c *command) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said.Write(p)
}

// start runs a command that goes on by itself.
func (d *trial) start(args ...string) *command {
	d.t.Helper()
	c := &command{t: d.t, name: "sekisho " + args[0], done: make(chan error, 1)}
	cmd := exec.CommandContext(d.t.Context(), "sekisho", append(args, "--dir", d.Dir)...)
	cmd.Stdout, cmd.Stderr = c, c
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() { c.done <- cmd.Wait() }()
	return c
}

// says waits until the command has printed what the pattern describes, and returns its groups.
func (c *command) says(pattern string) []string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(pageTimeout); ; <-tick.C {
		c.mu.Lock()
		said := c.said.String()
		c.mu.Unlock()
		if found := re.FindStringSubmatch(said); found != nil {
			return found[1:]
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s never says %q:\n%s", c.name, pattern, said)
		}
	}
}

// ends waits for the command, which must have worked.
func (c *command) ends() {
	c.t.Helper()
	if err := <-c.done; err != nil {
		c.t.Fatalf("%s: %v\n%s", c.name, err, c.said.String())
	}
}

// until repeats a command until its output shows all of these texts.
func (d *trial) until(want []string, args ...string) {
	d.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(pageTimeout); ; <-tick.C {
		got := d.sekisho(args...)
		missing := slices.DeleteFunc(slices.Clone(want), func(text string) bool { return strings.Contains(got, text) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("sekisho %s never shows %q:\n%s", strings.Join(args, " "), missing, got)
		}
	}
}

// wantIn fails the test for every text that is not there.
func wantIn(t *testing.T, where, got string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(got, text) {
			t.Errorf("%s does not show %q:\n%s", where, text, got)
		}
	}
}
