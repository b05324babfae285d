package policy_test

import (
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// emergency is a member of staff on db1 with an emergency that lasts for so long.
func emergency(last time.Duration, rights ...policy.Right) policy.Input {
	in := asks("consulting", rights...)
	in.Person = policy.Person{ID: "ren", Vendor: policy.StaffVendor, Roles: []string{"admin"}}
	in.Vendor = policy.Vendor{ID: policy.StaffVendor, Type: "staff"}
	in.Target.Login = "root"
	in.BreakGlass = &policy.BreakGlass{ID: "g-1", Until: friday.Add(last)}
	return in
}

func TestAnEmergencyOpensTargetsToStaffForAtMostAnHour(t *testing.T) {
	e := engine(t, nil)
	for _, tc := range []struct {
		name   string
		last   time.Duration
		effect policy.Effect
	}{
		{"an hour", time.Hour, policy.Allow},
		{"its last second", time.Second, policy.Allow},
		{"over this very moment", 0, policy.Deny},
		{"over", -time.Second, policy.Deny},
		{"more than an hour", time.Hour + time.Second, policy.Deny},
		{"for good", 10 * 365 * 24 * time.Hour, policy.Deny},
	} {
		t.Run(tc.name, func(t *testing.T) {
			connect := emergency(tc.last)
			connect.Action.Operation = "ssh.connect"
			for _, in := range []policy.Input{connect, emergency(tc.last, policy.Rights...)} {
				d := decide(t, e, in)
				expect(t, d, tc.effect, map[policy.Effect]string{policy.Deny: "staff-gateway-only"}[tc.effect])
				if end := friday.Add(min(tc.last, time.Minute)); tc.effect == policy.Allow && !d.Until.Equal(end) {
					t.Errorf("until %s, want %s", d.Until, end)
				}
			}
		})
	}
	in := emergency(time.Hour, policy.Read)
	in.BreakGlass = nil
	expect(t, decide(t, e, in), policy.Deny, "staff-gateway-only")
}

func TestAnEmergencyOfAContractorCountsForNothing(t *testing.T) {
	// A guardrail that lets anybody in who has one, for an operation that nothing else speaks about.
	open := "allow if input.facts.break_glass == \"declared\"\n"
	e := engine(t, map[string]string{"guardrail.rego": more(t, "guardrail.rego", open)})
	unheard := func(in policy.Input) policy.Input {
		in.Action.Operation = "ssh.teleport"
		in.BreakGlass = &policy.BreakGlass{ID: "g-1", Until: friday.Add(time.Minute)}
		return in
	}
	expect(t, decide(t, e, unheard(asks("consulting", policy.Read))), policy.Deny, "not-allowed")
	expect(t, decide(t, e, unheard(emergency(0, policy.Read))), policy.Allow, "")
}

func TestAnEmergencyChangesNothingOnTheGateway(t *testing.T) {
	e := engine(t, nil)
	for operation, effect := range map[string]policy.Effect{
		"gateway.policy.apply": policy.Deny, "gateway.directory.apply": policy.Deny, "gateway.session.list": policy.Allow,
	} {
		in := emergency(time.Hour, policy.Admin)
		in.Target = policy.Target{Name: policy.GatewayTarget, Kind: "gateway"}
		in.Action.Protocol, in.Action.Operation = "gateway", operation
		expect(t, decide(t, e, in), effect, "")
		in.BreakGlass = nil
		expect(t, decide(t, e, in), policy.Allow, "")
	}
}
