package sshproxy

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestAnAddressSplitsAtItsLastPlus(t *testing.T) {
	for _, c := range []struct {
		name, user string
		want       address
		named, ok  bool
	}{
		{"a login and a target", "app+db1", address{"app", "db1"}, true, true},
		{"a login with a plus in it", "a+b+db1", address{"a+b", "db1"}, true, true},
		{"no plus is the gateway itself", "hanako", address{}, false, true},
		{"an empty name is the gateway itself", "", address{}, false, true},
		{"an empty target", "app+", address{"app", ""}, true, false},
		{"an empty login", "+db1", address{"", "db1"}, true, false},
		{"a newline", "app+db1\n", address{}, false, false},
		{"a terminal escape", "app+\x1b[2J", address{}, false, false},
		{"bytes that are not UTF-8", "app+db\xff", address{}, false, false},
		{"a name longer than any", strings.Repeat("a", 256), address{}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, named, ok := parseAddress(c.user)
			if got != c.want || named != c.named || ok != c.ok {
				t.Errorf("parseAddress(%q) = %v %v %v, want %v %v %v", c.user, got, named, ok, c.want, c.named, c.ok)
			}
		})
	}
}

func TestAnAddressThatIsNotWellFormedIsNeverTheGateway(t *testing.T) {
	for _, user := range []string{"app+", "+db1", "a\nb", "\xff"} {
		if _, named, wellFormed := addressOf(user); !named || wellFormed {
			t.Errorf("addressOf(%q): named %v, well formed %v", user, named, wellFormed)
		}
	}
}

func TestOnlyOpenSSHsOwnJumpIsStdio(t *testing.T) {
	for _, c := range []struct {
		name string
		f    forward
		want bool
	}{
		{"ssh -J, ssh -W", forward{"db1", 22, "127.0.0.1", 65535}, true},
		{"ssh -L from this machine", forward{"db1", 22, "127.0.0.1", 51324}, false},
		{"ssh -L over IPv6", forward{"db1", 22, "::1", 65535}, false},
		{"ssh -L -g from the network", forward{"db1", 22, "192.0.2.7", 65535}, false},
		{"a library", forward{"db1", 22, "0.0.0.0", 0}, false},
		{"a name for the address", forward{"db1", 22, "localhost", 65535}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.f.stdio(); got != c.want {
				t.Errorf("stdio() = %v", got)
			}
		})
	}
}

func TestAForwardIsReadCompletelyOrNotAtAll(t *testing.T) {
	good := ssh.Marshal(forward{"db1", 22, "127.0.0.1", 65535})
	if f, ok := parseForward(good); !ok || f.Host != "db1" || !f.ssh() || !f.stdio() {
		t.Fatalf("a good payload was refused: %+v %v", f, ok)
	}
	for name, payload := range map[string][]byte{
		"nothing":             nil,
		"cut short":           good[:len(good)-1],
		"with bytes after it": append(good[:len(good):len(good)], 0),
		"port beyond 65535":   ssh.Marshal(forward{"db1", 65536 + 22, "127.0.0.1", 1}),
		"originator port":     ssh.Marshal(forward{"db1", 22, "127.0.0.1", 1 << 31}),
		"no host":             ssh.Marshal(forward{"", 22, "127.0.0.1", 1}),
		"host with escapes":   ssh.Marshal(forward{"\x1b]0;x\a", 22, "127.0.0.1", 1}),
		"endless host":        ssh.Marshal(forward{strings.Repeat("a", 300), 22, "127.0.0.1", 1}),
	} {
		if f, ok := parseForward(payload); ok {
			t.Errorf("%s: accepted as %+v", name, f)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"app+db1", "+", "a+b+c", "hanako", "", "\xff+\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, user string) {
		a, named, wellFormed := addressOf(user)
		if wellFormed && named && a.login+"+"+a.target != user {
			t.Errorf("%q was read as %+v", user, a)
		}
		if strings.Contains(a.target, "+") {
			t.Errorf("%q: target %q contains a plus", user, a.target)
		}
		if wellFormed && !printable(user, maxName) {
			t.Errorf("%q is not printable and was taken", user)
		}
	})
}

func FuzzForward(f *testing.F) {
	f.Add(ssh.Marshal(forward{"db1", 22, "127.0.0.1", 65535}))
	f.Add([]byte("\x00\x00\x00\x03db1\x00\x00\x00\x16\xff\xff\xff\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		fwd, ok := parseForward(payload)
		if ok && string(ssh.Marshal(fwd)) != string(payload) {
			t.Errorf("%x was read as %+v, which is not all of it", payload, fwd)
		}
	})
}
