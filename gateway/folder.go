package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
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

// openPolicy loads the folder's policy and puts it in force.
func (g *Gateway) openPolicy(ctx context.Context, opts Options) error {
	rev, err := g.readPolicy(ctx)
	if err != nil {
		return err
	}
	g.engine = policy.NewEngine(rev, opts.Now)
	return nil
}

// ReloadPolicy reads the folder's policy again and puts it in force for new and live sessions alike. With a policy that does
// not load the one in force stays.
func (g *Gateway) ReloadPolicy(ctx context.Context) error {
	rev, err := g.readPolicy(ctx)
	if err != nil {
		return err
	}
	if rev.Number() != g.engine.Revision().Number() {
		g.engine.Swap(rev)
	}
	return nil
}

// readPolicy loads the folder's policy. Its number rises by one whenever the content changed since it was last loaded, and
// that change is on record before it is in force.
func (g *Gateway) readPolicy(ctx context.Context) (*policy.Revision, error) {
	last, err := g.lastRevision()
	if err != nil {
		return nil, err
	}
	fsys := os.DirFS(g.path(policyDir))
	rev, err := LoadPolicy(fsys, last.Number+1)
	if err != nil {
		return nil, fmt.Errorf("policy in %s: %w", g.path(policyDir), err)
	}
	if rev.Hash() == last.Hash {
		return LoadPolicy(fsys, last.Number)
	}
	return rev, g.notePolicy(ctx, last, revisionNote{Number: rev.Number(), Hash: rev.Hash()})
}

// LoadPolicy loads a policy folder whole: its rules, tables and command catalogue.
func LoadPolicy(fsys fs.FS, number int) (*policy.Revision, error) {
	rev, err := policy.Load(fsys, number)
	if err != nil {
		return nil, err
	}
	if _, err := command.ParseCatalogue("commands.yaml", rev.Commands()); err != nil {
		return nil, err
	}
	return rev, nil
}

// revisionNote remembers which policy was last in force.
type revisionNote struct {
	Number int    `json:"number"`
	Hash   string `json:"hash"`
}

const revisionFile = "policy.revision"

func (g *Gateway) lastRevision() (revisionNote, error) {
	var last revisionNote
	data, err := os.ReadFile(g.path(revisionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return last, nil
	}
	if err != nil {
		return last, err
	}
	if err := json.Unmarshal(data, &last); err != nil {
		return last, fmt.Errorf("%s is damaged; restore it, or delete it to number revisions from 1 again: %w", g.path(revisionFile), err)
	}
	return last, nil
}

func (g *Gateway) notePolicy(ctx context.Context, before, after revisionNote) error {
	detail := map[string]any{"what": "policy folder", "after": after}
	if before.Number > 0 {
		detail["before"] = before
	}
	ev := recorder.Event{Class: recorder.ClassConfig, Kind: "policy.applied", Outcome: recorder.OK,
		Target: policy.GatewayTarget, Revision: after.Number, Detail: detail}
	if _, err := g.audit.Append(ctx, ev); err != nil {
		return fmt.Errorf("recording the policy revision: %w", err)
	}
	data, err := json.Marshal(after)
	if err != nil {
		return err
	}
	return os.WriteFile(g.path(revisionFile), append(data, '\n'), 0o600)
}
