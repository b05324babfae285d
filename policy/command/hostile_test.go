package command_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy/command"
)

func TestHostileLinesAreReadInShortTime(t *testing.T) {
	c := shipped(t)
	for _, piece := range []string{
		"if ", "! ", "while ", "a=", "x|", "x&&", "x;", "sudo ", "xargs ", "env -i ", "find . -exec ", "sh -c '", "$a", "${a}", "\"$a\"",
		"a\\\n", "<a ", ">$a ", "a{b,c}", "*?", "~", "password=a ", "password=a&", "https://a:b@", "Authorization: Bearer a ", "token:",
		"--password ", "f() x;", "case x in ", "<<a ", "echo a | sudo -S ", "for a in b;do ", "{ ", "( ", "$((1+", "pass", "--",
	} {
		line := strings.Repeat(piece, (16<<10)/len(piece))
		start := time.Now()
		r := c.Classify(line)
		command.Mask(line)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%q took %v", piece, took)
		} else if testing.Verbose() {
			t.Logf("%-28q %8v %d needs %s", piece, took.Round(time.Microsecond), len(r.Needs), r.Why)
		}
	}
}

func TestAnOpenFileIsNotWrittenByAnotherName(t *testing.T) {
	check(t, []lineCase{
		{"echo x 3<f >/dev/fd/3", "read f; write /dev/fd/3; read echo x"},
		{"echo x <f >/dev/stdin", "read f; write /dev/stdin; read echo x"},
		{"echo x 1<f >/dev/stdout", "read f; write /dev/stdout; read echo x"},
		{"{ echo x >/dev/stdout; } 1<f", "read f; write /dev/stdout; read echo x"},
		{"sh -c 'echo x >/dev/stderr' 2<f", "read f; write /dev/stderr; read echo x"},
		{"exec 1<>f; ls | tee /dev/stdout", "read f; write f; read exec; read ls; write /dev/stdout"},
		{"<f ls 1>&0 >/dev/stdout", "read f; write /dev/stdout; read ls"},
		{"sort -o /dev/stdin x <f", "read f; write /dev/stdin; read x"},
		{"ls > /dev/stdout 2>/dev/stderr", "read ls"},
		{"ls 2>&1 | tee /dev/stderr", "read ls; read tee /dev/stderr"},
		{"cat /dev/stdin /dev/fd/3 < /dev/stdin", "read cat /dev/stdin /dev/fd/3"},
		{"rm -", "delete -"},
		{"tee -", "write -"},
		{"cat - f", "read f"},
	})
}

func TestTextThatAnotherShellRunsIsOpaque(t *testing.T) {
	const another = "opaque: syntax that another shell reads differently"
	const document = "opaque: a here-document whose end is in doubt"
	check(t, []lineCase{
		{`echo "${a:-'$(rm x)'}"`, another},
		{`echo "${a#'}"; rm x; echo "'}"`, another},
		{`echo "${a:-"}"; ls; echo "}"`, "opaque: syntax that cannot be read"},
		{"cat <<EOF\n${a:-'$(rm x)'}\nEOF", another},
		{`echo "${a:-$(echo 'b')}"`, `read echo b; read echo "${a:-$(echo 'b')}"`},
		{`echo ${a:-'}'}`, `read echo ${a:-'}'}`},
		{`echo ${a:-*(e:'rm x':)}`, "opaque: an extended wildcard"},
		{"[[ x == @($(rm x)) ]]", "opaque: an extended wildcard"},
		{"[[ x == @(`rm x`) ]]", "opaque: an extended wildcard"},
		{"case x in @($(rm x))) ;; esac", "opaque: an extended wildcard"},
		{"[[ x == @(a|b) ]]", "read [[ x == @(a|b) ]]"},
		{`echo $'a\'; rm x; #'`, another},
		{"echo a \\\r\nrm x", "opaque: a control character"},
		{"ls\r", "opaque: a control character"},
		{"ls \x1b[8m; ls", "opaque: a control character"},
		{"ls\n\tls", "read ls"},
		{"cat <<EOF\nEO\\\nF\nrm x\nEOF", document},
		{"cat <<$'EOF'\n$EOF\nrm x\nEOF", document},
		{"cat <<E\\OF\nEOF", document},
		{"echo $(cat <<EOF)\nrm x\nEOF", document},
		{"echo `cat <<EOF`\nrm x\nEOF", document},
		{"cat <<'EOF'\na\\\nb\nEOF", "read cat"},
		{"cat <<\"EOF\"\n'$(rm x)'\nEOF", "read cat"},
		{"cat <<-E1\n\t'$(ls)'\n\tE1", "read ls; read cat"},
		{"((1>2))", another},
		{"((1<<2))\n: '\n2\nrm x\n: '", another},
		{"[[ a > b ]]", another},
		{"[[ a || rm = x ]]", another},
		{"[[ a || ! rm = x ]]", another},
		{"[[ a && ( b ) ]]", another},
		{"[[ x =~ a|reboot ]]", another},
		{"[[ -f a && -f b || -d c ]]", "read [[ -f a && -f b || -d c ]]"},
		{"[[ $x =~ ^[0-9]+$ ]]", "read [[ $x =~ ^[0-9]+$ ]]"},
		{"{ echo } always { rm x; }", another},
		{"echo { a } b", another},
		{"echo '}' a}", "read echo '}' a}"},
		{"x='path[$(rm x)]'; echo $x[x]", another},
		{"x='path[$(rm x)]'; echo \"$x[x]\"", another},
		{"x='path[$(rm x)]'; echo $#x[x]", another},
		{"x='path[$(rm x)]'; echo $+x[x]", another},
		{"x='path[$(rm x)]'; [[ -n $x[x] ]]", another},
		{"cat <<EOF\n$x[x]\nEOF", another},
		{"x='/etc(e{rm x})'; echo $~x", another},
		{`echo "a\$~x" ${x}[x] $x/[a-z]`, `read echo 'a$~x' ${x}[x] $x/[a-z]`},
		{"a=()# rm x", another},
		{"(ls) # rm x", "read ls"},
		{"ls;# rm x", "read ls"},
		{"ls # a\\\nrm x", another},
		{"export # a\\\nrm x", another},
		{"coproc touch a=b", another},
		{"ls 2>&1-", "write 1-; read ls"},
		{"tee 12>&1", another},
		{"tee {x}>/dev/null", another},
		{"ls 2>&''-", "write -; read ls"},
		{"ls >/dev/null$\"\"", another},
		{"ls >x<(rm y)", "delete y; write #; read ls"},
		{"tee x<(ls)", "read ls; write #"},
		{"echo x >! y", another},
		{"echo x >>!y", another},
	})
}

func TestOneWordThatBecomesSeveralBringsNoOptionAlong(t *testing.T) {
	check(t, []lineCase{
		{"sort -k {1,-o,y} x", "opaque: an argument that may be an option of sort"},
		{"sort -t * x", "opaque: an argument that may be an option of sort"},
		{"find . -name {x,-delete,-name,y.z}", "opaque: an argument that may be an action of find"},
		{"timeout 7{,z} ls", "opaque: an argument that may be a command"},
		{"timeout 7* ls", "opaque: an argument that may be a command"},
		{"head -n {1,2} x", "read x"},
		{"grep {a,b} x", "read #; read {a,b}; read x"},
		{"ls a{b,c} {1..3}", "read a{b,c}; read {1..3}"},
		{"find . -name '*.log' -o -name *.txt", "read ."},
		{"find . -name [-.]delete", "opaque: an argument that may be an action of find"},
	})
}

func TestACommandWithinACommandEndsWhereItSeemsTo(t *testing.T) {
	const ends = "opaque: an argument that may end a command of find"
	check(t, []lineCase{
		{"x=';'; find . -exec echo \"$x\" -delete -exec echo \\;", ends},
		{"x='+'; find . -exec echo {} \"$x\" -delete -exec echo \\;", ends},
		{"find . -exec echo [\\;] -delete -exec echo \\;", ends},
		{"find . -exec echo {\\;,x} -delete -exec echo \\;", ends},
		{"find . -exec grep -l \"x$y\" {} +", "read .; read #"},
		{"echo rm | xargs --replace=ls ls x", "opaque: xargs"},
		{"echo ee | xargs -ir tr x", "opaque: xargs"},
		{"x=ls; echo rm | xargs -I \"$x\" ls y", "opaque: xargs"},
		{"echo y | xargs -I% -n1 sort x -o", "opaque: xargs"},
		{"ls | xargs -I % cat %", "read ls; read #"},
	})
}

func TestATestDoesNotEvaluate(t *testing.T) {
	const runs = "opaque: a test that may run code"
	check(t, []lineCase{
		{`op=-v; [ "$op" x ]`, runs},
		{`op=-v; [ ! "$op" 'a[$(rm x)]' ]`, runs},
		{`op=-v; [ x -a "$op" 'a[$(rm x)]' ]`, runs},
		{`op=-v; test \( "$op" 'a[$(rm x)]' \)`, runs},
		{`[ -t 'path[$(rm x)]' ]`, runs},
		{`[[ -t 'path[$(rm x)]' ]]`, runs},
		{`x='path[$(rm x)]'; [ -t "$x" ]`, runs},
		{`[ -t 0 ] && [[ -t 1 ]]`, "read [ -t 0 ]; read [[ -t 1 ]]"},
		{`[ ! "$a" ] || [ "$a" ]`, `read [ '!' "$a" ]; read [ "$a" ]`},
		{`[ -n "$a" -a "$b" = "$c" -o 1 -lt "$d" ]`, `read [ -n "$a" -a "$b" = "$c" -o 1 -lt "$d" ]`},
	})
}

func TestNumbersAreNotEvaluated(t *testing.T) {
	const evaluated = "opaque: arithmetic on variables"
	check(t, []lineCase{
		{"OPTIND='a[$(rm x)]'", evaluated},
		{"RANDOM='a[$(rm x)]' ls", evaluated},
		{"OPTIND+='a[$(rm x)]'", evaluated},
		{"OPTIND[0]='a[$(rm x)]'", evaluated},
		{"export SECONDS='path[$(rm x)]'", evaluated},
		{"readonly LINENO=$x", evaluated},
		{"for HISTCMD in 'a[$(rm x)]'; do :; done", evaluated},
		{"read OPTIND <<< 'a[$(rm x)]'", evaluated},
		{"mapfile -t RANDOM < x", evaluated},
		{": ${SRANDOM:=x}", evaluated},
		{"env COLUMNS='path[$(rm x)]' ls", evaluated},
		{"wait -p OPTIND", evaluated},
		{"exit 'path[$(rm x)]'", evaluated},
		{"x='path[$(rm x)]'; exit $x", "opaque: an argument that may be an option of exit"},
		{"x='path[$(rm x)]'; exit \"1$x\"", evaluated},
		{"exit '-path[$(rm x)]'", "opaque: the option -p of exit"},
		{"f() { return 'path[$(rm x)]'; }; f", evaluated},
		{"shift 'path[$(rm x)]'", evaluated},
		{"while ls; do break 'path[$(rm x)]'; done", evaluated},
		{"while ls; do continue 'path[$(rm x)]'; done", evaluated},
		{"logout 'path[$(rm x)]'", evaluated},
		{"read -t 'path[$(rm x)]' y", evaluated},
		{"read -n 'path[$(rm x)]' y", evaluated},
		{"ls; exit $?", "read ls; read exit $?"},
		{"f() { return 3; }; f; exit \"$?\"", `read return 3; read f; read exit "$?"`},
		{"OPTIND=1; COLUMNS=200 ps aux", "read ps aux"},
		{"read -t 0.5 -n 3 y", "read read -t 0.5 -n 3 y"},
	})
}

func TestVariablesThatChooseProgramsAreOpaque(t *testing.T) {
	for _, name := range []string{
		"GREP", "STTY", "ARGV0", "TERMINFO_DIRS", "PROMPT4", "module_path", "GETCONF_DIR", "TEXTDOMAINDIR", "OPENSSL_CONF",
	} {
		check(t, []lineCase{{name + "=x ls", "opaque: setting " + name}})
	}
}

func TestBuiltinsKeepToWhatTheyShow(t *testing.T) {
	const evaluates = "opaque: a printf that may evaluate what it shows"
	const undefined = "opaque: a function that may not be defined yet"
	check(t, []lineCase{
		{"printf %d 'path[$(rm x)]'", evaluates},
		{"printf '%*s' 'path[$(rm x)]' y", evaluates},
		{"printf 'a%n' IFS", evaluates},
		{"printf '%(%F)T' 'path[$(rm x)]'", evaluates},
		{"printf \"%$x\" y", evaluates},
		{"printf '%s %d' 3 'path[$(rm x)]'", evaluates},
		{"printf '%s %d' 3 4 5 'path[$(rm x)]'", evaluates},
		{"printf '%s %d' $x 'path[$(rm x)]'", evaluates},
		{"printf '%s %5.2f%%\\n' a 0.5 b", `read printf '%s %5.2f%%\n' a 0.5 b`},
		{"printf '%-20s|%b\\n' \"$x\" y", `read printf '%-20s|%b\n' "$x" y`},
		{"set -o history -o histexpand\n: 'a;rm x;'\necho !:1:s/'//:s/'//", "opaque: the option -o of set"},
		{"set +o nocshjunkiequotes", "opaque: the option +o of set"},
		{"set -eo posix", "opaque: the option -eo of set"},
		{"set +A path /tmp", "opaque: the option +A of set"},
		{"set $x", "opaque: an argument that may be an option of set"},
		{"shopt -so histexpand", "opaque: shopt"},
		{"bash -o histexpand -c 'ls'", "opaque: a shell"},
		{"bash -o pipefail -c 'ls'", "read ls"},
		{"set -euo pipefail; set +x; set -- a -A; shopt -s nullglob",
			"read set -euo pipefail; read set +x; read set -- a -A; read shopt -s nullglob"},
		{"hash cat=/bin/rm; cat x", "opaque: hash"},
		{"hash -r", "read hash -r"},
		{"exec -a rm cat x", "opaque: exec"},
		{"coproc echo sh; read -p NULLCMD; <<< 'rm x'", "opaque: read"},
		{"file -C -m x", "opaque: file"},
		{"file --comp -m x", "opaque: file"},
		{"nocorrect() { :; }; nocorrect rm x", "opaque: syntax that another shell reads differently"},
		{"function repeat { :; }; repeat 1 rm x", "opaque: syntax that another shell reads differently"},
		{"eval() { :; }; eval 'rm x'", "opaque: eval"},
		{"rm() { :; }; rm x", "read :; read rm x; delete x"},
		{"reboot() { :; }; unset reboot; reboot", undefined},
	})
}

func TestALineThatTheClientsTerminalNameFillsIsOpaque(t *testing.T) {
	catalogue := shipped(t)
	for line, opaque := range map[string]bool{
		`cp /etc/hostname "$TERM"`: true, `cat ${TERM}`: true, `echo $TERMINAL`: false, `echo TERM`: false,
	} {
		if got := catalogue.Classify(line); got.Opaque != opaque {
			t.Errorf("%s: opaque is %v (%s)", line, got.Opaque, got.Why)
		}
	}
}

func TestAPathIsNamedByWhatItIs(t *testing.T) {
	check(t, []lineCase{
		{"cd /etc && tee app.conf", "read /etc; write #"},
		{"tee a; cd /etc", "write #; read /etc"},
		{"f() { tee a; }; cd /etc; f", "write #; read /etc; read f"},
		{"cd; ls; cat /x", "read cd; read ls; read /x"},
		{"pushd /etc; rm a", "read /etc; delete #"},
		{"env -C /etc rm a", "delete #"},
		{"sh -c 'cd /etc'; rm a", "read /etc; delete #"},
		{"find /a -execdir rm x {} \\;", "read /a; delete #"},
		{"tee token=x/../../etc/y", "write #"},
		{"tee /srv/app/,token=../../../etc/x", "write #"},
		{"echo token=x > y", "write y; read echo token=MASKED"},
		{"tool token=x", "execute tool token=MASKED; execute #"},
		{"tool token=MASKED", "execute tool token=MASKED; execute #"},
	})
}

func TestACommandThatTheLineFeedsIsBoundToTheLine(t *testing.T) {
	check(t, []lineCase{
		{"psql app < fix.sql", "read fix.sql; execute psql app; execute #"},
		{"psql app <<EOF\nx\nEOF", "execute psql app; execute #"},
		{"psql app <<< x", "execute psql app; execute #"},
		{"{ psql app; } < x", "read x; execute psql app; execute #"},
		{"exec < x; psql app", "read x; read exec; execute psql app; execute #"},
		{"cat x | psql app", "read x; execute psql app; execute #"},
		{"f() { psql app; }; f < x", "execute psql app; execute #; read x; read f"},
		{"PGHOST=x psql app", "execute psql app; execute #"},
		{"export PGHOST=x; psql app", "read export PGHOST=x; execute psql app; execute #"},
		{"env PGHOST=x psql app", "execute psql app; execute #"},
		{"psql -f \"$x\"", "execute psql -f \"$x\"; execute #"},
		{"cd /x && make", "read /x; execute make; execute #"},
		{"psql app | head; make", "execute psql app; read head; execute make"},
		{"cat < x; make", "read x; read cat; execute make"},
	})
}
