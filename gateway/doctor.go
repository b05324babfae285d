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
	return []Finding{
		{What: "configuration", Detail: filepath.Join(dir, ConfigFile)},
		examineKeys(cfg),
		examinePolicy(ctx, cfg),
		examineDisk(cfg),
		examineRunning(cfg),
	}
}

func examineKeys(cfg Config) Finding {
	f := Finding{What: "keys", Detail: "every key opens with the master key"}
	if _, err := identity.OpenAuthority(cfg.Dir, cfg.keySource(), time.Now); err != nil {
		f.Problem = err.Error()
	}
	return f
}

func examinePolicy(ctx context.Context, cfg Config) Finding {
	f := Finding{What: "policy"}
	fsys := os.DirFS(filepath.Join(cfg.Dir, policyDir))
	if _, err := LoadPolicy(fsys, 1); err != nil {
		f.Problem = err.Error()
		return f
	}
	results, err := policy.Test(ctx, fsys)
	if err != nil {
		f.Problem = err.Error()
		return f
	}
	for _, r := range results {
		if !r.Passed && !r.Skipped {
			f.Problem = "a policy test fails; see: sekisho policy test"
			return f
		}
	}
	f.Detail = fmt.Sprintf("compiles, %d tests pass", len(results))
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
