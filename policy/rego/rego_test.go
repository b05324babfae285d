package rego_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

func TestTheShippedPolicyPassesItsOwnTests(t *testing.T) {
	results, err := policy.Test(context.Background(), rego.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%s:%d: %s: %s", r.File, r.Line, r.Name, r.Message)
		}
	}
	if len(results) < 40 {
		t.Errorf("only %d tests ran", len(results))
	}
}

func TestEveryPolicyFileHasItsTests(t *testing.T) {
	names, err := fs.Glob(rego.FS, "*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		tests := strings.TrimSuffix(name, ".rego") + "_test.rego"
		if _, err := fs.Stat(rego.FS, tests); err != nil && !strings.HasSuffix(name, "_test.rego") {
			t.Errorf("%s has no %s beside it", name, tests)
		}
	}
}
