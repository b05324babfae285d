package gateway

import (
	"context"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// RotateHostKey makes a new SSH host key in a gateway's folder and returns its fingerprint.
func RotateHostKey(cfg Config) (fingerprint string, err error) {
	return identity.RotateHostKey(cfg.Dir, cfg.keySource())
}

// ReloadHostKey has connections to come shown the host key that stands in the folder, on record. Sessions go on.
func (g *Gateway) ReloadHostKey(ctx context.Context) {
	before, after, err := g.authority.ReloadHostKey()
	if err != nil {
		g.log.Error("the SSH host key was not reloaded", zap.Error(err))
		return
	}
	if before == after {
		return
	}
	g.log.Info("the SSH host key is another now", zap.String("before", before), zap.String("after", after))
	detail := map[string]any{"what": "ssh host key", "before": before, "after": after}
	if err := g.door.Event(ctx, identity.Principal{}, recorder.ClassConfig, "gateway.host-key.changed", recorder.OK, detail); err != nil {
		g.log.Error("the change of the SSH host key is not on record", zap.Error(err))
	}
}
