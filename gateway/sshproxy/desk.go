package sshproxy

import (
	"errors"
	"fmt"
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
	text := noticeTrouble.text()
	if refusal, ok := errors.AsType[*access.Refusal](err); ok {
		text = refusalText(refusal)
	} else if t, ok := errors.AsType[told](err); ok {
		text = t.text()
	} else if ended, ok := errors.AsType[*access.Ended](err); ok {
		text = endedNotice(ended).text()
	} else {
		c.proxy.cfg.Log.Error("no session could be opened", zap.String("person", c.principal.Person), zap.Error(err))
	}
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

func (c *connection) greeting() string {
	return fmt.Sprintf(`sekisho: you are %[1]s (%[2]s), and your login works.
  There is no shell on the gateway itself. Reach a target with
    ssh -J gateway LOGIN@TARGET        for example: ssh -J gateway app@db1
    ssh LOGIN+TARGET@gateway           for example: ssh app+db1@gateway
  Your targets are listed at %[3]s
sekisho: %[1]s (%[2]s) としてログインしています。
  ゲートウェイ自体にシェルはありません。対象には次のように接続します:
    ssh -J gateway LOGIN@TARGET        例: ssh -J gateway app@db1
    ssh LOGIN+TARGET@gateway           例: ssh app+db1@gateway
  接続できる対象の一覧: %[3]s
`, c.principal.Person, c.principal.Vendor, c.proxy.cfg.Console)
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
