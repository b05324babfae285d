package main

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
)

// TestAContractorsLineCannotActOnTheApproversTerminal lists a request whose line would erase itself, add a row of its own
// and turn its text around.
func TestAContractorsLineCannotActOnTheApproversTerminal(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	p := (&settings{}).printer(cmd, "REQUEST", "WHAT")
	if err := p.row(nil, "r-1", "rm 顧客\x1b[2K\rls\nr-2\tls \u202egpj.x \u009b2J \xff"); err != nil {
		t.Fatal(err)
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	const want = "REQUEST  WHAT\nr-1      rm 顧客\\x1b[2K\\rls\\nr-2\\tls \\u202egpj.x \\u009b2J \uFFFD\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
