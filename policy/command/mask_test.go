package command_test

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/policy/command"
)

func TestSecretsAreMasked(t *testing.T) {
	for _, tc := range []struct{ line, want string }{
		{"mysql --password=hunter2 db", "mysql --password=MASKED db"},
		{"mysql -phunter2 db", "mysql -pMASKED db"},
		{"sudo mysql -u root -phunter2 db", "sudo mysql -u root -pMASKED db"},
		{"tool --password hunter2 --verbose", "tool --password MASKED --verbose"},
		{"tool --api-key 'hun ter2' x", "tool --api-key MASKED x"},
		{"tool --db-password=\"hunter2\"", "tool --db-password=MASKED"},
		{"sshpass -p hunter2 ssh x", "sshpass -p MASKED ssh x"},
		{"sshpass -phunter2 ssh x", "sshpass -pMASKED ssh x"},
		{"redis-cli -a hunter2 ping", "redis-cli -a MASKED ping"},
		{"curl -u me:hunter2 http://x/", "curl -u me:MASKED http://x/"},
		{"curl -ume:hunter2 http://x/", "curl -ume:MASKED http://x/"},
		{"curl https://me:hunter2@x/", "curl https://me:MASKED@x/"},
		{"git clone https://ghp_abcdefghijklmnopqrstuvwxyz@github.com/a/b", "git clone https://MASKED@github.com/a/b"},
		{"curl 'https://x/?a=1&token=hunter2&b=2'", "curl 'https://x/?a=1&token=MASKED&b=2'"},
		{"curl -H 'Authorization: Bearer hunter2' x", "curl -H 'Authorization: Bearer MASKED' x"},
		{"curl -H \"Authorization: Basic hunter2 $x\" y", "curl -H \"Authorization: Basic MASKED$x\" y"},
		{"curl -H 'X-Api-Key: hunter2' x", "curl -H 'X-Api-Key: MASKED' x"},
		{"curl -d '{\"user\":\"me\",\"password\":\"hunter2\"}' x", "curl -d '{\"user\":\"me\",\"password\":MASKED}' x"},
		{"PGPASSWORD=hunter2 psql", "PGPASSWORD=MASKED psql"},
		{"export API_TOKEN='hunter2'", "export API_TOKEN=MASKED"},
		{"psql postgres://me:hunter2@db/x", "psql postgres://me:MASKED@db/x"},
		{"openssl enc -pass pass:hunter2", "openssl enc -pass MASKED"},
		{"aws AKIAABCDEFGHIJKLMNOP", "aws MASKED"},
		{"echo hunter2 | sudo -S id", "echo MASKED | sudo -S id"},
		{"echo 'me:hunter2' | chpasswd", "echo MASKED | chpasswd"},
		{"sh -c 'mysql -phunter2 db'", "sh -c 'mysql -pMASKED db'"},
		{"sudo sh -c \"sh -c 'tool --token hunter2'\"", "sudo sh -c \"sh -c 'tool --token MASKED'\""},
		{"cat <<EOF\npassword=hunter2\nEOF", "cat <<EOF\npassword=MASKED\nEOF"},
		{"ls # password=hunter2", "ls # password=MASKED"},
		{`tool --password $'hun\'ter2' x`, "tool --password MASKED x"},
		{"tool --password hunter2\r\n", "tool --password MASKED\n"},
		{"echo 'unfinished password=hunter2", "echo 'unfinished password=MASKED"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			got := command.Mask(tc.line)
			if got != tc.want {
				t.Errorf("masked %q, want %q", got, tc.want)
			}
			if again := command.Mask(got); again != got {
				t.Errorf("masked again %q", again)
			}
		})
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	for _, line := range []string{
		"ls -p /srv", "grep password notes.txt", "cat /etc/passwd", "tool --password-file x", "cd $OLDPWD", "PWD=/x ls",
		"tool --password=$PW", "mysql -p db", "mkdir -p a/b", "ps -u app", "curl https://x:8443/y", "ssh git@host",
		"docker login --password-stdin", "find . -name '*.key' -print", "echo session",
	} {
		if got := command.Mask(line); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
}

func FuzzMask(f *testing.F) {
	seed(f)
	c := shipped(f)
	f.Fuzz(func(t *testing.T, line string) {
		masked := command.Mask(line)
		if again := command.Mask(masked); again != masked {
			t.Fatalf("%q: %q, then %q", line, masked, again)
		}
		if r := c.Classify(line); !r.Opaque {
			for i, n := range c.Classify(masked).Needs {
				if i >= len(r.Needs) || n.Right != r.Needs[i].Right {
					t.Fatalf("%q needs %v, masked %q %v", line, r.Needs, masked, c.Classify(masked).Needs)
				}
			}
		}
	})
}

func FuzzClassify(f *testing.F) {
	seed(f)
	c := shipped(f)
	f.Fuzz(func(t *testing.T, line string) {
		r := c.Classify(line)
		if len(r.Needs) == 0 {
			t.Fatalf("%q needs nothing", line)
		}
		if r.Opaque && (len(r.Needs) != 1 || r.Needs[0].Right != "execute" || r.Needs[0].Resource != command.Hash(line) || r.Why == "") {
			t.Fatalf("%q is opaque but needs %v because of %q", line, r.Needs, r.Why)
		}
		for _, n := range r.Needs {
			if n.Resource == "" || strings.HasPrefix(n.Resource, "sha256:") && n.Resource != command.Hash(line) {
				t.Fatalf("%q: resource %q", line, n.Resource)
			}
		}
		if strings.HasSuffix(line, "\\") || strings.Contains(line, "rm") {
			return
		}
		if more := c.Classify(line + "\nrm x"); !r.Opaque && !more.Opaque && !removes(more) {
			t.Fatalf("%q hides what comes after it: %v", line, more.Needs)
		}
	})
}

func removes(r command.Result) bool {
	for _, n := range r.Needs {
		if n.Right == "delete" && n.Resource == "x" {
			return true
		}
	}
	return false
}

func seed(f *testing.F) {
	for _, line := range []string{
		"ls -la", "echo hello; exit 3", "r''m x", "find . -exec sh -c 'rm \"$1\"' _ {} +", "a=$(rm x) b=${c:-d} cat <<EOF\n$x\nEOF",
		"xargs -I{} mv {} x", "mysql -phunter2", "curl -H 'Authorization: Bearer x' http://a:b@c", "f() { rm x; }; f",
		"case x in a|b) ls;; esac", "[[ a == b ]] && ((1+2))", "echo $'\\x41' \"$@\" {a,b} ~/x", "sed 's/a/b/;2p' x", "PASSWORD='a b' x",
		"sudo -u a env B=c nice -n 3 rm x", "for i in 1 2; do echo $i > f; done", "password=\"$x'y\"", "diff <(a) >(b) 2>&1",
	} {
		f.Add(line)
	}
}
