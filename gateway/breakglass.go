package gateway

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
)

// emergencyFile keeps who may declare an emergency and with what, so that a start does not need the store for it.
const emergencyFile = "break-glass.json"

// holdersAgain is how long after a failure what named people hold is read again.
const holdersAgain = 10 * time.Second

// openEmergencies ties the registry and the door together and has what named people hold read anew whenever it may have
// changed: with the policy, the directory, a release or revocation, or the use of a hardware key.
func (g *Gateway) openEmergencies(ctx context.Context, _ Options) error {
	g.holders = make(chan struct{}, 1)
	stale := func() {
		select {
		case g.holders <- struct{}{}:
		default:
		}
	}
	g.registry.HonourEmergencies(g.door.EmergencyPass, stale)
	g.registry.OnRevoke(stale)
	g.engine.OnChange(stale)
	g.directory.OnChange(stale)
	if err := g.readHolders(ctx); err != nil {
		g.log.Warn("who may declare an emergency is known from the last run", zap.Error(err))
		stale()
	}
	return nil
}

func (g *Gateway) readHolders(ctx context.Context) error {
	return g.registry.RefreshEmergencyHolders(ctx, g.engine.Revision().BreakGlass().People)
}

// keepHolders reads what named people hold until ctx ends.
func (g *Gateway) keepHolders(ctx context.Context) error {
	retry := time.NewTimer(holdersAgain)
	retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.holders:
		case <-retry.C:
		}
		if err := g.readHolders(ctx); err != nil && !errors.Is(err, context.Canceled) {
			g.log.Warn("what people named for emergencies hold could not be read; what was known counts", zap.Error(err))
			retry.Reset(holdersAgain)
		}
	}
}

// examineEmergencies shows what is live or unreviewed, and whether those whom the policy names could declare one.
func examineEmergencies(ctx context.Context, cfg Config) []Finding {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	found, err := console.NewBootstrapClient(filepath.Join(cfg.Dir, socketFile)).Emergencies(ctx)
	if err != nil {
		return nil // not running, as another finding says
	}
	var findings []Finding
	for _, e := range found.Open {
		what := "it waits for the reviews of two people; see: sekisho break-glass show " + e.ID
		if e.State() == access.EmergencyLive {
			what = fmt.Sprintf("it lasts until %s, unless somebody runs: sekisho break-glass end %s", e.Until.Local().Format(time.DateTime), e.ID)
		}
		findings = append(findings, Finding{What: "emergency", Problem: fmt.Sprintf("%s by %s (%s): %s", e.ID, e.Person, e.Reason, what)})
	}
	named := Finding{What: "break-glass", Detail: "the policy names nobody"}
	var ready, not []string
	for _, h := range found.Named {
		if h.Problem == "" {
			ready = append(ready, h.Person)
		} else {
			not = append(not, h.Person+" "+h.Problem)
		}
	}
	if len(ready) > 0 {
		named.Detail = "ready: " + strings.Join(ready, ", ")
	}
	if len(not) > 0 {
		named.Problem = strings.Join(not, "; ")
	}
	return append(findings, named)
}
