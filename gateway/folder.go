package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// Init makes a gateway's folder: configuration, certificate authorities and a copy of the shipped policy. It refuses a
// folder that already is one.
func Init(cfg Config, now func() time.Time) error {
	cfg.fill()
	if err := cfg.check(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, ConfigFile)); err == nil {
		return fmt.Errorf("%s already is a gateway's folder; nothing was changed", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := identity.CreateAuthority(cfg.Dir, cfg.keySource(), now); err != nil {
		return err
	}
	if err := publishCAs(cfg, now); err != nil {
		return err
	}
	if err := copyPolicy(filepath.Join(cfg.Dir, policyDir)); err != nil {
		return fmt.Errorf("copying the shipped policy: %w", err)
	}
	return cfg.Save()
}

// publishCAs puts what others are to trust where they find it: ca.pem for browsers and API clients, ssh_upstream_ca.pub for
// targets (TrustedUserCAKeys), ssh_host_ca.pub for ssh clients (@cert-authority).
func publishCAs(cfg Config, now func() time.Time) error {
	authority, err := identity.OpenAuthority(cfg.Dir, cfg.keySource(), now)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"ca.pem":              authority.RootPEM(),
		"ssh_upstream_ca.pub": ssh.MarshalAuthorizedKey(authority.UpstreamCA()),
		"ssh_host_ca.pub":     ssh.MarshalAuthorizedKey(authority.HostCA()),
	} {
		if err := os.WriteFile(filepath.Join(cfg.Dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyPolicy writes the shipped policy folder; files that stand there already are kept.
func copyPolicy(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := rego.FS.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := rego.FS.ReadFile(e.Name())
		if err != nil {
			return err
		}
		path := filepath.Join(dir, e.Name())
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// takeLock makes sure that one gateway at a time uses the folder.
func (g *Gateway) takeLock(context.Context, Options) error {
	f, err := os.OpenFile(g.path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("locking the gateway's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("another gateway already uses %s", g.cfg.Dir)
	}
	g.lock = f
	return nil
}

// openPolicy puts the policy revision in force that is stored; at the first start that is the folder's policy.
func (g *Gateway) openPolicy(ctx context.Context, opts Options) error {
	var err error
	g.policy, err = revision.New(ctx, revision.Config{
		Store: g.db.Revision(), Signer: g.authority.EvidenceSigner(), Append: g.audit.Append, LastApplied: g.lastApplied,
		Folder:    revision.Folder{Dir: g.path(policyDir), Journal: g.path(policyJournal)},
		Directory: g.policyDirectory, SecondPerson: g.cfg.Policy.SecondPerson, Now: opts.Now, Log: opts.Log.Named("policy"),
	})
	if err != nil {
		return err
	}
	g.engine = g.policy.Engine()
	return nil
}

// lastApplied finds the policy change that is on record last.
func (g *Gateway) lastApplied(ctx context.Context) (recorder.Event, bool, error) {
	for e, err := range g.audit.Search(ctx, audit.Query{Class: recorder.ClassConfig, Kind: revision.AppliedKind, Limit: 1}) {
		return e, err == nil, err
	}
	return recorder.Event{}, false, nil
}

// policyDirectory is what the directory in force says to a new policy.
func (g *Gateway) policyDirectory() revision.Directory {
	if g.directory == nil {
		return revision.Directory{}
	}
	dir := g.directory.Current()
	known := revision.Directory{Vendors: []string{}, Targets: []string{}, Windows: []string{}, Roles: directory.Roles,
		Same: func(a, b string) bool { return slices.Contains(dir.Same(a), b) }}
	for _, p := range dir.People() {
		in, ok := dir.Input(p.ID, policy.GatewayTarget, "")
		if !ok || !p.Staff() {
			continue
		}
		known.Staff = append(known.Staff, g.present(in))
		if slices.Contains(p.Roles, directory.RoleAdmin) {
			known.Admins = append(known.Admins, g.present(in))
		}
	}
	for _, v := range dir.Vendors() {
		known.Vendors = append(known.Vendors, v.ID)
		known.Windows = append(known.Windows, v.Windows...)
	}
	for _, t := range dir.Targets() {
		known.Targets = append(known.Targets, t.Name)
	}
	return known
}

// present has somebody of the directory stand before the gateway as they do when they have just logged in.
func (g *Gateway) present(in policy.Input) policy.Input {
	now := g.now()
	in.Auth = policy.Auth{Kind: "human", Cert: policy.Cert{Serial: "present", NotAfter: now.AddDate(0, 0, 1)},
		MFA: policy.MFA{Method: "webauthn", At: now, UV: true}}
	in.Time = policy.Clock{Now: now, Zone: g.cfg.Zone}
	return in
}
