package console

import (
	"context"

	"github.com/sekisho/sekisho/policy"
)

// look has policy decide something only to show the answer: which pages somebody has a use for, what is open now. It
// permits nothing: every act is decided again by the door, with leases and cut-offs.
func (c *Console) look(ctx context.Context, v *visitor, target, login string, action policy.Action) policy.Decision {
	in, ok := c.cfg.Directory.Current().Input(v.person.ID, target, login)
	if !ok {
		return policy.Decision{}
	}
	mfa := v.web.MFA
	in.Auth = policy.Auth{Kind: "human", Cert: policy.Cert{Serial: v.credential.Serial, NotAfter: v.credential.NotAfter},
		MFA: policy.MFA{Method: mfa.Method, At: mfa.At, UV: mfa.UV}}
	if target == policy.GatewayTarget {
		in.BreakGlass = c.ownEmergency(v.person)
	}
	in.Source = policy.Source{IP: v.source.Addr().Unmap()}
	in.Action = action
	in.Time = policy.Clock{Now: c.cfg.Now(), Zone: c.cfg.Zone.String()}
	return c.cfg.Engine.Decide(ctx, in)
}

// may tells whether a staff operation would be allowed.
func (c *Console) may(ctx context.Context, v *visitor, operation string) bool {
	action := policy.Action{Protocol: "gateway", Operation: operation,
		Needs: []policy.Need{{Right: policy.Admin, Resource: "*"}}}
	return c.look(ctx, v, policy.GatewayTarget, "", action).Effect == policy.Allow
}
