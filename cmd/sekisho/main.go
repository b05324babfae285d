// Command sekisho is the gateway and everything people type to live with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
)

// version is set by the linker.
var version = "dev"

// Exit codes, a contract that others script against.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitDenied = 3
)

func main() {
	demo.ShellMain()
	tune()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// floor counts as live heap and is never touched, so it is no memory: without it a gateway with little to hold collects for
// each 100 MiB that it carries.
var floor []byte

// tune trades memory for CPU: collecting at five times the live heap instead of two costs a tenth less per byte carried, and
// the limit keeps the heap of a busy gateway in bounds. GOGC and GOMEMLIMIT still have the last word.
func tune() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
		floor = make([]byte, 48<<20)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30)
	}
}

// run carries out one command line and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(errOut, "sekisho:", err)
	return exitCode(err)
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func exitCode(err error) int {
	var usage usageError
	var problem *console.Problem
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &problem) && problem.Denied():
		return exitDenied
	}
	return exitFailed
}

// settings are the flags every command takes.
type settings struct {
	dir  string
	as   string
	json bool
}

func rootCommand() *cobra.Command {
	var set settings
	root := &cobra.Command{
		Use:   "sekisho",
		Short: "the checkpoint between contractors and your systems",
		Long: `sekisho (関所) stands between contractors and internal systems: an SSH and HTTPS gateway that
proves who is there, asks policy before every operation and records everything.

Try it:  sekisho demo --dir .demo`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see: %s --help)", err, cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&set.dir, "dir", envOr("SEKISHO_DIR", "."), "the gateway's folder or a client profile's; $SEKISHO_DIR")
	flags.StringVar(&set.as, "as", os.Getenv("SEKISHO_AS"), "act as this person, where several profiles stand in the folder; $SEKISHO_AS")
	flags.BoolVar(&set.json, "json", false, "print JSON; lists as one object per line")
	root.AddGroup(&cobra.Group{ID: "gateway", Title: "The gateway:"}, &cobra.Group{ID: "people", Title: "People:"},
		&cobra.Group{ID: "work", Title: "Policy and approvals:"}, &cobra.Group{ID: "evidence", Title: "What happened:"})
	group := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("gateway", demoCommand(&set), initCommand(&set), serveCommand(&set), doctorCommand(&set), applyCommand(&set), targetCommand(&set), hostKeyCommand(&set))
	group("people", inviteCommand(&set), enrolCommand(&set), releaseCommand(&set), revokeCommand(&set), loginCommand(&set), vendorCommand(&set))
	group("work", policyCommand(&set), requestCommand(&set), leaseCommand(&set), breakGlassCommand(&set))
	group("evidence", sessionCommand(&set), replayCommand(&set), auditCommand(&set), verifyCommand(&set))
	root.SetHelpCommandGroupID("gateway")
	root.SetCompletionCommandGroupID("gateway")
	return root
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// folder is the --dir flag as an absolute path.
func (s *settings) folder() (string, error) { return filepath.Abs(s.dir) }

// noArgs and exactly turn a wrong number of arguments into a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument %q (see: %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s wants %d argument(s) %v, got %d", cmd.CommandPath(), len(names), names, len(args))
		}
		return nil
	}
}

func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef("%s wants at most %d argument(s), got %d; put a text with spaces in quotes", cmd.CommandPath(), n, len(args))
		}
		return nil
	}
}

// parent makes a command that only holds others: alone it prints its help, with an unknown word it is a usage error.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(children...)
	return cmd
}
