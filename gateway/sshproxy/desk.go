package sshproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
)

// partingTime is how long a client that was turned away may take to hang up by itself.
const partingTime = 2 * time.Second

// explain takes a channel only to say why there is no session, so that ssh exits with 255, and closes the connection of a
// client that does not do so itself.
func (c *connection) explain(nc ssh.NewChannel, err error) {
	text := c.refusalOf(err)
	// OpenSSH hangs up by itself after its last channel; closing under its hands would make it complain.
	patience := time.AfterFunc(partingTime, func() { c.client.Close() })
	defer patience.Stop()
	speak(nc, func(client ssh.Channel, start *ssh.Request, terminal bool) {
		if terminal {
			text = crlf(text)
		}
		client.Stderr().Write([]byte(text))
		patience.Reset(partingTime)
	})
	<-c.ctx.Done()
}

// refusalOf words why there is nothing for somebody.
func (c *connection) refusalOf(err error) string {
	if refusal, ok := errors.AsType[*access.Refusal](err); ok {
		return refusalText(refusal)
	}
	if said, ok := errors.AsType[told](err); ok {
		return said.text()
	}
	if ended, ok := errors.AsType[*access.Ended](err); ok {
		return endedNotice(ended).text()
	}
	c.proxy.cfg.Log.Error("no session could be opened", zap.String("person", c.principal.Person), zap.Error(err))
	return noticeTrouble.text()
}

// told is an error whose words are meant for the contractor.
type told struct{ notice }

func (t told) Error() string { return t.en }

// welcome answers `ssh gateway`: a login works, and this is how to go on.
func (c *connection) welcome(nc ssh.NewChannel) {
	speak(nc, func(client ssh.Channel, start *ssh.Request, terminal bool) {
		text, status := c.greeting(), uint32(0)
		if terminal {
			text = crlf(text)
		}
		if start.Type == "shell" {
			client.Write([]byte(text))
		} else {
			status = 1
			client.Stderr().Write([]byte(text))
		}
		client.CloseWrite()
		client.SendRequest("exit-status", false, ssh.Marshal(exitStatus{status}))
	})
}

// greeting is who is there and how they stand, in both languages.
func (c *connection) greeting() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sekisho: you are %[1]s (%[2]s). There is no shell on the gateway itself.\n"+
		"sekisho: %[1]s (%[2]s) としてログインしています。ゲートウェイ自体にシェルはありません。\n", c.principal.Person, c.principal.Vendor)
	desk, err := c.proxy.cfg.Door.Desk(c.ctx, c.principal)
	if err != nil {
		return b.String() + strings.TrimSuffix(c.refusalOf(err), "\n") + "\n"
	}
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	c.listTargets(w, desk)
	listWindows(w, desk)
	listRequests(w, desk)
	listLeases(w, desk)
	w.Flush()
	fmt.Fprintf(&b, "\n%s\n", c.proxy.cfg.Console)
	return b.String()
}

// listTargets says how to reach each target, or why it is closed.
func (c *connection) listTargets(w io.Writer, desk access.Desk) {
	fmt.Fprint(w, "\nTargets / 対象\n")
	if len(desk.Targets) == 0 {
		fmt.Fprint(w, "  none / なし\n")
	}
	for _, t := range desk.Targets {
		state := "open / 利用可"
		if !t.Open {
			state = "closed / 利用不可"
		}
		for i, way := range c.ways(t) {
			name := t.Name
			if i > 0 {
				name, state = "", ""
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\n", name, state, way)
		}
		if !t.Open {
			fmt.Fprintf(w, "  \t\t%s\n  \t\t%s\n", t.Why.EN, t.Why.JA)
		}
	}
}

// ways are how a target is reached.
func (c *connection) ways(t access.DeskTarget) []string {
	switch t.Kind {
	case "https":
		console, _ := url.Parse(c.proxy.cfg.Console)
		host := t.Host
		if port := console.Port(); port != "" {
			host = net.JoinHostPort(host, port)
		}
		return []string{"https://" + host + "/"}
	case "tcp":
		return []string{fmt.Sprintf("ssh -N -L %[2]d:%[1]s:%[2]d gateway", t.Name, t.Port)}
	}
	var ways []string
	for _, login := range t.Logins {
		ways = append(ways, fmt.Sprintf("ssh -J gateway %[1]s@%[2]s   ssh %[1]s+%[2]s@gateway", login, t.Name))
	}
	return ways
}

func listWindows(w io.Writer, desk access.Desk) {
	if len(desk.Windows) == 0 {
		return
	}
	fmt.Fprint(w, "\nWindows / 利用可能時間\n")
	for _, window := range desk.Windows {
		until := window.Until.Format("2006-01-02 15:04 MST")
		state := "open until " + until + " / " + until + " まで利用可"
		switch {
		case window.Open && window.Long:
			state = "open / 利用可"
		case !window.Open && window.Long:
			state = "closed / 利用不可"
		case !window.Open:
			state = "opens " + until + " / " + until + " から利用可"
		}
		fmt.Fprintf(w, "  %s\t%s\n", window.Name, state)
	}
}

// statuses are those of a request in Japanese.
var statuses = map[access.RequestStatus]string{access.RequestPending: "承認待ち", access.RequestApproved: "承認済み",
	access.RequestDenied: "却下", access.RequestExpired: "期限切れ", access.RequestCancelled: "取消"}

func listRequests(w io.Writer, desk access.Desk) {
	if len(desk.Requests) == 0 {
		return
	}
	fmt.Fprint(w, "\nRequests / 申請\n")
	for _, r := range desk.Requests {
		what := r.Command
		if what == "" && len(r.Scopes) > 0 {
			what = fmt.Sprintf("%s %s", r.Scopes[0].Right, r.Scopes[0].Pattern)
		}
		fmt.Fprintf(w, "  %s\t%s / %s\t%s\t%s\n", r.ID, r.Status, statuses[r.Status], r.Target, oneLine(what))
	}
}

func listLeases(w io.Writer, desk access.Desk) {
	if len(desk.Leases) == 0 {
		return
	}
	fmt.Fprint(w, "\nLeases / 承認による許可\n")
	for _, l := range desk.Leases {
		from := ""
		if l.From.After(desk.Now) {
			from = l.From.In(desk.Now.Location()).Format("2006-01-02 15:04") + " – "
		}
		fmt.Fprintf(w, "  %s\t%s\t%s %s\t%s%s\n", l.ID, l.Target, l.Right, oneLine(l.Pattern), from,
			l.Until.In(desk.Now.Location()).Format("2006-01-02 15:04 MST"))
	}
}

// oneLine is text of the person's own, safe for a line of a list.
func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(text, 160))
}

// speak takes a channel for the gateway itself: it waits for what the client wants to start, lets say answer and closes.
// It returns when the client has closed its side too.
func speak(nc ssh.NewChannel, say func(client ssh.Channel, start *ssh.Request, terminal bool)) {
	client, requests, err := nc.Accept()
	if err != nil {
		return
	}
	terminal, started := false, false
	for req := range requests {
		switch req.Type {
		case "pty-req":
			_, terminal = parseTerminal(req.Payload)
			reply(req, terminal && !started)
		case "shell", "exec", "subsystem":
			reply(req, !started)
			if !started {
				started = true
				say(client, req, terminal)
				client.Close()
			}
		default:
			reply(req, false)
		}
	}
}

// reply answers a request if an answer is wanted.
func reply(req *ssh.Request, ok bool) {
	if req.WantReply {
		req.Reply(ok, nil)
	}
}
