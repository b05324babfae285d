package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
)

func breakGlassCommand(set *settings) *cobra.Command {
	var what console.EmergencyDeclaration
	cmd := &cobra.Command{
		Use:   "break-glass --reason WHY [--target TARGET] [--minutes N]",
		Short: "declare an emergency and reach targets with every right, for an hour at most",
		Long: `For when there is no time for the usual way, or the gateway's database is down. Whom the policy names
(approvals.yaml, break_glass) confirms with a hardware key; a passkey that is copied between devices does not do. Every
right on the targets follows, fully recorded, for as many minutes as the policy allows and 60 at most.

Everybody on the staff is told, and two other people review what was done. While it lasts its person can change neither
policy, approvals, holds, retention nor the directory.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needReason(what.Reason); err != nil {
				return err
			}
			return breakGlass(cmd, set, what)
		},
	}
	cmd.Flags().StringVar(&what.Reason, "reason", "", "why; it goes on record and two people review it (required)")
	cmd.Flags().StringVar(&what.Incident, "incident", "", "the incident it belongs to")
	cmd.Flags().StringSliceVar(&what.Targets, "target", nil, "the target, several with commas (default: all that the policy lists)")
	cmd.Flags().IntVar(&what.Minutes, "minutes", 0, "how long (default: as long as the policy allows, 60 at most)")
	cmd.AddCommand(emergencyListCommand(set), emergencyShowCommand(set), emergencyEndCommand(set), emergencyReviewCommand(set))
	return cmd
}

// breakGlass declares with the profile's certificate alone: nobody has to be logged in, and nothing needs the gateway's
// database.
func breakGlass(cmd *cobra.Command, set *settings, what console.EmergencyDeclaration) error {
	p, err := set.profile()
	if err != nil {
		return err
	}
	if what.PublicKey, err = p.SSHPublicKey(); err != nil {
		return err
	}
	c, err := p.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	declared, err := declare(cmd.Context(), p, c, what, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if set.json {
		return set.printer(cmd).row(declared)
	}
	showDeclared(cmd.OutOrStdout(), p, declared)
	return nil
}

// declare confirms with the software authenticator of a demo's people, else in the person's browser.
func declare(
	ctx context.Context, p *console.Profile, c *console.Client, what console.EmergencyDeclaration, told io.Writer,
) (console.DeclaredEmergency, error) {
	if _, err := os.Stat(p.Path(authenticatorFile)); err == nil {
		a, err := demo.NewAuthenticator(p.Path(authenticatorFile))
		if err != nil {
			return console.DeclaredEmergency{}, err
		}
		return p.DeclareEmergency(ctx, c, what, a)
	}
	waiting, err := c.StartEmergency(ctx, what)
	if err != nil {
		return console.DeclaredEmergency{}, err
	}
	fmt.Fprintf(told, "Open %s in your browser, type this code there and confirm with your hardware key: %s\n(waiting until %s; Ctrl-C cancels)\n",
		waiting.URL, waiting.Code, waiting.Expires.Local().Format("15:04:05"))
	declared, err := c.WaitEmergency(ctx, waiting.ID)
	if err != nil {
		return declared, err
	}
	return declared, p.KeepEmergency(declared)
}

func showDeclared(out io.Writer, p *console.Profile, d console.DeclaredEmergency) {
	e := d.Emergency
	fmt.Fprintf(out, "emergency %s of %s until %s\n", e.ID, e.Person, local(e.Until))
	fmt.Fprintf(out, "everybody on the staff is told; what you do is recorded and two people review it\n\n")
	host, port, err := net.SplitHostPort(d.SSH)
	if err != nil {
		host, port = d.SSH, "22"
	}
	for _, t := range d.Targets {
		if t.URL != "" {
			fmt.Fprintf(out, "  %s\n", t.URL)
			continue
		}
		login := "LOGIN"
		if len(t.Logins) > 0 {
			login = t.Logins[0]
		}
		fmt.Fprintf(out, "  ssh -p %s -i %s %s+%s@%s\n", port, p.SSHKeyFile(), login, t.Name, host)
	}
	fmt.Fprintf(out, "\nend it as soon as you can: sekisho break-glass end %s --reason '…'\n", e.ID)
}

func emergencyListCommand(set *settings) *cobra.Command {
	var open bool
	cmd := &cobra.Command{Use: "list", Short: "list the emergencies", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			columns := []string{"EMERGENCY", "STATE", "WHO", "TARGETS", "FROM", "UNTIL", "SESSIONS", "REVIEWS", "REASON"}
			return printAll(set, cmd, columns, c.Emergencies(ctx, open), func(e console.EmergencyFile) []string {
				until := e.Until
				if !e.EndedAt.IsZero() {
					until = e.EndedAt
				}
				return []string{e.ID, e.State, e.Person, strings.Join(e.Targets, " "), local(e.At), local(until),
					fmt.Sprint(len(e.Sessions)), fmt.Sprint(len(e.Reviews)), e.Reason}
			})
		})
	}}
	cmd.Flags().BoolVar(&open, "open", false, "only what is live or waits for reviews")
	return cmd
}

func emergencyShowCommand(set *settings) *cobra.Command {
	return &cobra.Command{Use: "show EMERGENCY", Short: "show an emergency: why, its sessions and commands, its reviews",
		Args: exactly("EMERGENCY"), RunE: func(cmd *cobra.Command, args []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				e, err := c.Emergency(ctx, args[0])
				if err != nil {
					return err
				}
				return showEmergency(set, cmd, e)
			})
		}}
}

func showEmergency(set *settings, cmd *cobra.Command, e console.EmergencyFile) error {
	p := set.printer(cmd)
	if p.json {
		return p.row(e)
	}
	lines := [][]string{{"emergency", e.ID}, {"state", e.State}, {"person", e.Person}, {"reason", e.Reason}, {"incident", e.Incident},
		{"targets", strings.Join(e.Targets, " ")}, {"from", local(e.At)}, {"until", local(e.Until)},
		{"ended", strings.Trim(local(e.EndedAt)+" "+e.EndReason, " ")}, {"source", e.SourceIP},
		{"hardware key", strings.Trim(local(e.Proof.WebAuthnAt)+" "+e.Proof.AAGUID, " ")}}
	for _, s := range e.Sessions {
		lines = append(lines, []string{"session", s})
	}
	for _, ev := range e.Ran {
		line, _ := ev.Detail["line"].(string)
		if line == "" {
			line, _ = ev.Detail["operation"].(string)
		}
		lines = append(lines, []string{"ran", fmt.Sprintf("%s %s@%s %s: %s", local(ev.At), ev.Login, ev.Target, ev.Outcome, line)})
	}
	for _, r := range e.Reviews {
		lines = append(lines, []string{"review", fmt.Sprintf("%s %s: %s: %s", local(r.At), r.By, r.Verdict, r.Reason)})
	}
	for _, line := range lines {
		if line[1] == "" {
			continue
		}
		if err := p.row(nil, line...); err != nil {
			return err
		}
	}
	return p.flush()
}

func emergencyEndCommand(set *settings) *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "end EMERGENCY", Short: "end an emergency and its sessions", Args: exactly("EMERGENCY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			if err := endEmergency(cmd, set, args[0], reason); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is over\n", args[0])
			return nil
		}}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record (required)")
	return cmd
}

// endEmergency needs no login for one's own.
func endEmergency(cmd *cobra.Command, set *settings, id, reason string) error {
	p, err := set.profile()
	if err != nil {
		return err
	}
	c, err := p.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.EndEmergency(cmd.Context(), id, reason)
	var problem *console.Problem
	if errors.As(err, &problem) && problem.NotLoggedIn() {
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error { return c.EndEmergency(ctx, id, reason) })
	}
	return err
}

func emergencyReviewCommand(set *settings) *cobra.Command {
	var verdict, reason string
	cmd := &cobra.Command{Use: "review EMERGENCY --verdict justified|unjustified --reason WHY",
		Short: "say what you think of an emergency that is over; two people have to",
		Args:  exactly("EMERGENCY"), RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			if verdict != "justified" && verdict != "unjustified" {
				return usagef("--verdict %q: want justified or unjustified", verdict)
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				e, err := c.ReviewEmergency(ctx, args[0], verdict, reason)
				if err != nil {
					return err
				}
				if set.json {
					return set.printer(cmd).row(e)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d of 2 reviews, %s\n", e.ID, len(e.Reviews), e.State)
				return nil
			})
		}}
	cmd.Flags().StringVar(&verdict, "verdict", "", "justified or unjustified (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record (required)")
	return cmd
}
