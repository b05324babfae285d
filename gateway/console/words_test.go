package console

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// builtWords are keys that pages put together: a prefix and each of these.
var builtWords = map[string][]string{
	"status.":          {"pending", "approved", "denied", "expired", "cancelled", "all"},
	"type.":            policy.VendorTypes,
	"version.":         {"waiting", "scheduled", "active", "superseded", "withdrawn", "rejected"},
	"outcome.":         {"ok", "refused", "pending", "failed", "lost"},
	"class.":           {"login", "command", "file", "config", "export"},
	"since.":           {"1h", "24h", "7d", "30d", "all"},
	"right.":           {"read", "write", "execute", "delete", "admin"},
	"cell.":            {"always", "approval", "never"},
	"effect.":          {"allow", "approval", "deny"},
	"state.":           {"invited", "certified", "waiting", "active", "revoked"},
	"enforced.":        {"kernel", "wire", "parsed", "recorded"},
	"approve.":         {"ssh.lead", "ssh.done", "cli.lead", "cli.done"},
	"emergency.alarm.": {"live", "unreviewed"}, "emergency.state.": {"live", "unreviewed", "reviewed"},
	"emergency.verdict.": {"justified", "unjustified"},
	"done.": {"emergency-reviewed", "emergency-ended", "approved", "denied", "ended", "released", "asked", "explained", "cancelled", "confirmed", "rejected",
		"withdrawn"},
}

func TestEveryWordThatPagesSayExistsInBothLanguages(t *testing.T) {
	for _, key := range usedWords(t) {
		if w, ok := words[key]; !ok || w.en == "" || w.ja == "" {
			t.Errorf("%q is said but not written in both languages: %+v", key, w)
		}
	}
}

func TestNoWordIsLeftOver(t *testing.T) {
	used := usedWords(t)
	for key := range words {
		if !slices.Contains(used, key) {
			t.Errorf("nothing says %q", key)
		}
	}
}

func TestBothLanguagesTakeTheSameArguments(t *testing.T) {
	verb := regexp.MustCompile(`%.`)
	for key, w := range words {
		if en, ja := verb.FindAllString(w.en, -1), verb.FindAllString(w.ja, -1); !slices.Equal(en, ja) {
			t.Errorf("%q: %v in English, %v in Japanese", key, en, ja)
		}
	}
}

func TestStatesAndEffectsThatPagesShowHaveWords(t *testing.T) {
	for _, c := range recorder.Classes {
		wantWord(t, "class."+string(c))
	}
	for _, r := range policy.Rights {
		wantWord(t, "right."+string(r))
	}
	for _, e := range []policy.Effect{policy.Allow, policy.Approval, policy.Deny} {
		wantWord(t, "effect."+e.String())
	}
	for _, s := range []identity.State{identity.StateInvited, identity.StateCertified, identity.StateWaiting, identity.StateActive,
		identity.StateRevoked} {
		wantWord(t, "state."+string(s))
	}
	for _, s := range requestStatuses {
		wantWord(t, "status."+string(s))
	}
	for _, l := range []string{access.LabelWire, access.LabelParsed, access.LabelRecorded} {
		wantWord(t, "enforced."+l)
	}
}

func wantWord(t *testing.T, key string) {
	t.Helper()
	if _, ok := words[key]; !ok {
		t.Errorf("no word for %q", key)
	}
}

// usedWords finds the keys in templates and code.
func usedWords(t *testing.T) []string {
	t.Helper()
	var used []string
	quoted := regexp.MustCompile(`"([a-z]+(?:\.[a-z0-9]+)*\.?)"`)
	take := func(source string) {
		for _, m := range quoted.FindAllStringSubmatch(source, -1) {
			if _, ok := words[m[1]]; ok {
				used = append(used, m[1])
			}
		}
	}
	inTemplate := regexp.MustCompile(`\.T "([^"]+)"`)
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		source, err := fs.ReadFile(pageFiles, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inTemplate.FindAllStringSubmatch(string(source), -1) {
			used = append(used, m[1])
		}
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := f.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && name != "words.go" {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			take(string(source))
		}
	}
	for prefix, ends := range builtWords {
		for _, end := range ends {
			used = append(used, prefix+end)
		}
	}
	return used
}
