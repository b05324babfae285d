package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
)

// peopleDir holds the profiles of a folder, one per person; its file "default" may name the one to use without --as.
const peopleDir = "people"

// profile finds whose credentials to use: those of --as, else the folder's own, its only or its default profile.
func (s *settings) profile() (*console.Profile, error) {
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	if s.as != "" {
		p, err := console.OpenProfile(filepath.Join(dir, peopleDir, s.as))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, usagef("no profile of %s in %s (there: %s)", s.as, filepath.Join(dir, peopleDir), strings.Join(profiles(dir), ", "))
		}
		return p, err
	}
	if p, err := console.OpenProfile(dir); !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	name, err := os.ReadFile(filepath.Join(dir, peopleDir, "default"))
	if err == nil {
		return console.OpenProfile(filepath.Join(dir, peopleDir, strings.TrimSpace(string(name))))
	}
	switch names := profiles(dir); len(names) {
	case 0:
		return nil, usagef("no profile in %s; enrol with: sekisho enrol URL --dir %s", dir, s.dir)
	case 1:
		return console.OpenProfile(filepath.Join(dir, peopleDir, names[0]))
	default:
		return nil, usagef("several profiles in %s; choose one with --as (%s)", dir, strings.Join(names, ", "))
	}
}

func profiles(dir string) []string {
	entries, _ := os.ReadDir(filepath.Join(dir, peopleDir))
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// authenticatorFile is the software authenticator of a demo's people; others confirm in their browser.
const authenticatorFile = "authenticator.json"

// login renews the profile's session: at once where a software authenticator stands, else through the person's browser.
func login(ctx context.Context, p *console.Profile, c *console.Client, told io.Writer) error {
	if _, err := os.Stat(p.Path(authenticatorFile)); err == nil {
		a, err := demo.NewAuthenticator(p.Path(authenticatorFile))
		if err != nil {
			return err
		}
		return p.Login(ctx, c, a)
	}
	started, err := c.StartCLILogin(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(told, "Open %s in your browser and type this code there: %s\n(waiting until %s; Ctrl-C cancels)\n",
		started.URL, started.Code, started.Expires.Local().Format("15:04:05"))
	if _, err := c.WaitCLILogin(ctx, started.ID); err != nil {
		return err
	}
	return p.Remember(c)
}

// withClient runs work with the person's client. A session that is missing or over is renewed once.
func (s *settings) withClient(cmd *cobra.Command, work func(ctx context.Context, c *console.Client) error) error {
	p, err := s.profile()
	if err != nil {
		return err
	}
	c, err := p.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx := cmd.Context()
	if c.Session() == "" {
		if err := login(ctx, p, c, cmd.ErrOrStderr()); err != nil {
			return err
		}
		return work(ctx, c)
	}
	err = work(ctx, c)
	var problem *console.Problem
	if errors.As(err, &problem) && problem.NotLoggedIn() {
		if err := login(ctx, p, c, cmd.ErrOrStderr()); err != nil {
			return err
		}
		return work(ctx, c)
	}
	return err
}

// printer writes lists: aligned columns for people, one JSON object per line with --json.
type printer struct {
	json  bool
	out   io.Writer
	table *tabwriter.Writer
	rows  int
}

func (s *settings) printer(cmd *cobra.Command, columns ...string) *printer {
	p := &printer{json: s.json, out: cmd.OutOrStdout(), table: tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)}
	if !p.json && len(columns) > 0 {
		fmt.Fprintln(p.table, strings.Join(columns, "\t"))
	}
	return p
}

// row prints one object, as its cells or as itself. Cells hold what contractors typed, and whoever reads the list decides by
// it: nothing in them acts on the terminal, begins another row or turns the text around.
func (p *printer) row(object any, cells ...string) error {
	p.rows++
	if p.json {
		return json.NewEncoder(p.out).Encode(object)
	}
	for i, cell := range cells {
		cells[i] = visible(cell)
	}
	_, err := fmt.Fprintln(p.table, strings.Join(cells, "\t"))
	return err
}

// visible is text with every character that does not print written as its escape: \n, \x1b, \u202e.
func visible(text string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

func (p *printer) flush() error { return p.table.Flush() }

// printAll prints a streamed list.
func printAll[T any](s *settings, cmd *cobra.Command, columns []string, all iter.Seq2[T, error], cells func(T) []string) error {
	p := s.printer(cmd, columns...)
	for object, err := range all {
		if err != nil {
			return err
		}
		if err := p.row(object, cells(object)...); err != nil {
			return err
		}
	}
	return p.flush()
}

// since reads 30d, 12h or an RFC 3339 time; "" is no bound.
func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, usagef("--since %q: want 30d, 12h or a time like 2026-11-22T09:00:00Z", text)
}

// local shows a time of the record on the screen's clock.
func local(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
