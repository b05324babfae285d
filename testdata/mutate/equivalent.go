package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// equivalents are changes that change nothing anybody could see, each with the reason. A change is named by its file, its
// kind and what its description ends with.
var equivalents = []struct{ file, kind, ends, reason string }{
	{"windows.yaml", "window zone", "always: {zone: | UTC → Asia/Tokyo", everyDay},
	{"windows.yaml", "window zone", "always: {zone: | UTC → Asia/Shanghai", everyDay},
	{"windows.yaml", "window zone", "always: {zone: | UTC → America/New_York", everyDay},
	{"guardrail.rego", "condition removed", "allow 2: input.person.staff == false → true",
		"whoever of the staff meets the other conditions of this rule meets those of the next"},
}

const everyDay = "a window of every whole day is the same in every zone"

func explained(m mutant) string {
	for _, e := range equivalents {
		if e.file == m.file && e.kind == m.kind && strings.HasSuffix(m.change, e.ends) {
			return e.reason
		}
	}
	return ""
}

// unused names entries that explain nothing any more and returns how many there are; with -only there may be any number.
func unused(out io.Writer, verdicts []verdict) (n int) {
	if *only != "" {
		return 0
	}
	for _, e := range equivalents {
		if !slices.ContainsFunc(verdicts, func(v verdict) bool {
			return v.noticed == "" && e.file == v.file && e.kind == v.kind && strings.HasSuffix(v.change, e.ends)
		}) {
			fmt.Fprintf(out, "UNUSED     %s: %s: %s (%s)\n", e.file, e.kind, e.ends, e.reason)
			n++
		}
	}
	return n
}
