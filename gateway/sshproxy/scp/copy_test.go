package scp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/sshproxy/scp"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// side is one end of a copy that says what it was told to and keeps what it hears.
type side struct {
	says  io.Reader
	heard bytes.Buffer
}

func (s *side) Read(b []byte) (int, error)  { return s.says.Read(b) }
func (s *side) Write(b []byte) (int, error) { return s.heard.Write(b) }

// door stands in for the gateway's: it refuses what ends in "no" and keeps how everything else ended.
type door struct {
	asked []string
	ended map[string]string // outcome and bytes by path
	open  int
	max   int64
}

type grant struct {
	door *door
	path string
	over bool
}

func (g *grant) MaxBytes() int64 { return g.door.max }

func (g *grant) End(outcome recorder.Outcome, detail map[string]any) {
	if g.over {
		return
	}
	g.over = true
	g.door.open--
	said := string(outcome)
	for _, way := range []string{"bytes_read", "bytes_written"} {
		if n, ok := detail[way]; ok {
			said += fmt.Sprint(" ", n)
		}
	}
	if sum, ok := detail["sha256_written"].(string); ok {
		said += " " + sum[:8]
	}
	g.door.ended[g.path] = said
}

func (d *door) authorize(_ context.Context, op access.Operation) (scp.Granted, error) {
	ask := op.Kind + " " + op.Path
	if op.Kind == "sftp.open" {
		ask += map[bool]string{true: " read"}[op.Read] + map[bool]string{true: " write"}[op.Write]
	}
	d.asked = append(d.asked, ask)
	if strings.HasSuffix(op.Path, "no") {
		return nil, &access.Refusal{Reasons: []policy.Reason{{EN: "not that"}}}
	}
	d.open++
	return &grant{door: d, path: op.Path}, nil
}

// copied runs a copy in which every side has said beforehand all it will say.
func copied(t testing.TB, d *door, command scp.Command, inside bool, client, target string) (c, s *side, err error) {
	d.ended = map[string]string{}
	c, s = &side{says: strings.NewReader(client)}, &side{says: strings.NewReader(target)}
	err = scp.Run(t.Context(), scp.Config{Command: command, Path: command.Path, Inside: inside,
		Resolve: func(p string) (string, error) {
			if strings.Contains(p, "gone") {
				return "", errors.New("not there")
			}
			return strings.ReplaceAll(p, "link", "else"), nil
		},
		Authorize: d.authorize, Record: func(recorder.Kind, []byte) error { return nil }, Explain: func(*access.Refusal) {},
		Bodies: 1 << 20, Client: c, Target: s})
	if d.open != 0 {
		t.Errorf("%d grants are still open", d.open)
	}
	return c, s, err
}

const ok = "\x00"

func TestEachFileIsAskedAboutBeforeItIsPassedOn(t *testing.T) {
	up, into, down := scp.Command{Upload: true, Path: "/up"}, scp.Command{Upload: true, Recursive: true, Path: "/up"},
		scp.Command{Recursive: true, Path: "/down"}
	for what, c := range map[string]struct {
		command              scp.Command
		inside               bool
		client, target       string // what they say
		toClient, toTarget   string // what they hear
		asked, ended, reason string // the last two: of one path; the error
		max                  int64
	}{
		"a file going up": {command: up, client: "C0644 4 a\ntext" + ok, target: ok + ok + ok,
			toClient: ok + ok + ok, toTarget: "C0644 4 a\ntext" + ok, asked: "sftp.open /up write", ended: "/up: ok 4 982d9e3e"},
		"into a folder": {command: up, inside: true, client: "C0644 4 a\ntext" + ok, target: ok + ok + ok,
			toClient: ok + ok + ok, toTarget: "C0644 4 a\ntext" + ok, asked: "sftp.open /up/a write"},
		"with times": {command: up, client: "T1 0 2 0\nC0644 0 a\n" + ok, target: ok + ok + ok + ok,
			toClient: ok + ok + ok + ok, toTarget: "T1 0 2 0\nC0644 0 a\n" + ok, asked: "sftp.open /up write"},
		"a tree": {command: into, inside: true, client: "D0755 0 d\nC0600 1 f\nx" + ok + "E\n", target: ok + ok + ok + ok + ok,
			toClient: ok + ok + ok + ok + ok, toTarget: "D0755 0 d\nC0600 1 f\nx" + ok + "E\n",
			asked: "sftp.mkdir /up/d; sftp.open /up/d/f write", ended: "/up/d: ok"},
		"by what the name really is": {command: up, inside: true, client: "C0644 0 link\n" + ok, target: ok + ok + ok,
			toClient: ok + ok + ok, toTarget: "C0644 0 link\n" + ok, asked: "sftp.open /up/else write"},
		"one of two is refused": {command: up, inside: true, client: "C0644 4 no\n" + "C0644 1 b\nx" + ok, target: ok + ok + ok,
			toClient: ok + "\x01sekisho: no: refused: not that (decision )\n" + ok + ok, toTarget: "C0644 1 b\nx" + ok,
			asked: "sftp.open /up/no write; sftp.open /up/b write"},
		"what cannot be resolved": {command: up, inside: true, client: "C0644 4 gone\n", target: ok,
			toClient: ok + "\x01sekisho: its path cannot be resolved\n"},
		"the target does not take it": {command: up, client: "C0644 4 a\n", target: ok + "\x01scp: full\n",
			toClient: ok + "\x01scp: full\n", toTarget: "C0644 4 a\n", asked: "sftp.open /up write", ended: "/up: failed"},
		"the target gives up": {command: up, client: "C0644 4 a\n", target: "\x02scp: no such folder\n",
			toClient: "\x02scp: no such folder\n"},
		"half a file": {command: up, client: "C0644 4 a\nte", target: ok + ok, toClient: ok + ok, toTarget: "C0644 4 a\nte",
			asked: "sftp.open /up write", ended: "/up: lost 2", reason: "unexpected EOF"},
		"the client says that it failed": {command: up, client: "C0644 4 a\ntext\x01scp: it shrank\n", target: ok + ok + ok,
			toClient: ok + ok + ok, toTarget: "C0644 4 a\ntext\x01scp: it shrank\n", asked: "sftp.open /up write", ended: "/up: failed 4"},
		"more than max_bytes": {command: up, inside: true, max: 5, client: "C0644 4 a\ntext" + ok + "C0644 2 b\n",
			target: ok + ok + ok, toClient: ok + ok + ok + "\x01sekisho: b: no more may be transferred: the policy's max_bytes\n",
			toTarget: "C0644 4 a\ntext" + ok, asked: "sftp.open /up/a write; sftp.open /up/b write", ended: "/up/b: refused"},
		"a file coming down": {command: down, client: ok + ok + ok, target: "C0644 4 a\ntext" + ok,
			toClient: "C0644 4 a\ntext" + ok, toTarget: ok + ok + ok, asked: "sftp.open /down read", ended: "/down: ok 4"},
		"a tree coming down": {command: down, client: ok + ok + ok + ok + ok, target: "D0755 0 d\nC0600 1 f\nx" + ok + "E\n",
			toClient: "D0755 0 d\nC0600 1 f\nx" + ok + "E\n", toTarget: ok + ok + ok + ok + ok,
			asked: "sftp.list /down; sftp.open /down/f read"},
		"one coming down is refused": {command: down, client: ok + ok + ok + ok, target: "D0755 0 d\nC0600 1 no\nE\n",
			toClient: "D0755 0 d\n\x01scp: sekisho: no: refused: not that (decision )\nE\n", toTarget: ok + ok + "\x01sekisho: no: refused: not that (decision )\n" + ok,
			asked: "sftp.list /down; sftp.open /down/no read"},
		"escapes in a target's error": {command: down, client: ok, target: "\x01\x1b[2Jwords\xff\n",
			toClient: "\x01?[2Jwords?\n", toTarget: ok},
		"a name that climbs":       {command: into, inside: true, client: "D0755 0 ..\n", target: ok, toClient: ok, reason: "malformed"},
		"a name with a slash":      {command: up, inside: true, client: "C0644 1 a/b\n", target: ok, toClient: ok, reason: "malformed"},
		"a name that draws":        {command: down, client: ok, target: "C0644 1 a\x1b[2J\n", toTarget: ok, reason: "malformed"},
		"a name that is no text":   {command: up, client: "C0644 1 \xff\n", target: ok, toClient: ok, reason: "malformed"},
		"no name":                  {command: up, client: "C0644 1 \n", target: ok, toClient: ok, reason: "malformed"},
		"a size below nothing":     {command: up, client: "C0644 -1 a\n", target: ok, toClient: ok, reason: "malformed"},
		"a size beyond everything": {command: up, client: "C0644 99999999999999999999 a\n", target: ok, toClient: ok, reason: "malformed"},
		"a mode that is none":      {command: up, client: "C08 1 a\n", target: ok, toClient: ok, reason: "malformed"},
		"times that are none":      {command: up, client: "T1 2\n", target: ok, toClient: ok, reason: "malformed"},
		"a folder without -r":      {command: up, client: "D0755 0 d\n", target: ok, toClient: ok, reason: "malformed"},
		"the end of no folder":     {command: into, client: "E\n", target: ok, toClient: ok, reason: "malformed"},
		"another message":          {command: up, client: "X\n", target: ok, toClient: ok, reason: "malformed"},
		"an answer that is none":   {command: up, client: "C0644 1 a\n", target: "\x07", reason: "malformed"},
		"a line without an end":    {command: up, client: "C" + strings.Repeat("0", 5000), target: ok, toClient: ok, reason: "malformed"},
		"nobody says anything":     {command: up, reason: "unexpected EOF"},
	} {
		t.Run(what, func(t *testing.T) {
			d := &door{max: c.max}
			client, target, err := copied(t, d, c.command, c.inside, c.client, c.target)
			if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
				t.Errorf("ended with %v, want %q", err, c.reason)
			}
			if got := client.heard.String(); got != c.toClient {
				t.Errorf("the client heard %q, want %q", got, c.toClient)
			}
			if got := target.heard.String(); got != c.toTarget {
				t.Errorf("the target heard %q, want %q", got, c.toTarget)
			}
			if got := strings.Join(d.asked, "; "); got != c.asked {
				t.Errorf("the door was asked %q, want %q", got, c.asked)
			}
			if path, want, _ := strings.Cut(c.ended, ": "); d.ended[path] != want {
				t.Errorf("%s ended as %q, want %q", path, d.ended[path], want)
			}
		})
	}
}

func TestOnlyTheTwoEndsOfACopyAreOne(t *testing.T) {
	for line, want := range map[string]string{
		"scp -t /srv":                    "scp -t '/srv'",
		"scp -f /srv":                    "scp -f '/srv'",
		"/usr/bin/scp -v -r -p -d -t /x": "scp -r -p -d -t '/x'",
		"scp -rpt -- '/a b'":             "scp -r -p -t '/a b'",
		`scp -f /a\ b\'c`:                `scp -f '/a b'\''c'`,
		"scp -t ~/x":                     "scp -t './x'",
		`scp -t "a b"`:                   "scp -t 'a b'",
		"scp -t /a /b":                   "",
		"scp -f /*":                      "",
		"scp -f $HOME":                   "",
		"scp -f `id`":                    "",
		"scp -t /a; rm b":                "",
		"scp -t /a\nrm b":                "",
		"scp -t '/a":                     "",
		`scp -t "$(id)"`:                 "",
		"scp -t ~root/x":                 "",
		"scp -t -f /a":                   "",
		"scp -S evil -t /a":              "",
		"scp -o ProxyCommand=x -f /a":    "",
		"scp a host:b":                   "",
		"scp":                            "",
		"scp -t":                         "",
		"scp -t ''":                      "",
	} {
		got := ""
		if c, ok := scp.Parse(line); ok {
			got = c.On(c.Path)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// FuzzParse: what is read as a copy is written so that it is read as the same again.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"scp -t /a", `scp -rpf 'a b'\''c'`, `scp -f "a"\ b`, "scp -t ~/x", "scp -d -t -- -x"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, ok := scp.Parse(line)
		if !ok {
			return
		}
		path := "/" + c.Path
		again, ok := scp.Parse(c.On(path))
		if c.Path = path; !ok || again != c {
			t.Errorf("%q became %+v, want %+v", c.On(path), again, c)
		}
	})
}

// FuzzRun throws bytes at both sides in both roles: it never panics, comes to an end and leaves no grant open.
func FuzzRun(f *testing.F) {
	f.Add(true, true, []byte("D0755 0 d\nC0600 1 f\nx\x00E\n"), []byte("\x00\x00\x00\x00\x00"))
	f.Add(false, false, []byte("\x00\x00\x00"), []byte("T1 0 2 0\nC0644 4 a\ntext\x00"))
	f.Add(false, true, []byte("\x00\x01no\n\x00"), []byte("D0755 0 d\nC0600 1 no\n\x01err\nE\n"))
	f.Add(true, false, []byte("C0644 99 a\nte"), []byte("\x00\x02over\n"))
	f.Fuzz(func(t *testing.T, upload, inside bool, client, target []byte) {
		d := &door{}
		copied(t, d, scp.Command{Upload: upload, Recursive: true, Path: "/p"}, inside, string(client), string(target))
		for _, ask := range d.asked {
			if strings.Contains(ask, "/..") || strings.ContainsFunc(ask, func(r rune) bool { return r < ' ' }) {
				t.Errorf("the door was asked %q", ask)
			}
		}
	})
}
