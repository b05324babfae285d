package main

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// edit replaces one place of a file.
type edit struct {
	kind     string
	from, to int // offsets
	with     string
}

// apply makes mutants of edits; where says which part of the file they belong to.
func apply(file, where string, text []byte, edits []edit) []mutant {
	var all []mutant
	for _, e := range edits {
		changed := slices.Concat(text[:e.from], []byte(e.with), text[e.to:])
		if bytes.Equal(changed, text) {
			continue
		}
		before := strings.Join(strings.Fields(string(text[e.from:e.to])), " ")
		all = append(all, mutant{file: file, line: 1 + bytes.Count(text[:e.from], []byte("\n")), kind: e.kind, text: changed,
			change: fmt.Sprintf("%s%s%s → %s", where, around(text, e.from), clipped(before), cmp.Or(clipped(e.with), "nothing"))})
	}
	return all
}

// around is what stands before an edit on its line, to tell edits of one line apart.
func around(text []byte, at int) string {
	line := string(text[bytes.LastIndexByte(text[:at], '\n')+1 : at])
	if line = strings.TrimSpace(line); line == "" {
		return ""
	}
	return line + " | "
}

func clipped(s string) string {
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "…"
}

// tableMutants changes the values of matrix.yaml, windows.yaml and approvals.yaml. commands.yaml is data of another kind: what
// each program needs is checked line by line in policy/command.
func tableMutants(file string, text []byte) ([]mutant, error) {
	value := map[string]func(section, key, value string) []variant{
		"matrix.yaml": matrixValue, "windows.yaml": windowValue, "approvals.yaml": approvalValue,
	}[file]
	if value == nil {
		return nil, nil
	}
	var edits []edit
	for start := 0; start < len(text); {
		end := start + bytes.IndexByte(append(text[start:], '\n'), '\n')
		edits = append(edits, lineEdits(string(text[start:end]), start, value)...)
		start = end + 1
	}
	return apply(file, "", text, edits), nil
}

// variant is another value for a key.
type variant struct{ kind, with string }

var (
	tableLine = regexp.MustCompile(`^\s*([a-z_-]+): *\{(.*)\}`)
	tablePair = regexp.MustCompile(`([a-z_]+): *(\[[^]]*\]|"[^"]*"|[^,]+)`)
)

// lineEdits changes each value of a line NAME: {key: value, …}, and leaves each key out.
func lineEdits(line string, start int, value func(section, key, value string) []variant) []edit {
	found := tableLine.FindStringSubmatchIndex(line)
	if found == nil || strings.HasPrefix(strings.TrimSpace(line), "#") {
		return nil
	}
	section, body := line[found[2]:found[3]], line[found[4]:found[5]]
	var edits []edit
	for _, pair := range tablePair.FindAllStringSubmatchIndex(body, -1) {
		key, old := body[pair[2]:pair[3]], body[pair[4]:pair[5]]
		at := start + found[4]
		for _, v := range value(section, key, old) {
			edits = append(edits, edit{v.kind, at + pair[4], at + pair[5], v.with})
		}
	}
	return edits
}

func matrixValue(section, key, value string) []variant {
	if key == "mfa_max_age" {
		return durations("obligation", value, time.Minute)
	}
	return others("cell", value, "always", "approval", "never")
}

// others are the words of a vocabulary that a value is not.
func others(kind, value string, words ...string) []variant {
	var all []variant
	for _, word := range words {
		if word != value {
			all = append(all, variant{kind, word})
		}
	}
	return all
}

// durations are a little less and a little more than a value, and much less.
func durations(kind, value string, step time.Duration) []variant {
	d, err := time.ParseDuration(value)
	if err != nil {
		return nil
	}
	return []variant{{kind, (d - step).String()}, {kind, (d + step).String()}, {kind, (d / 2).String()}}
}

var week = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

func windowValue(_, key, value string) []variant {
	switch key {
	case "zone":
		return others("window zone", value, "UTC", "Asia/Tokyo", "Asia/Shanghai", "America/New_York")
	case "days":
		return dayVariants(value)
	case "except":
		return others("window calendar", value, "[]")
	case "from", "to":
		return clockVariants(strings.Trim(value, `"`))
	}
	return nil
}

// dayVariants leaves out each day and adds each that is missing.
func dayVariants(value string) []variant {
	days := strings.Split(strings.ReplaceAll(strings.Trim(value, "[]"), " ", ""), ",")
	var all []variant
	for _, day := range week {
		changed := slices.DeleteFunc(slices.Clone(days), func(d string) bool { return d == day })
		if len(changed) == len(days) {
			changed = append(changed, day)
		}
		all = append(all, variant{"window day", "[" + strings.Join(changed, ", ") + "]"})
	}
	return all
}

// clockVariants moves a bound by a minute and by an hour, as far as the day goes.
func clockVariants(value string) []variant {
	var hour, minute int
	if _, err := fmt.Sscanf(value, "%d:%d", &hour, &minute); err != nil {
		return nil
	}
	var all []variant
	for _, by := range []int{-60, -1, 1, 60} {
		if at := hour*60 + minute + by; at >= 0 && at <= 24*60 {
			all = append(all, variant{"window bound", fmt.Sprintf(`"%02d:%02d"`, at/60, at%60)})
		}
	}
	return all
}

func approvalValue(_, key, value string) []variant {
	const kind = "approval route"
	switch key {
	case "need", "max_minutes", "minutes":
		n, err := strconv.Atoi(value)
		if err != nil {
			return nil
		}
		return []variant{{kind, strconv.Itoa(n - 1)}, {kind, strconv.Itoa(n + 1)}}
	case "deadline", "escalate_after":
		return durations(kind, value, time.Minute)
	case "patterns":
		return others(kind, value, "exact", "any")
	case "ticket":
		return others(kind, value, "required", "optional")
	case "people", "approvers":
		return others(kind, value, "[]", "[mika]")
	case "targets":
		return others(kind, value, "[]", `["*"]`, "[db1]")
	}
	return nil
}
