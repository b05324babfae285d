package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway"
	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
	"github.com/sekisho/sekisho/recorder/replay"
)

func sessionCommand(set *settings) *cobra.Command {
	show := &cobra.Command{Use: "show ID", Short: "show one session", Args: exactly("ID"), RunE: func(cmd *cobra.Command, args []string) error {
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			s, err := c.ShowSession(ctx, args[0])
			if err != nil {
				return err
			}
			return showSession(set, cmd, s)
		})
	}}
	return parent("session", "sessions: list, show, watch, end", sessionListCommand(set), show, sessionWatchCommand(set), sessionEndCommand(set))
}

func sessionListCommand(set *settings) *cobra.Command {
	var q access.SessionQuery
	var sinceText string
	cmd := &cobra.Command{Use: "list", Short: "list sessions, newest first", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var err error
		if q.Since, err = since(sinceText, time.Now()); err != nil {
			return err
		}
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			columns := []string{"SESSION", "WHO", "VENDOR", "TARGET", "LOGIN", "LABEL", "STARTED", "ENDED", "HOW"}
			return printAll(set, cmd, columns, c.Sessions(ctx, q), func(s access.SessionRecord) []string {
				ended, how := local(s.EndedAt), s.EndReason
				if s.EndedAt.IsZero() {
					ended, how = "live", liveState(s)
				}
				return []string{s.ID, s.Person, s.Vendor, s.Target, s.Login, s.Enforced, local(s.StartedAt), ended, how}
			})
		})
	}}
	f := cmd.Flags()
	f.StringVar(&q.Person, "person", "", "of this person")
	f.StringVar(&q.Vendor, "vendor", "", "of this vendor")
	f.StringVar(&q.Target, "target", "", "on this target")
	f.BoolVar(&q.Live, "live", false, "only those that are open now")
	f.StringVar(&sinceText, "since", "", "started since: 30d, 12h or a time in RFC 3339")
	f.IntVar(&q.Limit, "limit", 0, "at most so many")
	return cmd
}

// liveState says what a live session waits for, or who watches it.
func liveState(s access.SessionRecord) string {
	switch {
	case s.Waits == access.WaitsForWatcher:
		return "waits for somebody to watch"
	case s.Watchers != "":
		return "watched by " + s.Watchers
	}
	return ""
}

func showSession(set *settings, cmd *cobra.Command, s access.SessionRecord) error {
	p := set.printer(cmd)
	if p.json {
		return p.row(s)
	}
	ended := local(s.EndedAt) + "  " + s.EndReason
	if s.EndedAt.IsZero() {
		ended = strings.TrimSpace("live  " + liveState(s))
	}
	for _, line := range [][]string{{"session", s.ID}, {"who", s.Person + " of " + s.Vendor}, {"from", s.SourceIP},
		{"target", strings.TrimPrefix(s.Login+"@"+s.Target, "@")}, {"protocol", s.Protocol}, {"label", s.Enforced},
		{"started", local(s.StartedAt)}, {"ended", ended}, {"recording", s.Recording}} {
		if err := p.row(nil, line...); err != nil {
			return err
		}
	}
	return p.flush()
}

func sessionWatchCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "watch a live session in the terminal",
		Long: `Shows what the person of a live session sees, from their last screenful on, about a second later, until the session
ends. Ctrl-C stops watching and leaves the session alone. That somebody watches is itself on record; the person is not told,
unless policy wants the session to be watched: then it starts when somebody does, and ends 30 seconds after nobody does.`,
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				if set.json {
					p := set.printer(cmd)
					for e, err := range c.Watch(ctx, args[0]) {
						if err != nil {
							return err
						}
						if err := p.row(e); err != nil {
							return err
						}
					}
					return nil
				}
				err := replay.Play(ctx, cmd.OutOrStdout(), recorded(c.Watch(ctx, args[0])), replay.Options{})
				if ctx.Err() != nil {
					return nil
				}
				return err
			})
		},
	}
}

func sessionEndCommand(set *settings) *cobra.Command {
	var reason string
	cmd := &cobra.Command{Use: "end ID", Short: "end a live session; its person sees the reason", Args: exactly("ID"), RunE: func(cmd *cobra.Command, args []string) error {
		if err := needReason(reason); err != nil {
			return err
		}
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			if err := c.EndSession(ctx, args[0], reason); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is over\n", args[0])
			return nil
		})
	}}
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	return cmd
}

func replayCommand(set *settings) *cobra.Command {
	var at time.Duration
	var speed float64
	var export string
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "play a session's recording in the terminal, or export it",
		Long: `Plays a session as it was seen. --speed 0 prints it without waiting, --at 5m starts there. --export writes an
asciicast (cast, for asciinema) or plain text (txt) to standard output instead. Watching is itself on record.`,
		Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if export != "" && export != console.FormatCast && export != console.FormatText {
				return usagef("--export %q: want cast or txt", export)
			}
			if speed < 0 || at < 0 {
				return usagef("--speed and --at are never negative")
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				if export == "" {
					return replay.Play(ctx, cmd.OutOrStdout(), recorded(c.Entries(ctx, args[0])),
						replay.Options{At: at, Speed: speed, MaxIdle: longestPause})
				}
				stream, err := c.Recording(ctx, args[0], export)
				if err != nil {
					return err
				}
				defer stream.Close()
				_, err = io.Copy(cmd.OutOrStdout(), stream)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.DurationVar(&at, "at", 0, "start at this offset, such as 5m30s")
	f.Float64Var(&speed, "speed", 1, "how fast; 0 does not wait at all")
	f.StringVar(&export, "export", "", "write cast or txt instead of playing")
	return cmd
}

// longestPause is the longest a replay waits where nothing happened.
const longestPause = 2 * time.Second

// recorded turns what the API sends back into entries of a recording.
func recorded(entries iter.Seq2[console.Entry, error]) iter.Seq2[recorder.Entry, error] {
	return func(yield func(recorder.Entry, error) bool) {
		for e, err := range entries {
			data := e.Base64
			if e.Text != "" {
				data = []byte(e.Text)
			}
			entry := recorder.Entry{Offset: time.Duration(e.OffsetMS) * time.Millisecond, Channel: e.Channel, Kind: e.Kind, Data: data}
			if !yield(entry, err) {
				return
			}
		}
	}
}

func auditCommand(set *settings) *cobra.Command {
	var q audit.Query
	var class, sinceText, untilText string
	search := &cobra.Command{
		Use:   "search [TEXT]",
		Short: "find events: who did what, when, and was it allowed",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				q.Text = args[0]
			}
			q.Class = recorder.Class(class)
			if class != "" && q.Class.Table() == "" {
				return usagef("--class %q: want login, command, file, config or export", class)
			}
			var err error
			if q.Since, err = since(sinceText, time.Now()); err != nil {
				return err
			}
			if q.Until, err = since(untilText, time.Now()); err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				columns := []string{"AT", "TABLE", "KIND", "OUTCOME", "WHO", "TARGET", "SESSION", "WHAT"}
				return printAll(set, cmd, columns, c.SearchAudit(ctx, q), eventCells)
			})
		},
	}
	f := search.Flags()
	f.StringVar(&class, "class", "", "login, command, file, config or export")
	f.StringVar(&q.Person, "person", "", "of this person")
	f.StringVar(&q.Vendor, "vendor", "", "of this vendor")
	f.StringVar(&q.Session, "session", "", "in this session")
	f.StringVar(&q.Target, "target", "", "on this target")
	f.StringVar(&q.Kind, "kind", "", "of this kind, such as command.run")
	f.StringVar(&sinceText, "since", "", "since: 30d, 12h or a time in RFC 3339")
	f.StringVar(&untilText, "until", "", "until, in the same forms")
	f.IntVar(&q.Limit, "limit", 0, "at most so many")
	return parent("audit", "the audit log: search", search)
}

func eventCells(e recorder.Event) []string {
	return []string{local(e.At), e.Table, e.Kind, string(e.Outcome), e.Person, e.Target, e.Session, summary(e)}
}

// summary picks what a person looks for first in an event's detail. The operation's name stands only where neither a line
// nor a path tells more.
func summary(e recorder.Event) string {
	var parts []string
	_, line := e.Detail["line"]
	_, path := e.Detail["path"]
	for _, key := range []string{"line", "method", "path", "operation", "what", "claimed", "invited", "released", "revoked", "vendor",
		"answer", "request", "reason", "reasons", "tables", "exit", "signal", "status"} {
		v, ok := e.Detail[key]
		if !ok || line && (key == "method" || key == "path") || (line || path) && key == "operation" {
			continue
		}
		text := fmt.Sprint(v)
		if key == "exit" || key == "signal" || key == "status" {
			text = key + "=" + text
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "  ")
}

func verifyCommand(set *settings) *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "prove offline that recordings and audit logs are unaltered",
		Long: `Verifies a recording (.rec), an audit log's folder, or a gateway's whole folder, without asking the gateway. Every
flipped byte, missing tail, swapped chunk and foreign signature is named.

The signatures are checked with evidence.pub. Take it from the gateway once, keep it elsewhere and give it with --key:
whoever can write the folder could have replaced the key that lies in it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("what? sekisho verify PATH")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := 0
			for _, path := range args {
				key, err := evidenceKey(keyFile, path)
				if err != nil {
					return err
				}
				checks, err := gateway.Verify(cmd.Context(), path, key)
				if err != nil {
					return err
				}
				n, err := printChecks(set, cmd, checks)
				if err != nil {
					return err
				}
				bad += n
			}
			if bad > 0 {
				return fmt.Errorf("%d of the checked files cannot be trusted", bad)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&keyFile, "key", "", "the gateway's evidence.pub, kept elsewhere (default: the one beside the evidence)")
	return cmd
}

func printChecks(set *settings, cmd *cobra.Command, checks []gateway.Check) (bad int, err error) {
	p := set.printer(cmd)
	for _, c := range checks {
		if !c.OK {
			bad++
		}
		state := "ok"
		if !c.OK {
			state = "FAIL"
		}
		if err := p.row(c, state, c.Path, c.Summary); err != nil {
			return bad, err
		}
		if set.json {
			continue
		}
		for _, finding := range c.Findings {
			if err := p.row(nil, "", "", finding); err != nil {
				return bad, err
			}
		}
	}
	return bad, p.flush()
}

// evidenceKey reads the key given, or looks for evidence.pub beside the evidence and above it.
func evidenceKey(file, path string) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	for {
		if data, err := os.ReadFile(filepath.Join(dir, "evidence.pub")); err == nil {
			return data, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil, errors.New("no evidence.pub beside the evidence; give the gateway's with --key FILE")
		}
		dir = up
	}
}
