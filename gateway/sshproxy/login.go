package sshproxy

import (
	"bytes"
	"context"
	"errors"
	"net"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// How people logged in, as the R-1 event says it.
const (
	methodCertificate = "ssh-certificate"
	methodApproval    = "ssh-certificate+approval"
)

// serverVersion begins as it does because OpenSSH's client sends eow@openssh.com to servers of that name only, and without
// it `ssh db1 yes | head -1` never ends.
const serverVersion = "SSH-2.0-OpenSSH_sekisho"

// proof is what a login has proved. It travels in the permissions of the attempt that proved it.
type proof struct {
	principal identity.Principal
	key       *ssh.Certificate
}

type provedKey struct{}

var (
	errNotOurs  = errors.New("not a certificate of this gateway")
	errNoneAuth = errors.New("a certificate is required")
	errPanicked = errors.New("the gateway failed; try again")
)

// config is the server side of one connection, with these ciphers: certificates only.
func (c *peer) config(ciphers []string) *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		Config:                  transport(ciphers),
		ServerVersion:           serverVersion,
		PublicKeyAuthAlgorithms: userKeys,
		// The listener shell sets NoClientAuth when no handler of its own is set; without this callback everybody would be in.
		NoClientAuthCallback: func(ssh.ConnMetadata) (*ssh.Permissions, error) { return nil, errNoneAuth },
		PublicKeyCallback: func(conn ssh.ConnMetadata, key ssh.PublicKey) (_ *ssh.Permissions, err error) {
			defer c.proxy.guard("key offer", func() { err = errPanicked })
			return &ssh.Permissions{}, c.offered(key)
		},
		VerifiedPublicKeyCallback: func(conn ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (_ *ssh.Permissions, err error) {
			defer c.proxy.guard("login", func() { err = errPanicked })
			return c.login(conn, key)
		},
		AuthLogCallback: func(_ ssh.ConnMetadata, _ string, err error) {
			if err == nil {
				c.loggedIn = c.proxy.cfg.Now()
				c.enter()
			}
		},
	}
	for _, signer := range c.proxy.hostSigners(c.LocalAddr()) {
		cfg.AddHostKey(signer)
	}
	return cfg
}

// hostSigners is the gateway's own host key, as a certificate for the names it is known by and plain. Without any the
// handshake fails, which is the safe side.
func (p *Proxy) hostSigners(local net.Addr) []ssh.Signer {
	names := append([]string{p.host, "gateway"}, p.cfg.Names...)
	if ip := sourceOf(local).Addr(); ip.IsValid() {
		names = append(names, ip.String())
		if ip.IsLoopback() {
			names = append(names, "localhost")
		}
	}
	signers, err := p.cfg.Authority.HostSigners(names...)
	if err != nil {
		p.cfg.Log.Error("no host key", zap.Error(err))
	}
	return signers
}

// offered answers whether a key is worth a signature. It decides nothing: a certificate that our authority signed goes on,
// so that one which expired or was revoked can be told why, and what is foreign is passed over without a word, because
// clients offer every key they have.
func (c *peer) offered(key ssh.PublicKey) error {
	cert, ok := key.(*ssh.Certificate)
	if !ok || !signedBy(cert, c.proxy.cfg.Authority.UserCA()) {
		return errNotOurs
	}
	c.claim(claimedBy(cert))
	return nil
}

// signedBy tells whether a certificate is the authority's word. Before that is known, nothing the certificate says is
// worth a line in anybody's record.
func signedBy(cert *ssh.Certificate, authority ssh.PublicKey) bool {
	if authority == nil || cert.SignatureKey == nil || cert.Signature == nil ||
		!bytes.Equal(cert.SignatureKey.Marshal(), authority.Marshal()) {
		return false
	}
	unsigned := *cert
	unsigned.Signature = nil
	signed := unsigned.Marshal()
	// Marshal ends with the signature's length, 0 here, which is not part of what was signed.
	return authority.Verify(signed[:len(signed)-4], cert.Signature) == nil
}

func (c *peer) claim(person string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed = person
}

// claimedBy is the person a certificate names, for the record of a failed login only.
func claimedBy(cert *ssh.Certificate) string {
	if len(cert.ValidPrincipals) != 1 || !printable(cert.ValidPrincipals[0], 128) {
		return "(certificate without one principal)"
	}
	return cert.ValidPrincipals[0]
}

// login decides, now that possession of the key is proved.
func (c *peer) login(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	c.claim("")
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errNotOurs
	}
	who, err := c.check(conn, cert)
	if errors.Is(err, identity.ErrForeign) || errors.Is(err, identity.ErrNoCertificate) {
		return nil, err
	}
	if err != nil {
		c.refused(conn, who, cert, err)
		return nil, &ssh.BannerError{Err: err, Message: loginNotice(err, c.proxy.cfg.Console).banner()}
	}
	method := methodCertificate
	if !who.Fresh {
		method = methodApproval
		if err := c.approve(conn, cert, &who); err != nil {
			c.refused(conn, who, cert, err)
			return nil, &ssh.BannerError{Err: err, Message: approvalNotice(err).banner()}
		}
	}
	if !c.admit(who.Principal.Person) {
		c.refused(conn, who, cert, errTooManyConnections)
		return nil, &ssh.BannerError{Err: errTooManyConnections, Message: noticeTooMany.banner()}
	}
	attempt := access.Attempt{Kind: "login.ssh", Outcome: recorder.OK, Principal: who.Principal, Method: method,
		Detail: map[string]any{"key": who.Fingerprint}}
	if err := c.proxy.cfg.Door.Login(c.ctx, attempt); err != nil {
		c.proxy.cfg.Log.Error("a login is not on record and was refused", zap.Error(err))
		return nil, &ssh.BannerError{Err: err, Message: noticeTrouble.banner()}
	}
	perms := &ssh.Permissions{ExtraData: map[any]any{provedKey{}: &proof{principal: who.Principal, key: cert}}}
	if sources, ok := cert.CriticalOptions["source-address"]; ok {
		perms.CriticalOptions = map[string]string{"source-address": sources}
	}
	return perms, nil
}

// check asks the registry about the certificate and adds what the connection knows.
func (c *peer) check(conn ssh.ConnMetadata, cert *ssh.Certificate) (identity.SSHLogin, error) {
	who, err := c.proxy.cfg.Registry.CheckSSH(c.ctx, cert, c.source.Addr())
	who.Principal.Source = c.source
	who.Principal.Client = clientOf(conn)
	return who, err
}

// clientOf is the client's software as it names itself.
func clientOf(conn ssh.ConnMetadata) string {
	version := bytes.TrimPrefix(conn.ClientVersion(), []byte("SSH-2.0-"))
	return clean(string(version), 128)
}

func (c *peer) refused(conn ssh.ConnMetadata, who identity.SSHLogin, cert *ssh.Certificate, err error) {
	// The registry fills the person only of a certificate that holds; what another one says stays a claim.
	nobody := identity.Principal{Source: c.source, Client: clientOf(conn), Serial: who.Principal.Serial}
	if who.Principal.Person != "" {
		nobody = who.Principal
	}
	c.proxy.failed(c.ctx, nobody, claimedBy(cert), reasonOf(err))
}

// reasonOf is the short form of why a login failed, for the record.
func reasonOf(err error) string {
	for _, known := range []error{identity.ErrExpired, identity.ErrRevoked, identity.ErrPrincipals, identity.ErrNotEnrolled,
		identity.ErrWaiting, identity.ErrCertified, identity.ErrSource, identity.ErrWrongCode, identity.ErrPendingExists,
		identity.ErrLimit, identity.ErrEmergencyOver, errClientLeft, errTooManyPending, errTooManyConnections} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "internal error"
}

// Why a login failed, beside the registry's reasons.
var (
	errClientLeft         = errors.New("the client went away")
	errTooManyPending     = errors.New("too many logins are waiting for approval")
	errTooManyConnections = errors.New("too many connections of one person")
)

// approve shows the contractor where to confirm the login in the browser, and the code to type there, and waits.
func (c *peer) approve(conn ssh.ConnMetadata, cert *ssh.Certificate, who *identity.SSHLogin) error {
	limits := c.proxy.cfg.Limits
	if !c.proxy.pending.take() {
		return errTooManyPending
	}
	defer c.proxy.pending.give()
	ctx, cancel := context.WithTimeout(c.ctx, limits.Approval)
	defer cancel()
	pending, err := c.proxy.cfg.Registry.Pend(ctx, identity.PendingRequest{
		Person: who.Principal.Person, Serial: who.Principal.Serial, Source: c.source.Addr(), Client: who.Principal.Client,
		Target: pendingTarget(conn.User()), SSHSessionID: conn.SessionID(),
	})
	if err != nil {
		return err
	}
	// The login grace is for clients that do not answer; this wait is ours.
	c.grace.Reset(limits.Approval + limits.Grace)
	banner := approveNotice(c.proxy.cfg.Console+"/ssh/"+pending.ID, pending.Code).banner()
	if err := conn.(ssh.ServerPreAuthConn).SendAuthBanner(banner); err != nil {
		return errClientLeft
	}
	mfa, err := pending.Wait(ctx)
	switch {
	case c.ctx.Err() != nil:
		return errClientLeft
	case errors.Is(err, context.DeadlineExceeded):
		return identity.ErrExpired
	case err != nil:
		return err
	}
	// Two minutes are enough for a certificate to expire or be revoked.
	again, err := c.check(conn, cert)
	if err != nil {
		return err
	}
	*who = again
	who.Principal.MFA = mfa
	return nil
}

// pendingTarget is what the approving person is shown as the target: a jump names it only after the login.
func pendingTarget(user string) string {
	if a, named, ok := parseAddress(user); ok && named {
		return a.login + "@" + a.target
	}
	return ""
}
