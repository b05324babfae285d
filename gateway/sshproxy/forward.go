package sshproxy

import (
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// maxEndpoints is how many TCP targets one connection may forward to.
const maxEndpoints = 8

// serveTCP takes a direct-tcpip channel (-L, -D, -W) to a TCP target. The name is a target's and the port its own: what else
// stands in a network is nobody's business, and a target's SSH is reached through a jump alone.
func (c *connection) serveTCP(nc ssh.NewChannel, f forward) {
	if !c.channels.take() {
		nc.Reject(ssh.ResourceShortage, "too many channels on one connection; close some or open another connection")
		return
	}
	defer c.channels.give()
	session, err := c.endpoint(f.Host)
	if err != nil {
		c.rejectForward(nc, err)
		return
	}
	number := c.numbers.Add(1)
	if port := session.Target().Port; uint32(port) != f.Port {
		c.rejectForward(nc, told{noticef("%s listens on port %d, not %d", "%s のポートは %d です（指定は %d）", f.Host, port, f.Port)})
		return
	}
	grant, err := session.Authorize(c.ctx, access.Operation{Kind: "tcp.forward", Channel: number})
	if err != nil {
		c.rejectForward(nc, err)
		return
	}
	conn, err := session.Dial(c.ctx)
	if err != nil {
		grant.End(recorder.Failed, map[string]any{"reason": "unreachable"})
		c.rejectForward(nc, told{noticef("%s cannot be reached now", "%s に接続できません", f.Host)})
		return
	}
	defer conn.Close()
	accepted, requests, err := nc.Accept()
	if err != nil {
		grant.End(recorder.Lost, map[string]any{"reason": "the client has gone"})
		return
	}
	client := bulk{accepted, c.wire}
	go ssh.DiscardRequests(requests)
	var sent, received atomic.Int64
	var both sync.WaitGroup
	move := func(from io.Reader, kind recorder.Kind, to io.Writer, count *atomic.Int64) error {
		return pump(from, func(data []byte) error {
			if err := session.Record(number, kind, data); err != nil {
				return err
			}
			n, err := to.Write(data)
			count.Add(int64(n))
			return err
		})
	}
	stop := func() { client.Close(); conn.Close() }
	both.Go(func() {
		defer c.proxy.guard("forward to the target", stop)
		if move(client, recorder.KindInput, conn, &sent) != nil || closeWrite(conn) != nil {
			stop()
		}
	})
	both.Go(func() {
		defer c.proxy.guard("forward to the client", stop)
		if move(conn, recorder.KindOutput, client, &received) != nil || client.CloseWrite() != nil {
			stop()
		}
	})
	both.Wait()
	client.Close()
	grant.End(recorder.OK, map[string]any{"bytes_sent": sent.Load(), "bytes_received": received.Load()})
}

// closeWrite passes the end of one direction on.
func closeWrite(conn io.Writer) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// endpoint is the session of this connection with a TCP target, opened at its first forward.
func (c *connection) endpoint(target string) (*access.Session, error) {
	c.reaching.Lock()
	defer c.reaching.Unlock()
	c.mu.Lock()
	session, ended, full := c.endpoints[target], c.ended, len(c.endpoints) >= maxEndpoints
	c.mu.Unlock()
	switch {
	case ended:
		return nil, told{noticeOver}
	case session != nil && session.Context().Err() == nil:
		return session, nil
	case full && session == nil:
		return nil, told{noticeEndpoints}
	}
	session, err := c.proxy.cfg.Door.Open(c.ctx, access.Request{Principal: c.principal, Target: target, Protocol: "tcp"})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	ended = c.ended
	if !ended {
		c.endpoints[target] = session
	}
	c.mu.Unlock()
	if ended {
		session.End("disconnected")
		return nil, told{noticeOver}
	}
	return session, nil
}

// rejectForward answers a forward that is not opened; clients show the words in one line.
func (c *connection) rejectForward(nc ssh.NewChannel, err error) {
	text := noticeTrouble.text()
	if refusal, ok := errors.AsType[*access.Refusal](err); ok {
		text = refusal.Message("en")
	} else if said, ok := errors.AsType[told](err); ok {
		text = said.notice.text()
	} else if ended, ok := errors.AsType[*access.Ended](err); ok {
		text = endedNotice(ended).text()
	} else {
		c.proxy.cfg.Log.Error("a forward could not be decided", zap.Error(err))
	}
	nc.Reject(ssh.Prohibited, strings.Join(strings.Fields(text), " "))
}
