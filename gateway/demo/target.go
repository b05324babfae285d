package demo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"
)

// What one target puts up with from its peers.
const (
	targetConns      = 64
	targetSessions   = 32 // per connection
	targetLoginGrace = 20 * time.Second
	targetHangup     = time.Second // between SIGHUP and SIGKILL
)

// TargetConfig says where a demo target lives and whom it lets in.
type TargetConfig struct {
	Name        string        // shown in the prompt; "" takes the last element of Dir
	Dir         string        // HOME of every login; made and filled with a few files when it does not exist
	HostKeyFile string        // OpenSSH private key; made with mode 0600 when it does not exist
	UserCA      ssh.PublicKey // the gateway's upstream CA
	Logins      []string      // at least one
	Hidden      []string      // folders its shells may never read beside the user's own home: the gateway's
	Now         func() time.Time
	Log         *zap.Logger // optional
}

// Target is an SSH server for one folder. It runs as the user who started it, needs no root, and lets in certificates of
// one CA only.
type Target struct {
	cfg     TargetConfig
	signer  ssh.Signer
	server  *ssh.ServerConfig
	sandbox sandbox

	conns sync.WaitGroup
}

// NewTarget checks everything, makes the folder and the host key where they are missing, and listens to nothing yet.
// The program's main must call ShellMain first.
func NewTarget(cfg TargetConfig) (*Target, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := seedHome(cfg.Dir); err != nil {
		return nil, err
	}
	// Landlock rules and the shells' HOME name the folder itself, whatever links lead to it.
	dir, err := filepath.EvalSymlinks(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if cfg.Dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	t := &Target{cfg: cfg, sandbox: newSandbox(cfg.Dir, cfg.Hidden)}
	if t.signer, err = hostKey(cfg.HostKeyFile); err != nil {
		return nil, err
	}
	t.server = &ssh.ServerConfig{
		PublicKeyCallback: t.authenticate,
		MaxAuthTries:      3,
		ServerVersion:     "SSH-2.0-sekisho-demo-target",
	}
	t.server.AddHostKey(t.signer)
	if why := t.sandbox.missing(); why != "" {
		cfg.Log.Warn("the demo target's shells are not confined: " + why)
	}
	return t, nil
}

func (cfg *TargetConfig) check() error {
	switch {
	case !shellReady.Load():
		return errors.New("demo target: the program must call demo.ShellMain before anything else")
	case cfg.Dir == "" || cfg.HostKeyFile == "":
		return errors.New("demo target: Dir and HostKeyFile are required")
	case cfg.UserCA == nil:
		return errors.New("demo target: UserCA is required: without it nobody could be told from anybody")
	case len(cfg.Logins) == 0:
		return errors.New("demo target: at least one login is required")
	}
	if cfg.Name == "" {
		cfg.Name = filepath.Base(cfg.Dir)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return nil
}

// HostKey is the SHA256:… fingerprint of the target's host key.
func (t *Target) HostKey() string { return ssh.FingerprintSHA256(t.signer.PublicKey()) }

// Confined says whether the kernel keeps the target's shells inside their folder.
func (t *Target) Confined() bool { return t.sandbox.missing() == "" }

// Serve accepts connections until ctx ends or the listener fails, and returns when the last shell is gone.
func (t *Target) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer t.conns.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	slots := make(chan struct{}, targetConns)
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting connections of demo target %s: %w", t.cfg.Name, err)
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close()
			continue
		}
		t.conns.Go(func() {
			defer func() { <-slots }()
			t.serveConn(ctx, c)
		})
	}
}

func (t *Target) serveConn(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	grace := time.AfterFunc(targetLoginGrace, func() { c.Close() })
	sc, channels, requests, err := ssh.NewServerConn(c, t.server)
	if err != nil {
		t.cfg.Log.Debug("demo target refused a connection", zap.String("target", t.cfg.Name), zap.Error(err))
		return
	}
	grace.Stop()
	go ssh.DiscardRequests(requests)
	var open sync.WaitGroup
	defer open.Wait()
	slots := make(chan struct{}, targetSessions)
	for nc := range channels {
		if nc.ChannelType() != "session" {
			nc.Reject(ssh.Prohibited, "the demo target offers sessions only")
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			nc.Reject(ssh.ResourceShortage, "too many sessions on this connection")
			continue
		}
		open.Go(func() {
			defer func() { <-slots }()
			t.serveChannel(sc, nc)
		})
	}
}

// authenticate lets in a certificate of the upstream CA that names the login as its one and only principal. An empty
// list of principals would mean anybody to the checker, so the count is ours to check.
func (t *Target) authenticate(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	cert, ok := key.(*ssh.Certificate)
	switch {
	case !ok:
		return nil, errors.New("a certificate of the gateway's upstream CA is required")
	case cert.CertType != ssh.UserCert:
		return nil, errors.New("not a user certificate")
	case !bytes.Equal(cert.SignatureKey.Marshal(), t.cfg.UserCA.Marshal()):
		return nil, errors.New("the certificate is from another CA")
	case len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] != conn.User():
		return nil, fmt.Errorf("the certificate must name %q as its only principal", conn.User())
	case !slices.Contains(t.cfg.Logins, conn.User()):
		return nil, fmt.Errorf("no login %q here", conn.User())
	}
	checker := ssh.CertChecker{
		IsUserAuthority: func(ca ssh.PublicKey) bool { return bytes.Equal(ca.Marshal(), t.cfg.UserCA.Marshal()) },
		Clock:           t.cfg.Now,
	}
	return checker.Authenticate(conn, key)
}

// hostKey reads the key or makes one.
func hostKey(file string) (ssh.Signer, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeHostKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("host key of the demo target: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("host key of the demo target %s: %w; delete the file to get a new key", file, err)
	}
	return signer, nil
}

func makeHostKey(file string) ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "sekisho demo target")
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(block)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	return text, writeFile(file, text, 0o600)
}
