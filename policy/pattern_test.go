package policy_test

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/policy"
)

func TestWhatIsWrongWithAPatternIsSaid(t *testing.T) {
	for _, tc := range []struct {
		name, pattern string
		right         policy.Right
		want          string // "" when nothing is
	}{
		{"a command", "make all", policy.Execute, ""},
		{"a command of any kind", "make $(cat targets)", policy.Execute, ""},
		{"a command with any arguments", "apt *", policy.Execute, ""},
		{"anything", "*", policy.Execute, ""},
		{"a hash", "sha256:" + strings.Repeat("0", 64), policy.Execute, ""},
		{"a folder", "/srv/app/*", policy.Write, ""},
		{"requests", "PUT /orders/*", policy.Write, ""},
		{"nothing", "", policy.Write, "empty"},
		{"any hash", "sha256:*", policy.Execute, "by its whole hash"},
		{"any program", "* restart", policy.Execute, "spell the program out"},
		{"part of a program", "app* restart", policy.Execute, "spell the program out"},
		{"a line", "apt *; rm x", policy.Execute, "words with one space between them"},
		{"a variable", "apt $x *", policy.Execute, "words with one space between them"},
		{"a space at the end", "apt * ", policy.Execute, "words with one space between them"},
		{"a way out", "/srv/app/*/../x", policy.Write, "no .., variables or other wildcards"},
		{"another wildcard", "/srv/app/?*", policy.Write, "no .., variables or other wildcards"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := policy.CheckPattern(tc.right, tc.pattern)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestWhichPatternsAreWithinAnother(t *testing.T) {
	for _, tc := range []struct {
		name, wide, narrow string
		right              policy.Right
		want               bool
	}{
		{"the same", "apt *", "apt *", policy.Execute, true},
		{"one command", "apt *", "apt install nginx", policy.Execute, true},
		{"fewer commands", "apt *", "apt install *", policy.Execute, true},
		{"commands with a part left open", "apt *", "apt install nginx-* *", policy.Execute, true},
		{"one word of any", "apt install *", "apt install nginx-*", policy.Execute, true},
		{"more words than one", "apt install nginx-*", "apt install *", policy.Execute, false},
		{"any number of words for one", "systemctl * app", "systemctl *", policy.Execute, false},
		{"one word for any number at the end", "systemctl *", "systemctl * app", policy.Execute, true},
		{"fewer words than there have to be", "apt install *", "apt *", policy.Execute, false},
		{"another program", "apt *", "rm *", policy.Execute, false},
		{"another command", "apt *", "apt 'x; rm'", policy.Execute, false},
		{"a quoted word before the star", "apt *", "apt 'x; rm' *", policy.Execute, false},
		{"everything for something", "apt *", "*", policy.Execute, false},
		{"something for everything", "*", "apt *", policy.Execute, true},
		{"everything for everything plain", "**", "*", policy.Write, false},
		{"a path of any characters for a plain word", "PUT *", "PUT /orders/*", policy.Write, false},
		{"a hash for everything", "*", "sha256:" + strings.Repeat("0", 64), policy.Execute, false},
		{"a file", "/srv/*", "/srv/app/x", policy.Write, true},
		{"a folder below", "/srv/*", "/srv/app/*", policy.Write, true},
		{"a folder above", "/srv/app/*", "/srv/*", policy.Write, false},
		{"an ending", "/srv/*", "/srv/*.log", policy.Write, true},
		{"no ending", "/srv/*.log", "/srv/*", policy.Write, false},
		{"a way out", "/srv/*", "/srv/../etc/passwd", policy.Write, false},
		{"an exact file for another", "/srv/a", "/srv/b", policy.Write, false},
		{"an exact file for a folder", "/srv/a", "/srv/a*", policy.Write, false},
		{"an escaped star for a star", `/srv/\*`, "/srv/*", policy.Write, false},
		{"a star for an escaped one", "/srv/*", `/srv/\*`, policy.Write, true},
		{"a request", "PUT /orders/*", "PUT /orders/1", policy.Write, true},
		{"requests", "PUT /orders/*", "PUT /orders/1/*", policy.Write, true},
		{"requests of another method", "PUT /orders/*", "PATCH /orders/*", policy.Write, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := policy.PatternIncludes(tc.right, tc.wide, tc.narrow); got != tc.want {
				t.Errorf("within: %v", got)
			}
		})
	}
}

// FuzzPatternIncludes: what a narrow pattern covers, a pattern that includes it covers.
func FuzzPatternIncludes(f *testing.F) {
	for _, seed := range [][3]string{
		{"apt *", "apt install *", "apt install nginx"}, {"a* b*", "a* bc", "ax bc"}, {"/srv/*", "/srv/app/*", "/srv/app/x"},
		{"* x", "*", "a x"}, {"a 'b *' *", `a "b *" c`, "a 'b *' c"}, {"PUT /a/*", "PUT /a/b*", "PUT /a/bc"}, {`a \* *`, `a \* b`, "a * b"},
		{"systemctl * app", "systemctl * *", "systemctl x app"}, {"a*b*c", "a*bb*c", "axbbxc"},
	} {
		f.Add(seed[0], seed[1], seed[2], true)
		f.Add(seed[0], seed[1], seed[2], false)
	}
	f.Fuzz(func(t *testing.T, wide, narrow, resource string, command bool) {
		need := policy.Need{Right: policy.Write, Resource: resource}
		if command {
			need.Right = policy.Execute
		}
		covers := func(pattern string) bool {
			return policy.MatchLease(policy.Lease{Right: need.Right, Pattern: pattern}, need)
		}
		if policy.PatternIncludes(need.Right, wide, narrow) && covers(narrow) && !covers(wide) {
			t.Errorf("%q includes %q, which covers %q, and does not cover it", wide, narrow, resource)
		}
		exact := policy.PatternFor(need)
		if resource != "" && covers(wide) != policy.PatternIncludes(need.Right, wide, exact) && wide != exact {
			t.Errorf("%q covers %q and includes its pattern: not both", wide, resource)
		}
	})
}

// FuzzCommandPattern: whatever a pattern with stars covers of commands runs the program that the pattern spells, without
// anything that a shell would do something about.
func FuzzCommandPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"apt *", "apt install nginx"}, {"apt *", "apt x; rm -rf /"}, {"apt *", "apt 'x; rm'"}, {"systemctl * app-*", "systemctl restart app-1"},
		{"a 'b c' *", `a "b c" d`}, {"apt *", "apt\nrm"}, {"apt *", "apt $(rm)"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, resource string) {
		need := policy.Need{Right: policy.Execute, Resource: resource}
		if !strings.Contains(pattern, "*") || pattern == "*" || !policy.MatchLease(policy.Lease{Right: policy.Execute, Pattern: pattern}, need) {
			return
		}
		if _, exact := policy.PatternLiteral(pattern); exact {
			return
		}
		program, _, _ := strings.Cut(pattern, " ")
		if !strings.ContainsAny(program, `'"\`) && program != resource && !strings.HasPrefix(resource, program+" ") {
			t.Errorf("%q covers %q", pattern, resource)
		}
		if bare := outsideQuotes(resource); strings.ContainsAny(bare, ";&|<>()$`*?[]{}~#!\n\t\r\\") {
			t.Errorf("%q covers %q", pattern, resource)
		}
	})
}

// outsideQuotes is what a shell would read as more than text.
func outsideQuotes(command string) string {
	var bare strings.Builder
	quote := byte(0)
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == '"' && c == '\\':
			i++
		case quote == '"' && (c == '$' || c == '`'):
			bare.WriteByte(c)
		case c == quote:
			quote = 0
		case quote == 0:
			bare.WriteByte(c)
		}
	}
	return bare.String()
}
