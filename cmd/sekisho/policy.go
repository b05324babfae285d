package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

func policyCommand(set *settings) *cobra.Command {
	cmd := parent("policy", "the policy: show, check, test, diff, simulate, explain, apply, history, rollback",
		policyShowCommand(set), policyCheckCommand(set), policyTestCommand(set), policyDiffCommand(set), simulateCommand(set),
		explainCommand(set), policyApplyCommand(set), policyConfirmCommand(set), policyRejectCommand(set),
		policyWithdrawCommand(set), policyHistoryCommand(set), policyRollbackCommand(set))
	cmd.Long = `The policy decides what contractors and staff may do. What is in force is a numbered, signed revision in the gateway's
database; the folder "policy" in the gateway's folder (or any other, or a git repository) is where a change is worked out:

  edit policy/maintenance.rego
  sekisho policy check                     # mistakes, with file, line and column
  sekisho policy diff                      # against what is in force
  sekisho policy simulate --since 30d      # what it would have refused
  sekisho policy apply --reason 'No dumps from the command line' --ticket CHG-42
  sekisho policy rollback 3 --reason 'Stopped the night shift' --ticket CHG-43`
	return cmd
}

func policyCheckCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "look a policy folder over: mistakes, failing tests, rules that do nothing",
		Long: `Compiles a policy folder strictly, runs its tests and looks for what compiles and still does not do what it seems to do.
DIR is the gateway's policy folder in --dir unless it is given, else the shipped policy. No gateway is asked.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fsys, name, err := policyFolder(set, args)
			if err != nil {
				return err
			}
			report := policy.Check(cmd.Context(), fsys, policy.CheckOptions{Commands: revision.ParseCommands})
			if err := printFindings(cmd, set, name, report.Findings); err != nil {
				return err
			}
			if n := report.Errors(); n > 0 {
				return fmt.Errorf("%s: %d error(s), %d warning(s)", name, n, report.Warnings())
			}
			if !set.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: well, %d warning(s), %d tests pass\n", name, report.Warnings(), report.Tests)
			}
			return nil
		},
	}
}

// printFindings writes one per line, the way editors and compilers do.
func printFindings(cmd *cobra.Command, set *settings, folder string, findings []policy.Finding) error {
	p := set.printer(cmd)
	for _, f := range findings {
		line := f.String()
		if folder != shippedPolicy {
			line = folder + "/" + line
		}
		if err := p.row(f, line); err != nil {
			return err
		}
	}
	return p.flush()
}

func policyTestCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "test [DIR]",
		Short: "run the policy's own tests (every _test.rego)",
		Long:  "Runs every _test.rego of a policy folder: DIR, else the gateway's in --dir, else the shipped policy.",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fsys, name, err := policyFolder(set, args)
			if err != nil {
				return err
			}
			return testPolicy(cmd, set, fsys, name)
		},
	}
}

const shippedPolicy = "the shipped policy"

// policyFolder is where a policy is worked on: the argument, else the gateway's own, else the one in this program.
func policyFolder(set *settings, args []string) (fs.FS, string, error) {
	if len(args) == 1 {
		return os.DirFS(args[0]), filepath.Clean(args[0]), nil
	}
	if own := ownPolicy(set); own != "" {
		return os.DirFS(own), own, nil
	}
	return rego.FS, shippedPolicy, nil
}

// ownPolicy is the working copy in --dir, "" when none is there.
func ownPolicy(set *settings) string {
	own := filepath.Join(set.dir, "policy")
	if _, err := os.Stat(filepath.Join(own, "matrix.yaml")); err != nil {
		return ""
	}
	return own
}

func testPolicy(cmd *cobra.Command, set *settings, fsys fs.FS, name string) error {
	if _, err := revision.Load(fsys, 1); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	results, err := policy.Test(cmd.Context(), fsys)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	failed := 0
	p := set.printer(cmd)
	for _, r := range results {
		if !r.Passed && !r.Skipped {
			failed++
		} else if !set.json {
			continue
		}
		if err := p.row(r, "FAIL", fmt.Sprintf("%s:%d", r.File, r.Line), r.Name, r.Message); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%s: %d of %d tests fail", name, failed, len(results))
	}
	if !set.json {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d tests pass\n", name, len(results))
	}
	return nil
}

func policyDiffCommand(set *settings) *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use:   "diff [REVISION]",
		Short: "compare a policy folder with a revision, the one in force unless another is named",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number := 0
			if len(args) == 1 {
				var err error
				if number, err = revisionNumber(args[0]); err != nil {
					return err
				}
			}
			files, err := from.read(cmd.Context(), set)
			if err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				base, err := c.PolicyRevision(ctx, number)
				if err != nil {
					return err
				}
				diff, err := policy.DiffFiles(base.Folder().FS(), files.FS())
				if err != nil {
					return err
				}
				if len(diff) == 0 && !set.json {
					fmt.Fprintf(cmd.OutOrStdout(), "%s is the same as revision %d\n", from.name, base.Number)
					return nil
				}
				return printDiff(cmd, set, diff)
			})
		},
	}
	from.flags(cmd)
	return cmd
}

func printDiff(cmd *cobra.Command, set *settings, diff []policy.FileDiff) error {
	if set.json {
		p := set.printer(cmd)
		for _, d := range diff {
			if err := p.row(d); err != nil {
				return err
			}
		}
		return p.flush()
	}
	for _, d := range diff {
		for line := range strings.Lines(d.Text) {
			fmt.Fprintln(cmd.OutOrStdout(), shownLine(line))
		}
	}
	return nil
}

// shownLine is a line of a file as a terminal may show it; tabs stay.
func shownLine(line string) string {
	parts := strings.Split(strings.TrimRight(line, "\n"), "\t")
	for i := range parts {
		parts[i] = visible(parts[i])
	}
	return strings.Join(parts, "\t")
}

func policyApplyCommand(set *settings) *cobra.Command {
	var from source
	var change revision.Change
	var at string
	var yes bool
	cmd := &cobra.Command{
		Use:   "apply --reason WHY --ticket ID",
		Short: "put a policy folder in force, now or at a time",
		Long: `Shows what would change, asks, and makes the folder's policy a new revision: all or nothing. It comes into force at once,
at --at, or, where the gateway wants that, when a second person has confirmed it. Live sessions that lose their right end
within a second.

The folder is --from, else the gateway's own policy folder in --dir. With --commit its files are read from that commit of the
git repository it stands in, whatever the work tree holds; the commit's id goes on record.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needReason(change.Reason); err != nil {
				return err
			}
			if strings.TrimSpace(change.Ticket) == "" {
				return usagef("which ticket asks for this? Give it with --ticket; it goes on record")
			}
			var err error
			if change.ActivateAt, err = activation(at, time.Now()); err != nil {
				return err
			}
			if change.Files, err = from.read(cmd.Context(), set); err != nil {
				return err
			}
			change.Source = from.recorded
			return applyPolicy(cmd, set, &from, change, yes)
		},
	}
	from.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&change.Reason, "reason", "", "why, for the record (required)")
	f.StringVar(&change.Ticket, "ticket", "", "the ticket that asks for it, for the record (required)")
	f.StringVar(&at, "at", "", "when it comes into force: 2026-12-01T22:00:00+09:00, '2026-12-01 22:00' here, or +90m (default: at once)")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func applyPolicy(cmd *cobra.Command, set *settings, from *source, change revision.Change, yes bool) error {
	return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
		plan, err := c.PlanPolicy(ctx, change.Files)
		if err != nil {
			return err
		}
		if len(plan.Diff) == 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "nothing to change: %s is what is in force\n", from.name)
			return nil
		}
		if err := showPolicyPlan(cmd, set, from.name, plan); err != nil {
			return err
		}
		if err := problemOf(plan, set); err != nil {
			return err
		}
		if !yes && !confirmed(cmd) {
			return errors.New("nothing was changed")
		}
		change.Base = plan.Base
		made, err := c.ApplyPolicy(ctx, change)
		if err != nil {
			return err
		}
		return printOutcome(cmd, set, made)
	})
}

// problemOf is why a plan cannot be applied; the mistakes are on screen already where a person reads them.
func problemOf(plan revision.Plan, set *settings) error {
	mistakes := policy.Report{Findings: plan.Findings}.Errors()
	switch {
	case plan.Problem == "":
		return nil
	case mistakes > 0 && !set.json:
		return fmt.Errorf("nothing was changed: %d mistake(s)", mistakes)
	}
	return fmt.Errorf("nothing was changed: %s", plan.Problem)
}

// showPolicyPlan shows what would change to people; with --json standard output is for the outcome.
func showPolicyPlan(cmd *cobra.Command, set *settings, name string, plan revision.Plan) error {
	if set.json {
		return nil
	}
	if err := printDiff(cmd, set, plan.Diff); err != nil {
		return err
	}
	if err := printFindings(cmd, set, name, plan.Findings); err != nil {
		return err
	}
	next := ""
	if plan.SecondPerson {
		next = ", once a second person has confirmed it"
	}
	if plan.Problem != "" {
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "this would follow revision %d%s; %d tests pass\n", plan.Base, next, plan.Tests)
	return nil
}

// activation reads when a revision is to come into force; "" is at once.
func activation(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if wait, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := time.ParseDuration(wait); err == nil && d > 0 {
			return now.Add(d), nil
		}
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usagef("--at %q: want 2026-12-01T22:00:00+09:00, '2026-12-01 22:00' or +90m", text)
}

func policyConfirmCommand(set *settings) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "confirm REVISION",
		Short: "say yes to somebody else's revision that waits for a second person",
		Long:  "Shows what the revision would change, and why, and asks before it says yes.",
		Args:  exactly("REVISION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := revisionNumber(args[0])
			if err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				if !yes {
					if err := showProposal(ctx, cmd, c, number); err != nil {
						return err
					}
					if !confirmed(cmd) {
						return errors.New("nothing was changed")
					}
				}
				done, err := c.ConfirmPolicy(ctx, number)
				if err != nil {
					return err
				}
				return printOutcome(cmd, set, done)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not show it and do not ask")
	return cmd
}

// showProposal shows what a revision that waits would change, on standard error: the outcome alone is for machines.
func showProposal(ctx context.Context, cmd *cobra.Command, c *console.Client, number int) error {
	now, err := c.PolicyRevision(ctx, 0)
	if err != nil {
		return err
	}
	next, err := c.PolicyRevision(ctx, number)
	if err != nil {
		return err
	}
	diff, err := policy.DiffFiles(now.Folder().FS(), next.Folder().FS())
	if err != nil {
		return err
	}
	out := cmd.ErrOrStderr()
	for _, d := range diff {
		for line := range strings.Lines(d.Text) {
			fmt.Fprintln(out, shownLine(line))
		}
	}
	fmt.Fprintf(out, "revision %d of %s, by %s: %s (%s)\n", number, local(next.CreatedAt), visible(next.Author), visible(next.Reason), visible(next.Ticket))
	return nil
}

func policyRejectCommand(set *settings) *cobra.Command {
	return reasonedRevisionCommand(set, "reject REVISION", "say no to somebody else's revision before it is in force",
		func(ctx context.Context, c *console.Client, number int, reason string) (revision.Version, error) {
			return c.RejectPolicy(ctx, number, reason)
		})
}

func policyWithdrawCommand(set *settings) *cobra.Command {
	return reasonedRevisionCommand(set, "withdraw REVISION", "take your own revision back before it is in force",
		func(ctx context.Context, c *console.Client, number int, reason string) (revision.Version, error) {
			return c.WithdrawPolicy(ctx, number, reason)
		})
}

func policyRollbackCommand(set *settings) *cobra.Command {
	var ticket string
	cmd := reasonedRevisionCommand(set, "rollback REVISION", "make an earlier revision's files a new revision",
		func(ctx context.Context, c *console.Client, number int, reason string) (revision.Version, error) {
			if strings.TrimSpace(ticket) == "" {
				return revision.Version{}, usagef("which ticket asks for this? Give it with --ticket; it goes on record")
			}
			return c.RollbackPolicy(ctx, number, reason, ticket)
		})
	cmd.Flags().StringVar(&ticket, "ticket", "", "the ticket that asks for it, for the record (required)")
	return cmd
}

// reasonedRevisionCommand is an act on one revision that wants a reason.
func reasonedRevisionCommand(
	set *settings, use, short string, act func(context.Context, *console.Client, int, string) (revision.Version, error),
) *cobra.Command {
	var reason string
	cmd := revisionCommand(set, use, short, func(ctx context.Context, c *console.Client, number int) (revision.Version, error) {
		if err := needReason(reason); err != nil {
			return revision.Version{}, err
		}
		return act(ctx, c, number, reason)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record (required)")
	return cmd
}

// revisionCommand is an act on one revision.
func revisionCommand(
	set *settings, use, short string, act func(context.Context, *console.Client, int) (revision.Version, error),
) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: exactly("REVISION"), RunE: func(cmd *cobra.Command, args []string) error {
		number, err := revisionNumber(args[0])
		if err != nil {
			return err
		}
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			done, err := act(ctx, c, number)
			if err != nil {
				return err
			}
			return printOutcome(cmd, set, done)
		})
	}}
}

func revisionNumber(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		return 0, usagef("%q is not the number of a revision; see: sekisho policy history", text)
	}
	return number, nil
}

// printOutcome says where a revision stands now.
func printOutcome(cmd *cobra.Command, set *settings, v revision.Version) error {
	if set.json {
		return set.printer(cmd).row(v)
	}
	text := ""
	switch v.Status {
	case revision.Active:
		text = "is in force"
	case revision.Waiting:
		text = fmt.Sprintf("waits for a second person: sekisho policy confirm %d", v.Number)
	case revision.Scheduled:
		text = "comes into force at " + local(v.ActivateAt)
	default:
		text = "is " + string(v.Status)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "revision %d %s\n", v.Number, text)
	return err
}

func policyHistoryCommand(set *settings) *cobra.Command {
	return &cobra.Command{Use: "history", Short: "list the revisions, newest first", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			columns := []string{"REVISION", "STATUS", "AUTHOR", "MADE", "IN FORCE", "TICKET", "REASON", "SOURCE"}
			return printAll(set, cmd, columns, c.PolicyHistory(ctx), func(v revision.Version) []string {
				return []string{strconv.Itoa(v.Number), string(v.Status), author(v), local(v.CreatedAt), inForceSince(v), v.Ticket,
					told(v), v.Source}
			})
		})
	}}
}

// author is who made a revision, and who confirmed it.
func author(v revision.Version) string {
	if v.ConfirmedBy != "" {
		return v.Author + " + " + v.ConfirmedBy
	}
	return v.Author
}

// inForceSince is when a revision came into force, or when it is to.
func inForceSince(v revision.Version) string {
	if v.Status == revision.Scheduled || v.Status == revision.Waiting && !v.ActivateAt.IsZero() {
		return "at " + local(v.ActivateAt)
	}
	return local(v.ActivatedAt)
}

// told is why a revision was made and, where it was refused, why that.
func told(v revision.Version) string {
	if v.Why == "" {
		return v.Reason
	}
	return fmt.Sprintf("%s (%s by %s: %s)", v.Reason, v.Status, v.EndedBy, v.Why)
}
