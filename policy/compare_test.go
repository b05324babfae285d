package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sekisho/sekisho/policy"
)

func diff(t testing.TB, before, after map[string]string) []policy.FileDiff {
	t.Helper()
	diffs, err := policy.DiffFiles(folder(t, before), folder(t, after))
	if err != nil {
		t.Fatal(err)
	}
	return diffs
}

func TestADiffShowsWhatChangedAndNothingElse(t *testing.T) {
	numbered := func(n int, change map[int]string) string {
		var text strings.Builder
		for i := 1; i <= n; i++ {
			if line, changed := change[i]; changed {
				text.WriteString(line)
				continue
			}
			fmt.Fprintf(&text, "# %d\n", i)
		}
		return text.String()
	}
	base := numbered(20, nil)
	for _, tc := range []struct{ name, before, after, want string }{
		{"the same", base, base, ""},
		{"a line changed", base, numbered(20, map[int]string{10: "# ten\n"}),
			"--- a/x.rego\n+++ b/x.rego\n@@ -7,7 +7,7 @@\n # 7\n # 8\n # 9\n-# 10\n+# ten\n # 11\n # 12\n # 13\n"},
		{"the first line gone", base, numbered(20, map[int]string{1: ""}),
			"--- a/x.rego\n+++ b/x.rego\n@@ -1,4 +1,3 @@\n-# 1\n # 2\n # 3\n # 4\n"},
		{"a line added at the end", base, base + "# more\n",
			"--- a/x.rego\n+++ b/x.rego\n@@ -18,3 +18,4 @@\n # 18\n # 19\n # 20\n+# more\n"},
		{"two changes close by share a hunk", base, numbered(20, map[int]string{5: "", 12: ""}),
			"--- a/x.rego\n+++ b/x.rego\n@@ -2,14 +2,12 @@\n # 2\n # 3\n # 4\n-# 5\n # 6\n # 7\n # 8\n # 9\n # 10\n # 11\n-# 12\n # 13\n # 14\n # 15\n"},
		{"two changes far apart do not", base, numbered(20, map[int]string{5: "", 13: ""}),
			"--- a/x.rego\n+++ b/x.rego\n@@ -2,7 +2,6 @@\n # 2\n # 3\n # 4\n-# 5\n # 6\n # 7\n # 8\n" +
				"@@ -10,7 +9,6 @@\n # 10\n # 11\n # 12\n-# 13\n # 14\n # 15\n # 16\n"},
		{"a file that is new", "", "# 1\n# 2\n", "--- /dev/null\n+++ b/x.rego\n@@ -0,0 +1,2 @@\n+# 1\n+# 2\n"},
		{"a file that is gone", "# 1\n", "", "--- a/x.rego\n+++ /dev/null\n@@ -1 +0,0 @@\n-# 1\n"},
		{"a newline missing at the end", "# 1\n", "# 1", "--- a/x.rego\n+++ b/x.rego\n@@ -1 +1 @@\n-# 1\n+# 1\n\\ No newline at end of file\n"},
		{"what would hide itself on a terminal", "# 1\n", "# 1\x1b[2K\u202e\xef\t\u3000関所\n",
			"--- a/x.rego\n+++ b/x.rego\n@@ -1 +1 @@\n-# 1\n+# 1\\u{1b}[2K\\u{202e}\\x{ef}\t\u3000関所\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			diffs := diff(t, map[string]string{"x.rego": tc.before}, map[string]string{"x.rego": tc.after})
			var got string
			for _, d := range diffs {
				got += d.Text
			}
			if got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestADiffCountsLinesAndSortsFiles(t *testing.T) {
	diffs := diff(t, nil, map[string]string{"windows.yaml": more(t, "windows.yaml", "# x"), "consulting_test.rego": ""})
	if len(diffs) != 2 || diffs[0].Name != "consulting_test.rego" || diffs[1].Name != "windows.yaml" {
		t.Fatalf("%+v", diffs)
	}
	gone := strings.Count(more(t, "consulting_test.rego", ""), "\n") - 2 // more adds two
	if diffs[0].Added != 0 || diffs[0].Removed != gone || diffs[1].Added != 2 || diffs[1].Removed != 0 {
		t.Errorf("counts %+v", diffs)
	}
}

func TestADiffOfWhatIsNoPolicyFolderIsAnError(t *testing.T) {
	for _, pair := range [][2]fstest.MapFS{{{}, folder(t, nil)}, {folder(t, nil), {}}} {
		if _, err := policy.DiffFiles(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), "matrix.yaml is missing") {
			t.Errorf("got %v", err)
		}
	}
}

// patched applies a unified diff.
func patched(t testing.TB, text, diff string) string {
	t.Helper()
	in := strings.SplitAfter(text, "\n")
	var out strings.Builder
	at := 0
	for _, line := range strings.SplitAfter(diff, "\n")[2:] {
		switch {
		case strings.HasPrefix(line, "@@ -"):
			var start, length int
			if n, _ := fmt.Sscanf(line, "@@ -%d,%d", &start, &length); n == 1 {
				length = 1
			}
			if length == 0 {
				start++
			}
			for ; at < start-1; at++ {
				out.WriteString(in[at])
			}
		case strings.HasPrefix(line, "+"):
			out.WriteString(line[1:])
		case strings.HasPrefix(line, "-"), strings.HasPrefix(line, " "):
			if in[at] != line[1:] {
				t.Fatalf("line %d is %q, the diff says %q", at+1, in[at], line[1:])
			}
			if line[0] == ' ' {
				out.WriteString(in[at])
			}
			at++
		}
	}
	return out.String() + strings.Join(in[at:], "")
}

func TestApplyingADiffGivesTheOtherFile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range rng.IntN(30) {
			fmt.Fprintf(&b, "# %d\n", rng.IntN(6))
		}
		return b.String()
	}
	for range 2000 {
		a, b := text()+"#\n", text()+"#\n"
		got := a
		for _, d := range diff(t, map[string]string{"x.rego": a}, map[string]string{"x.rego": b}) {
			got = patched(t, a, d.Text)
		}
		if got != b {
			t.Fatalf("from\n%s\nto\n%s\ngot\n%s", a, b, got)
		}
	}
}

func TestTwoLargeFilesAreComparedInBoundedTime(t *testing.T) {
	big := func(word string) string {
		var b strings.Builder
		for i := range 60_000 {
			fmt.Fprintf(&b, "# %s %d\n", word, i)
		}
		return b.String()
	}
	a, b := big("a"), big("b")
	began := time.Now()
	diffs := diff(t, map[string]string{"x.rego": a}, map[string]string{"x.rego": b})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if diffs[0].Added != 60_000 || patched(t, a, diffs[0].Text) != b {
		t.Errorf("%d lines added", diffs[0].Added)
	}
}

func FuzzDiffFiles(f *testing.F) {
	f.Add("# a\n# b\n", "# b\n# c\n")
	f.Add("\n\n\n", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		visible := strings.NewReplacer("\r", "", "\x00", "")
		a, b = visible.Replace(a)+"\n", visible.Replace(b)+"\n"
		got := a
		for _, d := range diff(t, map[string]string{"x.rego": a}, map[string]string{"x.rego": b}) {
			if strings.Contains(d.Text, `\u{`) || strings.Contains(d.Text, `\x{`) {
				return // shown, not to be applied
			}
			got = patched(t, a, d.Text)
		}
		if got != b {
			t.Errorf("from %q to %q: got %q", a, b, got)
		}
	})
}
