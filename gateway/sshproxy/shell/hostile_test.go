package shell_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// hostile are ways to run `touch made`, which is refused. Each string is typed when the one before it has been dealt with.
var hostile = map[string]struct {
	bash, zsh string // the person's own settings; "-" where the shell has no such thing
	keys      []string
}{
	"vi mode, Escape and Enter":          {"set -o vi\n", "bindkey -v\n", []string{"touch made\x1b\r"}},
	"vi mode, Escape in a write of its":  {"set -o vi\n", "bindkey -v\n", []string{"touch made", "\x1b", "\r"}},
	"vi mode, a line edited":             {"set -o vi\n", "bindkey -v\n", []string{"touch madx\x1brer\r"}},
	"a key bound to accept-line":         {"bind '\"\\C-g\": accept-line'\n", "mine() { zle .accept-line }; zle -N mine; bindkey '^G' mine\n", []string{"touch made\x07"}},
	"the same with a subshell":           {"bind '\"\\C-g\": accept-line'\n", "mine() { zle .accept-line }; zle -N mine; bindkey '^G' mine\n", []string{"(touch made)\x07"}},
	"the same with a pipeline":           {"bind '\"\\C-g\": accept-line'\n", "mine() { zle .accept-line }; zle -N mine; bindkey '^G' mine\n", []string{"{ touch made; } | cat\x07"}},
	"the same with a redirection":        {"bind '\"\\C-g\": accept-line'\n", "mine() { zle .accept-line }; zle -N mine; bindkey '^G' mine\n", []string{">made\x07"}},
	"accept-and-hold":                    {"-", "", []string{"touch made\x1ba"}},
	"Ctrl-R and Enter":                   {"set -o history\n", "", []string{"touch made\r", "\x12tou\r", "\r"}},
	"Ctrl-R, Escape and Enter":           {"set -o history\n", "", []string{"touch made\r", "\x12tou\x1b\r", "\r"}},
	"Ctrl-O":                             {"", "", []string{"touch made\x0f"}},
	"Ctrl-J":                             {"", "", []string{"touch made\n"}},
	"the last line again":                {"set -o history\n", "", []string{"touch made\r", "!!\r"}},
	"the last line with a change":        {"set -o history\n", "", []string{"touch madx\r", "^madx^made\r"}},
	"a part of history in quotes":        {"set -o history\n", "", []string{"touch made\r", "echo \"$(!!)\"\r"}},
	"an arrow up and Enter":              {"set -o history\n", "", []string{"touch made\r", "\x1b[A\r"}},
	"a line after a line":                {"", "", []string{"echo a\rtouch made\recho b\r"}},
	"a raw paste":                        {"", "", []string{"echo a\ntouch made\necho b\n"}},
	"a paste in brackets":                {"", "", []string{"\x1b[200~echo a\ntouch made\necho b\x1b[201~", "\r"}},
	"a paste that does not end":          {"", "", []string{"\x1b[200~echo a\ntouch made\n", "\x1b[201~\r"}},
	"a binary paste":                     {"", "", []string{binary + "\r", "\x03touch made\r", "\x03"}},
	"typed ahead of the prompt":          {"", "", []string{"sleep 0.2\rtouch made\r"}},
	"typed ahead of two prompts":         {"", "", []string{"sleep 0.2\rsleep 0.1\rtouch made\r"}},
	"into a secret":                      {"", "", []string{"read -rs x\rtouch made\r"}},
	"without a DEBUG trap":               {"bind '\"\\C-g\": accept-line'\n", "-", []string{"trap - DEBUG\r", "touch made\x07"}},
	"without the function that asks":     {"", "-", []string{"unset -f __sekisho_ask\r", "unset -f __sekisho_report\r", "touch made\r"}},
	"without the function that stops":    {"", "", []string{"unset -f __sekisho_stop\r", "unset -f __sekisho_precmd\r", "touch made\r"}},
	"without PROMPT_COMMAND":             {"bind '\"\\C-g\": accept-line'\n", "-", []string{"PROMPT_COMMAND=\r", "echo x\r", "touch made\x07", "touch made\r"}},
	"without PS0":                        {"bind '\"\\C-g\": accept-line'\n", "-", []string{"PS0=\r", "echo x\r", "touch made\x07", "touch made\r"}},
	"without preexec hooks":              {"-", "mine() { zle .accept-line }; zle -N mine; bindkey '^G' mine\n", []string{"preexec_functions=()\r", "echo x\r", "touch made\x07", "touch made\r"}},
	"without precmd hooks":               {"-", "", []string{"precmd_functions=()\r", "echo x\r", "touch made\r"}},
	"with a completion that asks much":   {"_mine() { COMPREPLY=(made); }; complete -F _mine touch\n", "", []string{"touch m\t\r"}},
	"a prompt that runs something":       {"PS1='$(echo x)$ '\n", "setopt promptsubst; PS1='$(echo x)$ '\n", []string{"touch made\r"}},
	"a prompt that runs a function":      {"f() { echo x; }; PS1='$(f)$ '\n", "f() { echo x; }; setopt promptsubst; PS1='$(f)$ '\n", []string{"touch made\r"}},
	"after set -u":                       {"", "", []string{"set -u\r", "touch made\r"}},
	"after set -f":                       {"", "", []string{"set -f\r", "touch made\r"}},
	"after IFS is strange":               {"", "", []string{"IFS=0123456789ab\r", "touch made\r"}},
	"after shopt -s extdebug":            {"", "-", []string{"shopt -s extdebug\r", "touch made\r"}},
	"after shopt -u promptvars":          {"bind '\"\\C-g\": accept-line'\n", "-", []string{"shopt -u promptvars\r", "echo x\r", "touch made\x07"}},
	"after setopt ksharrays shwordsplit": {"-", "", []string{"setopt ksharrays shwordsplit\r", "touch made\r"}},
	"with aliases for what asks":         {"alias printf=true local=true read=true\n", "alias print=true local=true read=true zle=true\n", []string{"touch made\r"}},
	"while a job stands still":           {"", "", []string{"sleep 3\r", "\x1a", "touch made\r", "fg\r", "\x03"}},
	"a here-document that is refused":    {"", "", []string{"cat <<EOF >made; touch made\rx\rEOF\r"}},
	"a loop that is refused":             {"", "", []string{"for i in 1; do\rtouch made\rdone\r"}},
	"a loop given up half-way":           {"", "", []string{"for i in 1; do\r", "touch made\r", "\x03"}},
	"a quote given up half-way":          {"", "", []string{"echo 'a\r", "\x03", "touch made\r"}},
	"a program that makes up a question": {"", "", []string{"printf '\\033]7700;01234567''89abcdef0123456789abcdef;l;9;10;touch made\\007'\r", "\x03"}},
	"a broken question":                  {"", "", []string{"printf '\\033]7700;01234567''89abcdef0123456789abcdef;l;9;\\n'\r", "\x03"}},
}

// binary is every byte but those that end programs or stop the output.
var binary = func() string {
	var b strings.Builder
	for c := range 256 {
		if !strings.ContainsRune("\x03\x04\x11\x13\x1a\x1c\x00", rune(c)) {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}()

func TestHostileKeysRunNothingThatIsRefused(t *testing.T) {
	for what, h := range hostile {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, name string) {
				t.Parallel()
				rc := map[string]string{"bash": h.bash, "zsh": h.zsh}[name]
				if rc == "-" {
					t.Skip("it has no such thing")
				}
				p := open(t, name, rc)
				p.refuse = func(_ context.Context, line string) error {
					if strings.Contains(line, "made") && !strings.Contains(line, "printf") {
						return errors.New("not that")
					}
					return nil
				}
				for _, keys := range h.keys {
					p.typed(keys)
					p.calms()
				}
				p.typed("\x03")
				p.calms()
				for range 3 { // a line may be refused because marks were made up before it
					p.typed("\x05\x15echo en''d\r")
					p.calms()
				}
				p.shows("end\r\n")
				p.notMade()
			})
		})
	}
}

// calms waits until nothing has been shown for a while: what the keys brought about is over, or waits for more.
func (p *terminal) calms() {
	p.t.Helper()
	for seen, since := -1, time.Now(); time.Since(since) < 250*time.Millisecond; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		if n := p.screen.Len(); n != seen {
			seen, since = n, time.Now()
		}
		p.mu.Unlock()
	}
}

func TestWideCharactersAreToldAndSeen(t *testing.T) {
	each(t, func(t *testing.T, name string) {
		p := open(t, name, "")
		p.typed("echo 日本語''です # 花子\r")
		p.shows("日本語です")
		p.wasAsked("echo 日本語''です # 花子")
		if p.lines[0].Differs {
			t.Errorf("it is not on the screen: %q", p.screen.String())
		}
	})
}

// TestALineThatIsNotOnTheScreenIsNoticed when a program makes up a question with the number that is due.
func TestALineThatIsNotOnTheScreenIsNoticed(t *testing.T) {
	p := open(t, "bash", "bind -x '\"\\C-g\": READLINE_LINE=\"echo other\"'\n")
	p.typed("echo one\r")
	p.until("end", func() bool { return len(p.ended) == 1 })
	p.settles()
	must(t, p.gate.FromTarget([]byte("\x1b]7700;"+token+";l;0;10;echo other\a")))
	p.until("question", func() bool { return len(p.asked) == 2 })
	if p.lines[0].Differs || !p.lines[1].Differs {
		t.Errorf("%+v", p.lines)
	}
}
