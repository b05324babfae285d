package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/gateway/store"
	"github.com/sekisho/sekisho/policy"
)

// lowDisk is the free space below which the doctor complains, in bytes.
const lowDisk = 1 << 30

// Finding is one thing the doctor looked at. An empty Problem means it is well.
type Finding struct {
	What    string `json:"what"`
	Detail  string `json:"detail,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// Examine looks at a gateway's folder without changing it; the gateway may be running.
func Examine(ctx context.Context, dir string) []Finding {
	cfg, err := LoadConfig(filepath.Join(dir, ConfigFile))
	if err != nil {
		return []Finding{{What: "configuration", Problem: err.Error()}}
	}
	findings := []Finding{{What: "configuration", Detail: filepath.Join(dir, ConfigFile)}, examineKeys(cfg)}
	findings = append(findings, examinePolicy(ctx, cfg)...)
	findings = append(findings, examineDisk(cfg), examineRunning(cfg))
	return append(findings, examineEmergencies(ctx, cfg)...)
}

func examineKeys(cfg Config) Finding {
	f := Finding{What: "keys", Detail: "every key opens with the master key"}
	if _, err := identity.OpenAuthority(cfg.Dir, cfg.keySource(), time.Now); err != nil {
		f.Problem = err.Error()
	}
	return f
}

// examinePolicy looks at the policy in force, and at the working copy in the folder.
func examinePolicy(ctx context.Context, cfg Config) []Finding {
	inForce := Finding{What: "policy"}
	version, files, err := storedPolicy(ctx, cfg)
	switch {
	case err != nil:
		inForce.Problem = err.Error()
	case version.Number == 0:
		inForce.Detail = "none in force yet; the first start takes the folder's"
	default:
		inForce.Detail = fmt.Sprintf("revision %d by %s is in force", version.Number, version.Author)
	}
	return []Finding{inForce, examineFolder(ctx, cfg, version, files)}
}

// storedPolicy reads the revision in force, checked against its signature, while the gateway may be running.
func storedPolicy(ctx context.Context, cfg Config) (revision.Version, revision.Files, error) {
	path := filepath.Join(cfg.Dir, databaseFile)
	if !exists(path) {
		return revision.Version{}, nil, nil
	}
	authority, err := identity.OpenAuthority(cfg.Dir, cfg.keySource(), time.Now)
	if err != nil {
		return revision.Version{}, nil, err
	}
	db, err := store.OpenForReading(ctx, path)
	if err != nil {
		return revision.Version{}, nil, err
	}
	defer db.Close()
	return revision.InForce(ctx, db.Revision(), authority.EvidenceKey())
}

func examineFolder(ctx context.Context, cfg Config, version revision.Version, files revision.Files) Finding {
	f := Finding{What: "policy folder"}
	dir := filepath.Join(cfg.Dir, policyDir)
	have, err := revision.Read(os.DirFS(dir))
	if err != nil {
		f.Problem = fmt.Sprintf("%s: %v", dir, err)
		return f
	}
	report := policy.Check(ctx, have.FS(), policy.CheckOptions{Commands: revision.ParseCommands})
	switch {
	case report.Errors() > 0:
		f.Problem = "what stands there could not be applied; see: sekisho policy check"
	case version.Number > 0 && !have.Equal(files):
		f.Detail = "differs from what is in force; see: sekisho policy diff"
	default:
		f.Detail = fmt.Sprintf("compiles, %d tests pass", report.Tests)
	}
	return f
}

func examineDisk(cfg Config) Finding {
	f := Finding{What: "disk"}
	var fs unix.Statfs_t
	if err := unix.Statfs(cfg.Dir, &fs); err != nil {
		f.Problem = err.Error()
		return f
	}
	free := fs.Bavail * uint64(fs.Bsize)
	f.Detail = fmt.Sprintf("%d MiB free", free>>20)
	if free < lowDisk {
		f.Problem = fmt.Sprintf("only %d MiB free: sessions end when they can no longer be recorded", free>>20)
	}
	return f
}

func examineRunning(cfg Config) Finding {
	f := Finding{What: "gateway", Detail: "running, console at " + cfg.URL(cfg.ConsoleHost)}
	conn, err := net.DialTimeout("unix", filepath.Join(cfg.Dir, socketFile), time.Second)
	if err != nil {
		f.Detail = "not running"
		return f
	}
	conn.Close()
	return f
}
