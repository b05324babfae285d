package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway"
)

func demoCommand(set *settings) *cobra.Command {
	var authenticator string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "run a whole gateway on this machine, with people and targets, to try it",
		Long: `Runs a whole gateway on loopback: five vendors, one of each type, a sub-contractor, staff, two SSH targets and a web
app. Nothing outside --dir is touched. Ctrl-C stops it; running it again resumes.

The people's WebAuthn is answered by a software authenticator; with --authenticator=browser you enrol and confirm
yourself.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if authenticator != "software" && authenticator != "browser" {
				return usagef("--authenticator %q: want software or browser", authenticator)
			}
			dir, err := set.folder()
			if err != nil {
				return err
			}
			log := zap.NewNop()
			if verbose {
				if log, err = newLogger(true); err != nil {
					return err
				}
				defer log.Sync()
			}
			ready := func(r gateway.DemoReady) error {
				if set.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
				}
				return explainDemo(cmd.OutOrStdout(), set.dir, r)
			}
			if !set.json {
				fmt.Fprintln(cmd.ErrOrStderr(), "starting …")
			}
			return gateway.RunDemo(cmd.Context(), gateway.DemoConfig{Dir: dir, Browser: authenticator == "browser", Log: log, Ready: ready})
		},
	}
	cmd.Flags().StringVar(&authenticator, "authenticator", "software", "who confirms for the contractors: software or browser")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log to stderr")
	cmd.AddCommand(browserCommand(set))
	return cmd
}

// explainDemo prints what to paste, with paths as short as they can be.
func explainDemo(out io.Writer, dir string, r gateway.DemoReady) error {
	self := os.Args[0]
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, self); err == nil && len(rel) < len(self) {
			self = rel
		}
	}
	config := filepath.Join(dir, "ssh_config")
	confined := "each kept in its folder by the kernel (Landlock)"
	if !r.Confined {
		confined = "not confined: this kernel has no Landlock, so they can do what you can"
	}
	_, err := fmt.Fprintf(out, `
sekisho demo is ready. Leave this running; in another terminal:

  ssh -F %[2]s db1 'echo hello; exit 3'     Hanako, maintenance (M-2): allowed
  ssh -F %[2]s db1                          a shell, recorded
  ssh -F %[2]s db1-sora 'rm x'              Sora, consulting (M-4): refused
  ssh -F %[2]s db1-ken bin/report           Ken, development (M-1): waits for an approver
    %[1]s request list --dir %[3]s --as mika
    %[1]s request approve REQUEST --reason 'change 42' --dir %[3]s --as mika

  %[1]s session list --dir %[3]s            who was where
  %[1]s replay SESSION --dir %[3]s          watch it again
  %[1]s audit search --dir %[3]s hello      who ran that?
  %[1]s verify %[3]s                        prove it unaltered
  %[1]s demo browser hanako --dir %[3]s     the console and the orders app in Chromium

console  %[4]s
orders   %[5]s
targets  db1, build1: %[6]s
Ctrl-C stops it; the same command resumes it.
`, self, config, dir, r.ConsoleURL, r.OrdersURL, confined)
	for _, problem := range r.Problems {
		fmt.Fprintln(out, "note    ", problem)
	}
	for _, invite := range r.Invites {
		fmt.Fprintln(out, "invite  ", invite)
	}
	return err
}

func browserCommand(set *settings) *cobra.Command {
	var headless, verbose bool
	cmd := &cobra.Command{
		Use:   "browser PERSON",
		Short: "open Chromium as one of the demo's people",
		Long: `Opens Chromium with a profile of its own, in which this person's certificate is chosen and the gateway's root trusted.
Your own browser and its profiles are not touched. The demo must be running.`,
		Args: exactly("PERSON"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := set.folder()
			if err != nil {
				return err
			}
			log := io.Discard
			if verbose {
				log = cmd.ErrOrStderr()
			}
			return gateway.DemoBrowser(cmd.Context(), dir, args[0], headless, log)
		},
	}
	cmd.Flags().BoolVar(&headless, "headless", false, "without a window")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what the browser says")
	return cmd
}
