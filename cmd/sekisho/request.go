package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/policy"
)

func requestCommand(set *settings) *cobra.Command {
	return parent("request", "approval requests: create, list, show, cancel, approve, deny, link", requestCreateCommand(set),
		requestListCommand(set), requestShowCommand(set), requestExplainCommand(set), requestCancelCommand(set), approveCommand(set),
		denyCommand(set), requestLinkCommand(set))
}

// asking are the flags of request create.
type asking struct {
	console.Asking
	right, pattern, at string
}

func requestCreateCommand(set *settings) *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "create --target [LOGIN@]TARGET (--command LINE | --right R --pattern P) --minutes M --reason R",
		Short: "ask ahead for what planned work will need",
		Long: `Files a request before the work: for one command line (--command), or for a right on what a pattern covers (--right,
--pattern; * stands for any run of characters). With --at it is booked for that time, by the gateway's clock; with --every
day or week and --times it comes back.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.complete(); err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				filed, err := c.Ask(ctx, a.Asking)
				if err != nil {
					return err
				}
				p := set.printer(cmd)
				if err := p.row(filed, filed.ID, string(filed.Status), scopes(filed.Scopes), booked(filed.ApprovalRequest)); err != nil {
					return err
				}
				return p.flush()
			})
		}}
	flags := cmd.Flags()
	flags.StringVar(&a.Target, "target", "", "one of your targets, with its login: app@db1 (required)")
	flags.StringVar(&a.Command, "command", "", "the command line that will be run")
	flags.StringVar(&a.right, "right", "", "read, write, execute or delete, instead of --command")
	flags.StringVar(&a.pattern, "pattern", "", "what the right is for: /srv/app/*, or METHOD /path of an app")
	flags.IntVar(&a.Minutes, "minutes", access.DefaultMinutes, "how long it is needed, each time")
	flags.StringVar(&a.Reason, "reason", "", "what the work is, for approvers and the record (required)")
	flags.StringVar(&a.Ticket, "ticket", "", "the ticket it belongs to")
	flags.StringVar(&a.at, "at", "", "when it begins: 2026-12-01T09:00 by this machine's clock, or RFC 3339; at the approval when not given")
	flags.StringVar(&a.Every, "every", "", "day or week: it comes back")
	flags.IntVar(&a.Times, "times", 0, "how many times in all")
	return cmd
}

// complete reads what the flags say in text.
func (a *asking) complete() error {
	if err := needReason(a.Reason); err != nil {
		return err
	}
	if a.Target == "" {
		return usagef("which target? --target app@db1")
	}
	if (a.Command == "") == (a.right == "" && a.pattern == "") {
		return usagef("ask for one command line (--command) or for a right (--right, --pattern)")
	}
	if a.Command == "" {
		if a.right == "" || a.pattern == "" {
			return usagef("--right and --pattern belong together")
		}
		a.Scopes = []access.Scope{{Right: policy.Right(a.right), Pattern: a.pattern}}
	}
	if login, target, ok := strings.Cut(a.Target, "@"); ok {
		a.Login, a.Target = login, target
	}
	var err error
	a.From, err = begins(a.at)
	return err
}

// begins reads when something is booked for; "" is the zero time.
func begins(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usagef("--at %q: want a time like 2026-12-01T09:00, or RFC 3339", text)
}

func requestListCommand(set *settings) *cobra.Command {
	var all bool
	cmd := &cobra.Command{Use: "list", Short: "list the requests that wait; a contractor's own, whatever became of them", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				requests, err := visibleRequests(ctx, c, all)
				if err != nil {
					return err
				}
				columns := []string{"REQUEST", "STATUS", "WHO", "TARGET", "WHAT", "RIGHTS", "ANSWERS", "ANSWER BY"}
				return printAll(set, cmd, columns, requests, func(r access.ApprovalRequest) []string {
					return []string{r.ID, standing(r), r.Person, r.Target, what(r), scopes(r.Scopes), answers(r), local(r.Expires)}
				})
			})
		}}
	cmd.Flags().BoolVar(&all, "all", false, "answered and expired ones as well")
	return cmd
}

// visibleRequests are everybody's for staff, and a contractor's own.
func visibleRequests(ctx context.Context, c *console.Client, all bool) (iter.Seq2[access.ApprovalRequest, error], error) {
	me, err := c.Me(ctx)
	if err != nil {
		return nil, err
	}
	if me.Vendor != policy.StaffVendor {
		return c.OwnRequests(ctx), nil
	}
	status := access.RequestPending
	if all {
		status = ""
	}
	return c.Requests(ctx, status, 0), nil
}

func standing(r access.ApprovalRequest) string {
	if r.Status == access.RequestPending && !r.Escalated.IsZero() {
		return "pending, escalated"
	}
	return string(r.Status)
}

// answers is how many of the approvals that are needed a request has.
func answers(r access.ApprovalRequest) string {
	if r.Terms == nil {
		return r.Answer.By
	}
	return fmt.Sprintf("%d of %d", r.Terms.Have, r.Terms.Need)
}

func what(r access.ApprovalRequest) string {
	switch {
	case r.Command != "":
		return r.Command
	case r.Operation != "":
		return r.Operation
	}
	return booked(r)
}

// booked is when the leases of a request are in force.
func booked(r access.ApprovalRequest) string {
	switch {
	case r.From.IsZero() && r.Minutes == 0:
		return ""
	case r.From.IsZero():
		return fmt.Sprintf("for %d min", r.Minutes)
	case r.Every == "":
		return fmt.Sprintf("%s for %d min", local(r.From), r.Minutes)
	}
	return fmt.Sprintf("%s for %d min, every %s, %d times", local(r.From), r.Minutes, r.Every, r.Times)
}

func scopes(list []access.Scope) string {
	texts := make([]string, 0, len(list))
	for _, s := range list {
		texts = append(texts, string(s.Right)+" "+s.Pattern)
	}
	return strings.Join(texts, ", ")
}

func requestShowCommand(set *settings) *cobra.Command {
	return &cobra.Command{Use: "show REQUEST", Short: "show all that somebody who answers it has to know", Args: exactly("REQUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				r, err := c.Request(ctx, args[0])
				if err != nil {
					return err
				}
				return showRequest(set.printer(cmd), r)
			})
		}}
}

func showRequest(p *printer, r console.Request) error {
	if p.json {
		return p.row(r)
	}
	lines := [][2]string{{"request", r.ID}, {"status", standing(r.ApprovalRequest)}, {"who", r.Person + " (" + r.Vendor + ")"},
		{"target", r.Target}, {"login", r.Login}, {"line", r.Command}, {"reason", r.Reason}, {"ticket", r.Ticket},
		{"when", booked(r.ApprovalRequest)}, {"session", r.Session}, {"decision", r.Decision}, {"asked", local(r.CreatedAt)},
		{"answer by", local(r.Expires)}, {"answers", answers(r.ApprovalRequest)}}
	for i, s := range r.Scopes {
		lines = append(lines, [2]string{fmt.Sprintf("allows %d", i+1), string(s.Right) + " " + s.Pattern})
	}
	if r.Terms != nil {
		lines = append(lines, [2]string{"route", strings.Join(r.Terms.Routes, ", ")},
			[2]string{"at most", fmt.Sprintf("%d min", r.Terms.MaxMinutes)})
	}
	for _, a := range r.Answers {
		lines = append(lines, [2]string{string(a.Status), fmt.Sprintf("%s at %s: %s", a.By, local(a.At), a.Reason)})
	}
	for _, line := range lines {
		if line[1] == "" {
			continue
		}
		if err := p.row(nil, line[0], line[1]); err != nil {
			return err
		}
	}
	return p.flush()
}

func requestExplainCommand(set *settings) *cobra.Command {
	var reason, ticket string
	cmd := &cobra.Command{Use: "explain REQUEST --reason R", Short: "say why about a request of yours that the gateway filed by itself",
		Args: exactly("REQUEST"), RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				return c.AddReason(ctx, args[0], reason, ticket)
			})
		}}
	cmd.Flags().StringVar(&reason, "reason", "", "what the work is, for approvers and the record (required)")
	cmd.Flags().StringVar(&ticket, "ticket", "", "the ticket it belongs to")
	return cmd
}

func requestCancelCommand(set *settings) *cobra.Command {
	return &cobra.Command{Use: "cancel REQUEST", Short: "take a request of yours back", Args: exactly("REQUEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				if err := c.CancelRequest(ctx, args[0]); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is taken back\n", args[0])
				return nil
			})
		}}
}

func requestLinkCommand(set *settings) *cobra.Command {
	return &cobra.Command{Use: "link REQUEST", Short: "make a link to a request, for whoever may answer it",
		Long: `Prints a link that opens the request's page for whoever may see it, with their certificate and login, until the request's
deadline. It allows nothing by itself: an answer on the page is confirmed with the security key.`,
		Args: exactly("REQUEST"), RunE: func(cmd *cobra.Command, args []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				link, err := c.RequestLink(ctx, args[0])
				if err != nil {
					return err
				}
				p := set.printer(cmd)
				if err := p.row(link, link.URL); err != nil {
					return err
				}
				return p.flush()
			})
		}}
}

// narrowing are the flags that make an approval smaller than what was asked for.
type narrowing struct {
	patterns []string
	drop     []int
}

// scopes is what is left of a request's scopes; nil when nothing is narrowed. Scopes are numbered from 1, as request show
// prints them.
func (n narrowing) scopes(asked []access.Scope) ([]access.Scope, error) {
	if len(n.patterns) == 0 && len(n.drop) == 0 {
		return nil, nil
	}
	dropped := map[int]bool{}
	for _, i := range n.drop {
		if i < 1 || i > len(asked) {
			return nil, usagef("--drop %d: the request has %d rights, numbered from 1", i, len(asked))
		}
		dropped[i] = true
	}
	var left []access.Scope
	for i, s := range asked {
		if !dropped[i+1] {
			left = append(left, s)
		}
	}
	if len(n.patterns) > 0 && len(n.patterns) != len(left) {
		return nil, usagef("--pattern: give one for each of the %d rights that are left, in their order", len(left))
	}
	for i, pattern := range n.patterns {
		left[i].Pattern = pattern
	}
	if len(left) == 0 {
		return nil, usagef("nothing is left to approve; deny it instead")
	}
	return left, nil
}

func approveCommand(set *settings) *cobra.Command {
	var a console.RequestAnswer
	var n narrowing
	cmd := &cobra.Command{Use: "approve REQUEST", Short: "say yes, for a while", Args: exactly("REQUEST"),
		Long: `Says yes to a request as it stands now. It can be made smaller: fewer minutes, narrower patterns (one --pattern for each
right that is left, in the order of request show), rights left out (--drop N). Where several people have to approve, the
lease exists once enough of them have.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(a.Reason); err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				r, err := c.Request(ctx, args[0])
				if err != nil {
					return err
				}
				a.Digest = r.Digest
				if a.Scopes, err = n.scopes(r.Scopes); err != nil {
					return err
				}
				answered, err := c.ApproveRequest(ctx, args[0], a)
				if err != nil {
					return err
				}
				return showAnswered(set.printer(cmd), answered)
			})
		}}
	cmd.Flags().IntVar(&a.Minutes, "minutes", 0, "how long the lease lives; as asked when not given")
	cmd.Flags().StringVar(&a.Reason, "reason", "", "why, for the record (required)")
	cmd.Flags().StringArrayVar(&n.patterns, "pattern", nil, "a narrower pattern")
	cmd.Flags().IntSliceVar(&n.drop, "drop", nil, "leave out right number N")
	return cmd
}

func showAnswered(p *printer, answered console.Answered) error {
	if p.json {
		return p.row(answered)
	}
	if len(answered.Leases) == 0 && answered.Terms != nil {
		if err := p.row(nil, answered.Request, fmt.Sprintf("has %d of %d approvals", answered.Terms.Have, answered.Terms.Need)); err != nil {
			return err
		}
	}
	for _, l := range answered.Leases {
		if err := p.row(nil, "lease "+l.ID, l.Person, string(l.Right)+" "+l.Pattern, "until "+local(l.Until)); err != nil {
			return err
		}
	}
	return p.flush()
}

func denyCommand(set *settings) *cobra.Command {
	var a console.RequestAnswer
	cmd := &cobra.Command{Use: "deny REQUEST", Short: "say no", Args: exactly("REQUEST"), RunE: func(cmd *cobra.Command, args []string) error {
		if err := needReason(a.Reason); err != nil {
			return err
		}
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			r, err := c.Request(ctx, args[0])
			if err != nil {
				return err
			}
			a.Digest = r.Digest
			if _, err := c.DenyRequest(ctx, args[0], a); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is denied\n", args[0])
			return nil
		})
	}}
	cmd.Flags().StringVar(&a.Reason, "reason", "", "why, for the record (required)")
	return cmd
}

func leaseCommand(set *settings) *cobra.Command {
	return parent("lease", "leases, the yes of approvers for a while: list, revoke", leaseListCommand(set), leaseRevokeCommand(set))
}

func leaseListCommand(set *settings) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "list the leases that have not ended; a contractor's own", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				me, err := c.Me(ctx)
				if err != nil {
					return err
				}
				leases := c.Leases(ctx)
				if me.Vendor != policy.StaffVendor {
					leases = c.OwnLeases(ctx)
				}
				columns := []string{"LEASE", "WHO", "TARGET", "RIGHT", "PATTERN", "FROM", "UNTIL", "BY"}
				return printAll(set, cmd, columns, leases, func(l access.Lease) []string {
					return []string{l.ID, l.Person, l.Target, string(l.Right), l.Pattern, local(l.From), local(l.Until), strings.Join(l.GrantedBy, ", ")}
				})
			})
		}}
}

func leaseRevokeCommand(set *settings) *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "revoke LEASE --reason R", Short: "end a lease and what runs under it", Args: exactly("LEASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				if err := c.RevokeLease(ctx, args[0], reason); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is over\n", args[0])
				return nil
			})
		}}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record (required)")
	return cmd
}
