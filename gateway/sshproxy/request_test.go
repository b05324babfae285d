package sshproxy

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestATerminalRequestIsChecked(t *testing.T) {
	modes := "\x01\x00\x00\x00\x03\x81\x00\x00\x96\x00\x00"
	good := terminal{"xterm-256color", 80, 24, 640, 480, modes}
	if got, ok := parseTerminal(ssh.Marshal(good)); !ok || got != good {
		t.Fatalf("a good request was refused: %+v", got)
	}
	for name, bad := range map[string]terminal{
		"a terminal with an escape in its name": {"x\x1b[m", 80, 24, 0, 0, ""},
		"a terminal that would be two words":    {"xterm /srv", 80, 24, 0, 0, ""},
		"a terminal that is a path":             {"../orders", 80, 24, 0, 0, ""},
		"a terminal that is an option":          {"-rf", 80, 24, 0, 0, ""},
		"more columns than can be replayed":     {"xterm", 1 << 20, 24, 0, 0, ""},
		"more rows than can be replayed":        {"xterm", 80, 1 << 31, 0, 0, ""},
		"a mode without its value":              {"xterm", 80, 24, 0, 0, "\x01\x00\x00"},
		"endless modes":                         {"xterm", 80, 24, 0, 0, strings.Repeat("\x01\x00\x00\x00\x00", 1000)},
	} {
		if _, ok := parseTerminal(ssh.Marshal(bad)); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, ok := parseTerminal(append(ssh.Marshal(good), 'x')); ok {
		t.Error("bytes after the request: accepted")
	}
}

func TestOnlyLocaleAndTerminalVariablesPass(t *testing.T) {
	for _, c := range []struct {
		name, value string
		passes      bool
	}{
		{"LANG", "ja_JP.UTF-8", true},
		{"LC_ALL", "C.UTF-8", true},
		{"LC_TIME", "en_GB@euro", true},
		{"LANGUAGE", "ja:en", true},
		{"COLORTERM", "truecolor", true},
		{"LD_PRELOAD", "/tmp/x.so", false},
		{"PATH", "/tmp", false},
		{"BASH_ENV", "/tmp/x", false},
		{"LC_", "C", false},
		{"LC_all", "C", false},
		{"LANG\x00X", "C", false},
		{"LC_PAYLOAD", "() { :; }; id", false},
		{"LANG", "a\nb", false},
		{"LANG", strings.Repeat("a", 257), false},
		{"LANG", "", true},
		{"LC_CTYPE", "UTF-8", true},
		{"LC_MESSAGES", "ja_JP.eucJP", true},
		{"LC_TIME", "/etc/passwd", false},
		{"LC_TIME", "../orders", false},
		{"LC_TIME", "-rf", false},
		{"LC_TIME", "orders.db", false},
		{"LC_NOTE", "C", false},
		{"LANGUAGE", "orders", false},
		{"COLORTERM", "orders", false},
		{"TERM_PROGRAM", "orders", false},
	} {
		if _, passes := parseVariable(ssh.Marshal(variable{c.name, c.value})); passes != c.passes {
			t.Errorf("%q=%q passes: %v", c.name, c.value, passes)
		}
	}
}

func TestALineThatPolicyAndShellWouldReadDifferentlyIsRefused(t *testing.T) {
	for line, want := range map[string]bool{
		"echo hello":                      true,
		"echo こんにちは":                      true,
		"":                                true,
		"ls\x00; rm -rf /":                false,
		"cat \xff":                        false,
		strings.Repeat("a", maxCommand):   true,
		strings.Repeat("a", 1+maxCommand): false,
	} {
		if _, ok := parseExecution(ssh.Marshal(execution{line})); ok != want {
			t.Errorf("%.20q (%d bytes): accepted %v", line, len(line), ok)
		}
	}
}

func TestFileTransfersAreRecognised(t *testing.T) {
	for line, want := range map[string]bool{
		"scp -t /tmp":                      true,
		"scp -f -- 'a b'":                  true,
		"/usr/bin/scp -t x":                true,
		"  scp -t x":                       true,
		"/usr/lib/openssh/sftp-server":     true,
		"/usr/libexec/sftp-server -l INFO": true,
		"internal-sftp":                    true,
		"scpx":                             false,
		"echo scp":                         false,
		"rsync --server . /x":              false,
		"":                                 false,
	} {
		if got := transfers(line); got != want {
			t.Errorf("transfers(%q) = %v", line, got)
		}
	}
}

func TestSignalsKeepTheirNames(t *testing.T) {
	for name, want := range map[string]bool{"TERM": true, "USR1": true, "INFO@openssh.com": true, "": false, "term": false,
		"TERM\n": false, strings.Repeat("A", 17): false} {
		if _, ok := parseSignal(ssh.Marshal(sending{name})); ok != want {
			t.Errorf("signal %q: accepted %v", name, ok)
		}
	}
}

func TestWhatATargetSaysOfAnExitIsMadeSafe(t *testing.T) {
	e, ok := parseExitSignal(ssh.Marshal(exitSignal{"SEGV", true, "core\x1b]0;owned\a dumped", "en"}))
	if !ok || e.Signal != "SEGV" || !e.CoreDumped || e.Message != "core]0;owned dumped" {
		t.Errorf("got %+v %v", e, ok)
	}
	if _, ok := parseExitSignal(ssh.Marshal(exitSignal{"\x1b", false, "", ""})); ok {
		t.Error("a signal that is none was taken")
	}
}

func FuzzTerminal(f *testing.F) {
	f.Add(ssh.Marshal(terminal{"xterm", 80, 24, 0, 0, "\x01\x00\x00\x00\x03\x00"}))
	f.Add([]byte("\x00\x00\x00\x05xterm"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		term, ok := parseTerminal(payload)
		if !ok {
			return
		}
		if string(ssh.Marshal(term)) != string(payload) {
			t.Errorf("%x is not what is passed on", payload)
		}
		if term.Columns > maxTermSize || term.Rows > maxTermSize || len(term.Modes) > maxModes {
			t.Errorf("%+v is out of bounds", term)
		}
	})
}

func FuzzVariable(f *testing.F) {
	f.Add(ssh.Marshal(variable{"LANG", "ja_JP.UTF-8"}))
	f.Add(ssh.Marshal(variable{"LC_X", "() { :; }"}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, passed := parseVariable(payload)
		if passed && strings.ContainsAny(v.Value, " \n\x00;$(){}'\"`") {
			t.Errorf("%q passes", v.Value)
		}
	})
}

func FuzzRequests(f *testing.F) {
	f.Add(ssh.Marshal(window{80, 24, 0, 0}))
	f.Add(ssh.Marshal(exitSignal{"TERM", false, "", ""}))
	f.Add(ssh.Marshal(execution{"echo hello"}))
	f.Add(ssh.Marshal(exitStatus{3}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if w, ok := parseWindow(payload); ok && string(ssh.Marshal(w)) != string(payload) {
			t.Errorf("window %x", payload)
		}
		if e, ok := parseExitSignal(payload); ok && !printable(e.Signal, 128) {
			t.Errorf("signal %q", e.Signal)
		}
		if line, ok := parseExecution(payload); ok {
			if string(ssh.Marshal(execution{line})) != string(payload) {
				t.Errorf("exec %x", payload)
			}
			transfers(line)
		}
		parseExitStatus(payload)
		parseSignal(payload)
	})
}
