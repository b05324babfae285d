package sshproxy

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// maxBanner bounds what a target may say before the login there.
const maxBanner = 4 << 10

// link is a session and the SSH connection to its target.
type link struct {
	session *access.Session
	client  ssh.Conn
	wire    *wire           // under client
	down    context.Context // ends when the transport to the target does

	accountOnce sync.Once
	theAccount  account

	mu     sync.Mutex // guards the field below
	banner string     // what the target said before the login; not yet shown
}

// watched is a connection that says when reading from it failed, which is before its channels see their end.
type watched struct {
	net.Conn
	broke context.CancelFunc
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.broke()
	}
	return n, err
}

// lost is what to tell when the connection to the target broke.
func (l *link) lost() told {
	return told{noticef("the connection to %s was lost (session %s)", "%s との接続が切れました (セッション %s)",
		l.session.Target().Name, l.session.ID())}
}

// takeBanner returns the target's banner once.
func (l *link) takeBanner() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	banner := l.banner
	l.banner = ""
	return banner
}

// dial connects to the target through the session and proves both sides: the target by its host key, the gateway by a
// certificate of two minutes.
func (c *connection) dial(session *access.Session) (*link, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.proxy.cfg.Limits.Upstream)
	defer cancel()
	defer context.AfterFunc(session.Context(), cancel)()
	check := newHostCheck(session.Target(), c.proxy.cfg.Now)
	for {
		check.begin()
		l, err := c.handshake(ctx, session, check)
		if err == nil {
			return l, nil
		}
		if ended := session.Context().Err(); ended != nil {
			return nil, causeOf(session)
		}
		if check.accepted || ctx.Err() != nil || !check.another() {
			return nil, c.unreached(session, check, err)
		}
	}
}

func (c *connection) handshake(ctx context.Context, session *access.Session, check *hostCheck) (*link, error) {
	raw, err := session.Dial(ctx)
	if err != nil {
		return nil, errUnreachable{err}
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	l := &link{session: session, wire: newWire(raw)}
	cfg, err := c.clientConfig(l, check)
	if err != nil {
		raw.Close()
		return nil, err
	}
	down, broke := context.WithCancel(context.Background())
	client, channels, requests, err := ssh.NewClientConn(&watched{Conn: l.wire, broke: broke}, session.Target().Name, cfg)
	if err != nil {
		broke()
		return nil, err
	}
	l.down = down
	l.client = client
	// Nothing a target asks of the connection is passed on: its requests are answered with a refusal, which is what
	// keepalives want, and the channels it opens (agent, X11, forwarded ports) are refused.
	go ssh.DiscardRequests(requests)
	go func() {
		for nc := range channels {
			nc.Reject(ssh.Prohibited, "forwarding is not available")
		}
	}()
	return l, nil
}

func (c *connection) clientConfig(l *link, check *hostCheck) (*ssh.ClientConfig, error) {
	login := l.session.Login()
	signer, err := c.proxy.cfg.Authority.UpstreamSigner(login, c.principal.Person+" "+l.session.ID())
	if err != nil {
		return nil, err
	}
	return &ssh.ClientConfig{
		Config:            transport(clientCiphers),
		User:              login,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   check.callback,
		HostKeyAlgorithms: check.algorithms,
		// The name OpenSSH's server knows as one that understands eow@openssh.com.
		ClientVersion: serverVersion,
		BannerCallback: func(message string) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.banner = clean(l.banner+strings.ReplaceAll(message, "\r\n", "\n"), maxBanner)
			return nil
		},
	}, nil
}

// errUnreachable marks a target that did not answer.
type errUnreachable struct{ error }

func (e errUnreachable) Unwrap() error { return e.error }

// unreached words why a session has no target, puts it on record and logs the cause, which contractors do not see.
func (c *connection) unreached(session *access.Session, check *hostCheck, err error) error {
	name, id := session.Target().Name, session.ID()
	detail := map[string]any{}
	var say notice
	switch {
	case !check.accepted && check.problem != nil:
		detail["reason"], detail["expected"], detail["shown"] = "host key: "+check.problem.why, check.problem.expected, check.problem.shown
		err = check.problem
		say = noticef("%s did not prove that it is %s: %s.\nexpected %s, shown %s. Nothing was sent to it; tell its owner (session %s)",
			"%[2]s のホスト鍵が登録と一致しません。登録 %[4]s、提示 %[5]s\n何も送信していません。管理者に連絡してください (セッション %[6]s)",
			name, name, check.problem.why, check.problem.expected, check.problem.shown, id)
	case errors.As(err, new(errUnreachable)):
		detail["reason"] = "unreachable"
		say = noticef("%s cannot be reached now; try again later or tell its owner (session %s)",
			"%s に接続できません。後で再試行するか、管理者に連絡してください (セッション %s)", name, id)
	case check.accepted && strings.Contains(err.Error(), "unable to authenticate"):
		detail["reason"] = "the target refused the gateway's certificate"
		say = noticef("%s does not let the gateway in as %s; its owner must trust the gateway's certificate for that login (session %s)",
			"%s がゲートウェイの %s としての接続を受け付けません。管理者に設定を依頼してください (セッション %s)", name, session.Login(), id)
	default:
		detail["reason"] = "the SSH handshake failed"
		say = noticef("%s did not answer as an SSH server should; tell its owner (session %s)",
			"%s が SSH サーバーとして正しく応答しません。管理者に連絡してください (セッション %s)", name, id)
	}
	c.proxy.cfg.Log.Warn("target not reached", zap.String("session", id), zap.String("target", name), zap.Error(err))
	if err := session.Event(context.WithoutCancel(c.ctx), recorder.ClassCommand, "session.failed", recorder.Failed, detail); err != nil {
		c.proxy.cfg.Log.Error("a failed connection is not on record", zap.String("session", id), zap.Error(err))
	}
	return told{say}
}
