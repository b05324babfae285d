// Package gateway puts the whole gateway together from a folder: configuration, keys, policy, directory, state, the door,
// the SSH and HTTPS proxies and the console. New checks everything; nothing listens until Serve.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/gateway/sshproxy"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/gateway/webproxy"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Names of what stands in a gateway's folder.
const (
	policyDir     = "policy"
	policyJournal = "policy.forward"
	auditDir      = "audit"
	recordingsDir = "recordings"
	databaseFile  = "state.db"
	socketFile    = "sekisho.sock"
	lockFile      = "sekisho.lock"
)

// Gateway is a whole gateway, ready to serve.
type Gateway struct {
	cfg       Config
	log       *zap.Logger
	now       func() time.Time
	zone      *time.Location
	lock      *os.File
	authority *identity.Authority
	db        *store.DB
	directory *directory.Live
	policy    *revision.Live
	engine    *policy.Engine
	audit     *audit.Log
	registry  *identity.Registry
	door      *access.Door
	console   *console.Console
	web       *webproxy.Proxy
	ssh       *sshproxy.Proxy
	strangers strangers
	holders   chan struct{} // capacity 1: what people named for emergencies hold may have changed

	// SSH and HTTPS are the listeners; Listen sets them.
	SSH, HTTPS net.Listener
	socket     net.Listener
}

// Options are what a gateway takes from outside its folder. Every field is optional.
type Options struct {
	Now func() time.Time // time.Now when nil
	Log *zap.Logger      // silent when nil
}

// New opens the folder and builds the gateway; the caller calls Close when Serve is not reached.
func New(ctx context.Context, cfg Config, opts Options) (*Gateway, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	g := &Gateway{cfg: cfg, log: opts.Log, now: opts.Now}
	for _, step := range []func(context.Context, Options) error{
		g.takeLock, g.openState, g.openPolicy, g.openDirectory, g.openIdentity, g.openDoor, g.openEmergencies, g.openProxies,
	} {
		if err := step(ctx, opts); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	return g, nil
}

func (g *Gateway) path(name string) string { return filepath.Join(g.cfg.Dir, name) }

func (g *Gateway) openState(ctx context.Context, opts Options) error {
	var err error
	if g.authority, err = identity.OpenAuthority(g.cfg.Dir, g.cfg.keySource(), opts.Now); err != nil {
		return err
	}
	if g.db, err = store.Open(ctx, g.path(databaseFile)); err != nil {
		return err
	}
	if err := os.MkdirAll(g.path(recordingsDir), 0o700); err != nil {
		return err
	}
	g.audit, err = audit.Open(audit.Config{Dir: g.path(auditDir), Signer: g.authority.EvidenceSigner(), Now: opts.Now})
	return err
}

func (g *Gateway) openDirectory(ctx context.Context, _ Options) error {
	var err error
	if g.zone, err = time.LoadLocation(g.cfg.Zone); err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	hasWindow := func(name string) bool { return g.engine.Revision().HasWindow(name) }
	g.directory, err = directory.NewLive(ctx, g.db.Directory(), directory.Options{Zone: g.zone, HasWindow: hasWindow})
	return err
}

func (g *Gateway) openIdentity(ctx context.Context, opts Options) error {
	var err error
	g.registry, err = identity.NewRegistry(identity.RegistryConfig{
		Authority: g.authority, Store: g.db.Identity(), RPID: g.cfg.RPID, RPName: "sekisho",
		Origins: []string{g.cfg.URL(g.cfg.ConsoleHost)}, Now: opts.Now, EmergencyFile: g.path(emergencyFile),
	})
	return err
}

func (g *Gateway) openDoor(ctx context.Context, opts Options) error {
	commit := recorder.Interval
	if g.cfg.Recording.Commit == "before-show" {
		commit = recorder.BeforeShow
	}
	idle, err := g.cfg.idle()
	if err != nil {
		return err
	}
	g.door, err = access.New(access.Config{
		Engine: g.engine, Directory: g.directory, Store: g.db.Access(), Audit: g.audit, Zone: g.zone,
		Revoked: g.registry.Revoked, Idle: idle, Now: opts.Now, Log: opts.Log.Named("door"),
		Recording: recorder.Config{Dir: g.path(recordingsDir), Recipient: g.authority.RecordingIdentity().Recipient(),
			Signer: g.authority.EvidenceSigner(), Commit: commit, Now: opts.Now},
	})
	if err != nil {
		return err
	}
	g.registry.OnRevoke(g.door.Recheck)
	return nil
}

func (g *Gateway) openProxies(ctx context.Context, opts Options) error {
	consoleURL := g.cfg.URL(g.cfg.ConsoleHost)
	var err error
	if g.ssh, err = sshproxy.New(sshproxy.Config{Door: g.door, Registry: g.registry, Authority: g.authority,
		Console: consoleURL, Names: g.cfg.SSHNames, Files: g.cfg.Recording.Files, Now: opts.Now,
		Log: opts.Log.Named("ssh")}); err != nil {
		return err
	}
	if g.web, err = webproxy.New(webproxy.Config{Door: g.door, Registry: g.registry, Authority: g.authority,
		Console: consoleURL, Now: opts.Now, Log: opts.Log.Named("web")}); err != nil {
		return err
	}
	g.console, err = console.New(console.Config{Door: g.door, Registry: g.registry, Authority: g.authority,
		Directory: g.directory, Policy: g.policy, Engine: g.engine, Audit: g.audit, Host: g.cfg.ConsoleHost, EnrolHost: g.cfg.EnrolHost,
		BaseURL: consoleURL, EnrolURL: g.cfg.URL(g.cfg.EnrolHost), SSH: g.cfg.sshAddress(), Zone: g.zone,
		Now: opts.Now, Log: opts.Log.Named("console")})
	return err
}

// Listen opens the listeners on the configured addresses, and the folder's socket.
func (g *Gateway) Listen() error {
	if err := g.listenSocket(); err != nil {
		return err
	}
	var err error
	if g.SSH, err = net.Listen("tcp", g.cfg.ListenSSH); err != nil {
		return fmt.Errorf("listen_ssh: %w", err)
	}
	if g.HTTPS, err = net.Listen("tcp", g.cfg.ListenHTTPS); err != nil {
		return errors.Join(fmt.Errorf("listen_https: %w", err), g.SSH.Close())
	}
	return nil
}

// Serve runs the gateway until ctx ends, then ends every session and closes everything it opened. Listen comes first.
func (g *Gateway) Serve(ctx context.Context) error {
	defer g.Close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.door.Serve(ctx) })
	group.Go(func() error { return g.keepHolders(ctx) })
	group.Go(func() error { return g.policy.Serve(ctx) })
	group.Go(func() error { return g.ssh.Serve(ctx, g.SSH) })
	group.Go(func() error { return serveHTTP(ctx, g.httpsServer(), g.HTTPS, true) })
	group.Go(func() error {
		return serveHTTP(ctx, &http.Server{Handler: g.console.BootstrapHandler(), ReadHeaderTimeout: 5 * time.Second}, g.socket, false)
	})
	return group.Wait()
}

// listenSocket opens the folder's socket, which only its owner can reach.
func (g *Gateway) listenSocket() error {
	path := g.path(socketFile)
	// The lock on the folder says no other gateway runs, so a socket found here is a leftover.
	os.Remove(path)
	short, done, err := console.SocketPath(path)
	if err != nil {
		return fmt.Errorf("the folder's socket: %w", err)
	}
	defer done()
	l, err := net.Listen("unix", short)
	if err != nil {
		return fmt.Errorf("the folder's socket: %w", err)
	}
	// Removing it is ours: by the path it was bound to, the listener may no longer find it.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	g.socket = l
	return os.Chmod(path, 0o600)
}

func serveHTTP(ctx context.Context, server *http.Server, l net.Listener, withTLS bool) error {
	stopped := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	})
	defer stopped()
	var err error
	if withTLS {
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close releases the folder. It may be called more than once.
func (g *Gateway) Close() error {
	var errs []error
	if g.audit != nil {
		errs = append(errs, g.audit.Close())
		g.audit = nil
	}
	if g.db != nil {
		errs = append(errs, g.db.Close())
		g.db = nil
	}
	if g.socket != nil {
		g.socket.Close()
		os.Remove(g.path(socketFile))
		g.socket = nil
	}
	if g.lock != nil {
		errs = append(errs, g.lock.Close())
		g.lock = nil
	}
	return errors.Join(errs...)
}

// Revision is the number of the policy in force.
func (g *Gateway) Revision() int { return g.engine.Revision().Number() }
