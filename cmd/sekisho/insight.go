package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/policy"
)

func policyShowCommand(set *settings) *cobra.Command {
	var vendor, target string
	cmd := &cobra.Command{
		Use:   "show [--vendor VENDOR --target TARGET]",
		Short: "what a vendor may do on a target and where that comes from; without them, what is in force",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (vendor == "") != (target == "") {
				return usagef("give both --vendor and --target, or neither")
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				if vendor == "" {
					return showInForce(ctx, cmd, set, c)
				}
				shown, err := c.ShowPolicy(ctx, vendor, target)
				if err != nil {
					return err
				}
				return printShown(cmd, set, shown)
			})
		},
	}
	cmd.Flags().StringVar(&vendor, "vendor", "", "whose rights")
	cmd.Flags().StringVar(&target, "target", "", "on which target")
	return cmd
}

func showInForce(ctx context.Context, cmd *cobra.Command, set *settings, c *console.Client) error {
	status, err := c.Policy(ctx)
	if err != nil {
		return err
	}
	p := set.printer(cmd)
	if p.json {
		return p.row(status)
	}
	v := status.InForce
	rows := [][]string{{"revision", fmt.Sprint(v.Number)}, {"in force", "since " + local(v.ActivatedAt)}, {"author", author(v)},
		{"reason", v.Reason}, {"ticket", v.Ticket}, {"source", v.Source}, {"hash", v.Hash}, {"signature", v.Signature}}
	for _, w := range status.Open {
		text := fmt.Sprintf("%s by %s: %s", w.Status, w.Author, w.Reason)
		if !w.ActivateAt.IsZero() {
			text += " (at " + local(w.ActivateAt) + ")"
		}
		rows = append(rows, []string{fmt.Sprintf("revision %d", w.Number), text})
	}
	return printPairs(p, rows)
}

// printPairs writes names and values; those without a value are left out.
func printPairs(p *printer, rows [][]string) error {
	for _, row := range rows {
		if row[1] == "" {
			continue
		}
		if err := p.row(nil, row...); err != nil {
			return err
		}
	}
	return p.flush()
}

// cellSigns are the matrix's own signs.
var cellSigns = map[string]string{"always": "○ always", "approval": "△ approval", "never": "× never"}

func cellText(cell string) string {
	if sign, ok := cellSigns[cell]; ok {
		return sign
	}
	return cell
}

func placeText(p policy.Place) string {
	if p.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

func printShown(cmd *cobra.Command, set *settings, s policy.Shown) error {
	p := set.printer(cmd)
	if p.json {
		return p.row(s)
	}
	if err := printPairs(p, [][]string{{"vendor", s.Vendor + " (" + s.Type + ")"}, {"chain", strings.Join(s.Chain, " < ")},
		{"target", s.Target}, {"revision", fmt.Sprint(s.Revision)}}); err != nil {
		return err
	}
	fmt.Fprintln(p.out)
	if err := printCells(set, cmd, s.Cells); err != nil {
		return err
	}
	return printShownRest(cmd, set, s)
}

func printCells(set *settings, cmd *cobra.Command, cells []policy.ShownCell) error {
	columns := []string{"RIGHT", "CELL", "TABLE", "FROM"}
	more := slices.ContainsFunc(cells, func(c policy.ShownCell) bool { return rulesSay(c) != "" })
	if more {
		columns = append(columns, "RULES SAY")
	}
	p := set.printer(cmd, columns...)
	for _, c := range cells {
		from := make([]string, 0, len(c.Links))
		for _, l := range c.Links {
			from = append(from, linkText(l, c))
		}
		if c.By == "" {
			from = []string{"no contractor gets it, whatever a policy says"}
		}
		row := []string{string(c.Right), cellText(c.Cell), c.Table, strings.Join(from, " < ")}
		if more {
			row = append(row, rulesSay(c))
		}
		if err := p.row(nil, row...); err != nil {
			return err
		}
	}
	return p.flush()
}

// linkText is one vendor's own cell with its place; the one that limits is marked.
func linkText(l policy.ShownLink, c policy.ShownCell) string {
	text := placeText(l.Place)
	if l.Override != "" {
		text = "override " + l.Override + " " + text
	}
	if len(c.Links) == 1 {
		return text
	}
	text = fmt.Sprintf("%s %s %s", l.Vendor, cellText(l.Cell), text)
	differ := slices.ContainsFunc(c.Links, func(other policy.ShownLink) bool { return other.Cell != c.Cell })
	if differ && l.Vendor == c.By {
		text += " [limits]"
	}
	return text
}

// rulesSay is what the Rego says beyond the cell, where it says anything else.
func rulesSay(c policy.ShownCell) string {
	usual := map[string]policy.Effect{"always": policy.Allow, "approval": policy.Approval, "never": policy.Deny}
	if c.Effect == usual[c.Cell] || c.By == "" {
		return ""
	}
	return strings.TrimSpace(c.Effect.String() + " " + reasonsText(c.Reasons))
}

func reasonsText(reasons []policy.Reason) string {
	texts := make([]string, 0, len(reasons))
	for _, r := range reasons {
		text := r.EN
		if text == "" {
			text = r.ID
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func printShownRest(cmd *cobra.Command, set *settings, s policy.Shown) error {
	rows := [][]string{}
	for _, o := range s.Paths {
		cells := make([]string, 0, len(o.Cells))
		for _, right := range policy.Rights {
			if cell, ok := o.Cells[right]; ok {
				cells = append(cells, string(right)+" "+cellText(cell))
			}
		}
		rows = append(rows, []string{"path " + o.Path, strings.Join(cells, ", ") + obligationText(o.Obligations), "override " + o.Name + " " + placeText(o.Place)})
	}
	for _, w := range s.Windows {
		text := w.Text
		if !w.Known {
			text = "windows.yaml has no such window: nobody gets in"
		}
		rows = append(rows, []string{"window " + w.Name, text, w.Vendor + " " + placeText(w.Place)})
	}
	for _, b := range s.Bounds {
		rows = append(rows, []string{"bound", strings.TrimPrefix(obligationText(b.Obligations), "; "), b.Vendor + " " + b.From + " " + placeText(b.Place)})
	}
	for _, r := range s.Rules {
		first, _, _ := strings.Cut(r.Text, "\n")
		rows = append(rows, []string{"rule " + r.Rule, first, r.Package + " " + placeText(r.Place)})
	}
	for _, n := range s.Notices {
		rows = append(rows, []string{"notice", reasonsText([]policy.Reason{n}), n.Table})
	}
	if len(rows) == 0 {
		return nil
	}
	p := set.printer(cmd)
	fmt.Fprintln(p.out)
	for _, row := range rows {
		if err := p.row(nil, row...); err != nil {
			return err
		}
	}
	return p.flush()
}

func obligationText(o policy.Obligations) string {
	text := ""
	if o.MFAMaxAge > 0 {
		text += "; second factor at most " + brief(o.MFAMaxAge) + " old"
	}
	if o.Download != "" {
		text += "; download " + o.Download
	}
	if o.Watermark {
		text += "; watermark"
	}
	if o.Supervise {
		text += "; supervised"
	}
	if o.MaxBytes > 0 {
		text += fmt.Sprintf("; at most %d bytes", o.MaxBytes)
	}
	return text
}

// brief is a duration without the zeros behind it: 12h, 1h30m.
func brief(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func simulateCommand(set *settings) *cobra.Command {
	var from source
	var sinceText, untilText string
	cmd := &cobra.Command{
		Use:   "simulate [DIR] --since 30d",
		Short: "decide the past again under a policy folder: who would newly be refused, asked or allowed",
		Long: `Decides every decision on record since then again, once under the policy in force and once under the folder's, and reports
where they differ: who, on which target, doing what, in which sessions. Nothing is changed. DIR is the gateway's own policy
folder in --dir unless it is given.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				from.from = args[0]
			}
			files, err := from.read(cmd.Context(), set)
			if err != nil {
				return err
			}
			ask := console.AskSimulation(files)
			if ask.Since, err = since(sinceText, time.Now()); err != nil {
				return err
			}
			if ask.Until, err = since(untilText, time.Now()); err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				bar := newProgress(cmd.ErrOrStderr())
				result, err := c.SimulatePolicy(ctx, ask, bar.show)
				bar.clear()
				if err != nil {
					return err
				}
				return printSimulation(cmd, set, from.name, result)
			})
		},
	}
	cmd.Flags().StringVar(&from.commit, "commit", "", "read the folder's files from this commit of its git repository")
	cmd.Flags().StringVar(&sinceText, "since", "30d", "from when on: 30d, 12h or a time like 2026-11-22T09:00:00Z")
	cmd.Flags().StringVar(&untilText, "until", "", "until when: likewise (default: now)")
	return cmd
}

// progress is a bar on a terminal; elsewhere it is a line now and then.
type progress struct {
	out      io.Writer
	terminal bool
	last     time.Time
	shown    bool
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, terminal: isTerminal(out), last: time.Now()}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

const (
	barWidth  = 30
	lineEvery = 5 * time.Second
)

func (p *progress) show(l console.SimulationLine) {
	share := 0.0
	if l.Total > 0 {
		share = min(float64(l.Done)/float64(l.Total), 1)
	}
	if p.terminal {
		full := int(share * barWidth)
		fmt.Fprintf(p.out, "\r[%s%s] %3.0f%%  %d decisions", strings.Repeat("█", full), strings.Repeat("·", barWidth-full), share*100, l.Count)
		p.shown = true
	} else if time.Since(p.last) >= lineEvery {
		fmt.Fprintf(p.out, "%.0f%%, %d decisions\n", share*100, l.Count)
		p.last = time.Now()
	}
}

// clear wipes the bar.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// becomes says in words what happens to decisions.
var becomes = map[policy.Effect]string{policy.Deny: "newly refused", policy.Approval: "newly asked", policy.Allow: "newly allowed"}

func printSimulation(cmd *cobra.Command, set *settings, name string, s *policy.Simulation) error {
	p := set.printer(cmd)
	if p.json {
		return p.row(s)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s against revision %d: %d decisions", name, s.Base, s.Decisions)
	if s.Decisions > 0 {
		fmt.Fprintf(out, " from %s to %s", local(s.From), local(s.To))
	}
	fmt.Fprintf(out, ", %d would change in %d session(s)\n", s.Changed, s.Sessions)
	for _, t := range s.Totals {
		if t.From == t.To {
			continue
		}
		fmt.Fprintf(out, "  %8d  %s (%s -> %s)\n", t.Count, becomes[t.To], t.From, t.To)
	}
	for _, g := range s.Changes {
		printGroup(out, g)
	}
	if s.More > 0 {
		fmt.Fprintf(out, "\n… and %d more group(s) with %d decisions; --json has as many\n", s.More, s.MoreDecisions)
	}
	printDoubts(out, s)
	return nil
}

func printGroup(out io.Writer, g policy.Group) {
	who := visible(strings.Join(g.People, ", "))
	if n := g.PeopleN - int64(len(g.People)); n > 0 {
		who += fmt.Sprintf(" and %d more", n)
	}
	what := strings.TrimSpace(visible(g.Operation) + " " + visible(g.What))
	fmt.Fprintf(out, "\n%s ×%d: %s of %s on %s\n", becomes[g.To], g.Count, who, orSeveral(g.Vendor), orSeveral(g.Target))
	right := ""
	if g.Right != "" {
		right = " (" + string(g.Right) + ")"
	}
	fmt.Fprintf(out, "  %s%s\n", what, right)
	if g.Command != "" {
		fmt.Fprintf(out, "  such as    %s\n", visible(g.Command))
	}
	if text := reasonsText(g.Reasons); text != "" {
		fmt.Fprintf(out, "  because    %s\n", visible(text))
	}
	if len(g.Sessions) > 0 {
		more := ""
		if n := g.SessionsN - int64(len(g.Sessions)); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(out, "  sessions   %s%s\n", visible(strings.Join(g.Sessions, " ")), more)
	}
	fmt.Fprintf(out, "  when       %s – %s\n", local(g.First), local(g.Last))
	fmt.Fprintf(out, "  decision   %s\n", g.Example)
}

func orSeveral(text string) string {
	if text == "" {
		return "several"
	}
	return visible(text)
}

// printDoubts says where the answer is less than exact.
func printDoubts(out io.Writer, s *policy.Simulation) {
	for _, d := range []struct {
		count int64
		text  string
	}{
		{s.Bound, "stay allowed under other obligations"},
		{s.Capped, "were refused by the gateway itself (revoked, opaque …) and stay refused"},
		{s.Unclassified, "could not be classified again; the rights they needed then were used"},
		{s.Differs, "were decided otherwise than revision %d decides today"},
		{s.Faults, "failed under the new rules and count as refused"},
	} {
		if d.count == 0 {
			continue
		}
		text := d.text
		if strings.Contains(text, "%d") {
			text = fmt.Sprintf(text, s.Base)
		}
		fmt.Fprintf(out, "\nnote: %d %s\n", d.count, text)
	}
	if s.Fault != "" {
		fmt.Fprintf(out, "  %s\n", visible(s.Fault))
	}
}

func explainCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "explain DECISION",
		Short: "why a decision was made: rules, tables, inputs, and what would have allowed it",
		Args:  exactly("DECISION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				explained, err := c.ExplainDecision(ctx, args[0])
				if err != nil {
					return err
				}
				return printExplanation(cmd, set, explained)
			})
		},
	}
}

func printExplanation(cmd *cobra.Command, set *settings, x console.PolicyExplanation) error {
	p := set.printer(cmd)
	if p.json {
		return p.row(x)
	}
	in, who := x.Input, ""
	if in == nil {
		in = &policy.Input{} // there was nothing to decide on
	} else {
		who = in.Person.ID + " of " + in.Vendor.ID
	}
	what := in.Action.Command
	if what == "" && len(in.Action.Needs) > 0 {
		what = in.Action.Needs[0].Resource
	}
	err := printPairs(p, [][]string{{"decision", x.Decision}, {"effect", x.Effect.String()}, {"made", local(x.At)},
		{"who", who}, {"on", in.Target.Name}, {"what", strings.TrimSpace(in.Action.Operation + " " + what)},
		{"session", x.Session}, {"revision", fmt.Sprint(x.Revision)}, {"because", reasonsText(x.Explanation.Reasons)}})
	if err != nil {
		return err
	}
	for _, need := range x.Explanation.Needs {
		printNeed(p.out, need)
	}
	printRemedies(p.out, x.Explanation)
	return nil
}

func printNeed(out io.Writer, need policy.ExplainedNeed) {
	head := strings.TrimSpace(string(need.Right) + " " + visible(need.Resource))
	if head == "" {
		head = "connect"
	}
	fmt.Fprintf(out, "\n%s: %s\n", head, need.Effect)
	if need.Lease != "" {
		fmt.Fprintf(out, "  lease     %s\n", need.Lease)
	}
	for _, l := range need.Links {
		cell := ""
		if l.Cell.Cell != "" {
			cell = fmt.Sprintf(", cell %s %s %s", cellText(l.Cell.Cell), l.Cell.Table, placeText(l.Cell.Place))
		}
		fmt.Fprintf(out, "  %s (%s): %s%s\n", visible(l.Vendor), l.Type, l.Effect, cell)
		for _, r := range l.Rules {
			fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("    rule    %s %s %s  %s", placeText(r.Place), r.Package, r.Rule, ruleReasons(r)), " "))
		}
		for _, line := range inputLines(l.Inputs) {
			fmt.Fprintf(out, "    inputs  %s\n", line)
		}
	}
}

// inputLines puts the inputs that mattered side by side, as many as a line holds.
func inputLines(inputs []policy.MatteredWord) []string {
	var lines []string
	line := ""
	for _, i := range inputs {
		word := strings.TrimPrefix(i.Name, "input.") + " = " + visible(i.Value)
		if line != "" && len(line)+len(word) > 90 {
			lines, line = append(lines, line+","), ""
		}
		if line != "" {
			line += ", "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func ruleReasons(r policy.FiredRule) string {
	texts := make([]string, 0, len(r.Reasons))
	for _, reason := range r.Reasons {
		text := visible(reason.EN)
		if reason.Table != "" && !strings.Contains(text, reason.Table) {
			text += " (" + reason.Table + ")"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

func printRemedies(out io.Writer, e policy.Explanation) {
	switch {
	case e.Effect == policy.Allow:
		for i, c := range e.EndsBy {
			if i == 0 {
				fmt.Fprintln(out, "\nwhat ends it:")
			}
			fmt.Fprintf(out, "  - %s  %s\n", local(c.At), visible(c.EN))
		}
	case e.Capped:
		fmt.Fprintln(out, "\nThe gateway itself refused this; no policy would have allowed it.")
	case len(e.Remedies) == 0:
		fmt.Fprintln(out, "\nNothing that was tried would have allowed it.")
	default:
		fmt.Fprintln(out, "\nwhat would have allowed it:")
		for _, r := range e.Remedies {
			fmt.Fprintf(out, "  - %s\n", visible(r.EN))
		}
	}
	if e.Fault != "" {
		fmt.Fprintf(out, "\nthe rules failed: %s\n", visible(e.Fault))
	}
}
