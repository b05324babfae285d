package policy_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/goccy/go-yaml"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/sekisho/sekisho/policy"
	shipped "github.com/sekisho/sekisho/policy/rego"
)

// Peers that decide the same questions, for the benchmark: OPA used the plain way, Cedar, and a Go map. Each is given the
// shipped matrix and controls and has to give the answers that an Engine gives (TestPeersAgree); they leave out until,
// leases, overrides and chains, which only makes them faster.

// plain is the shipped policy with OPA used as its manual tells: the directory, the matrix and the windows are data in its
// store, the request is its input, and Rego works out everything from these.
type plain struct{ query rego.PreparedEvalQuery }

// plainFacts computes in Rego what the shipped rules read as input.facts, input.cell and input.override.
const plainFacts = `package plain

import rego.v1

vendor := data.directory.vendors[input.person.vendor]

facts.certificate := "missing" if input.auth.cert.serial == ""
else := "valid" if input.auth.cert.not_after > input.now
else := "expired"

facts.mfa := "missing" if input.auth.mfa.method == ""
else := "missing" if input.auth.mfa.at > input.now + 60000000000
else := "unverified" if {
	input.auth.mfa.method == "webauthn"
	not input.auth.mfa.uv
}
else := "fresh" if input.auth.mfa.at + time.parse_duration_ns(data.obligations.every.mfa_max_age) > input.now
else := "expired"

facts.contract := "future" if input.now < time.parse_rfc3339_ns(vendor.contract.from)
else := "ended" if input.now >= time.parse_rfc3339_ns(vendor.contract.until)
else := "running"

facts.window := "missing" if count(vendor.windows) == 0
else := "open" if {
	some name in vendor.windows
	open(data.windows[name])
}
else := "closed"

open(w) if {
	lower(substring(time.weekday([input.now, w.zone]), 0, 3)) in w.days
	[hour, minute, _] := time.clock([input.now, w.zone])
	m := hour * 60 + minute
	m >= minutes(w.from)
	m < minutes(w.to)
}

minutes(text) := to_number(parts[0]) * 60 + to_number(parts[1]) if parts := split(text, ":")

facts.network := "missing" if count(vendor.networks) == 0
else := "inside" if {
	some network in vendor.networks
	net.cidr_contains(network, input.source.ip)
}
else := "outside"

facts.target := "gateway" if input.target.name == "@gateway"
else := "listed" if input.target.name in vendor.targets
else := "unlisted"

facts.break_glass := "none"

facts.cut_off := vendor.cut_off

cell := data.matrix[vendor.type][input.right]

override := ""

default effect := "deny"

effect := "deny" if count(data.sekisho.guardrail.deny) > 0
else := "deny" if count(data.sekisho[vendor.type].deny) > 0
else := "approval" if count(data.sekisho[vendor.type].approval) > 0
else := "allow" if {
	data.sekisho.guardrail.allow
	data.sekisho[vendor.type].allow
}

answer := {"effect": effect, "reasons": data.sekisho.guardrail.deny | data.sekisho[vendor.type].deny | data.sekisho[vendor.type].approval}
`

// plainData is the store's content: the shipped tables and a directory of vendors.
func plainData(t testing.TB, vendors []policy.Vendor) map[string]any {
	t.Helper()
	data, windows := map[string]any{}, map[string]any{}
	for name, into := range map[string]*map[string]any{"matrix.yaml": &data, "windows.yaml": &windows} {
		text, err := fs.ReadFile(shipped.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	list := map[string]any{}
	for _, v := range vendors {
		networks := []any{}
		for _, n := range v.Networks {
			networks = append(networks, n.String())
		}
		list[v.ID] = map[string]any{"type": v.Type, "networks": networks, "windows": anys(v.Windows), "targets": anys(v.Targets),
			"contract": map[string]any{"from": v.Contract.From.Format(time.RFC3339), "until": v.Contract.Until.Format(time.RFC3339)},
			"cut_off":  v.CutOff}
	}
	data["windows"], data["directory"] = windows, map[string]any{"vendors": list}
	return data
}

func anys(texts []string) []any {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}

func newPlain(t testing.TB, vendors []policy.Vendor) *plain {
	t.Helper()
	options := []func(*rego.Rego){rego.Query("answer := data.plain.answer"), rego.Module("plain.rego", plainFacts),
		rego.Store(inmem.NewFromObject(plainData(t, vendors))), rego.StrictBuiltinErrors(true)}
	names, err := fs.Glob(shipped.FS, "*.rego")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := strings.NewReplacer("input.facts", "data.plain.facts", "input.cell", "data.plain.cell", "input.override", "data.plain.override")
	for _, name := range names {
		if strings.HasSuffix(name, "_test.rego") {
			continue
		}
		text, err := fs.ReadFile(shipped.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, rego.Module(name, elsewhere.Replace(string(text))))
	}
	query, err := rego.New(options...).PrepareForEval(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return &plain{query: query}
}

// decide builds the input as a caller of OPA does, a map, and asks.
func (p *plain) decide(in *policy.Input) (policy.Effect, error) {
	n := in.Action.Needs[0]
	results, err := p.query.Eval(context.Background(), rego.EvalInput(map[string]any{
		"now": in.Time.Now.UnixNano(),
		"person": map[string]any{"id": in.Person.ID, "vendor": in.Person.Vendor, "roles": anys(in.Person.Roles),
			"staff": in.Person.Vendor == policy.StaffVendor},
		"auth": map[string]any{"kind": in.Auth.Kind,
			"cert": map[string]any{"serial": in.Auth.Cert.Serial, "not_after": in.Auth.Cert.NotAfter.UnixNano()},
			"mfa":  map[string]any{"method": in.Auth.MFA.Method, "at": in.Auth.MFA.At.UnixNano(), "uv": in.Auth.MFA.UV}},
		"source": map[string]any{"ip": in.Source.IP.String()},
		"target": map[string]any{"name": in.Target.Name, "kind": in.Target.Kind, "login": in.Target.Login,
			"labels": in.Target.Labels},
		"action": map[string]any{"protocol": in.Action.Protocol, "operation": in.Action.Operation, "command": in.Action.Command},
		"right":  string(n.Right), "resource": n.Resource,
	}))
	if err != nil {
		return policy.Deny, err
	}
	answer, ok := results[0].Bindings["answer"].(map[string]any)
	if !ok {
		return policy.Deny, fmt.Errorf("answer %v", results)
	}
	var effect policy.Effect
	return effect, effect.UnmarshalText([]byte(answer["effect"].(string)))
}

// cedarWay is the matrix and the controls in Cedar. Its entities are vendors and targets; facts that Cedar cannot compute
// (windows in a zone) come in the context, as they come to our rules.
type cedarWay struct {
	policies *cedar.PolicySet
	entities cedar.EntityMap
}

func newCedar(t testing.TB, vendors []policy.Vendor) *cedarWay {
	t.Helper()
	var text strings.Builder
	for _, row := range rows {
		for _, right := range policy.Rights {
			if row.cells[right] == policy.Deny {
				continue
			}
			fmt.Fprintf(&text, "@id(%q)\npermit (principal in Type::%q, action == Action::%q, resource) when { context.operation == resource.opens };\n",
				row.cells[right].String(), row.vendorType, right)
		}
	}
	text.WriteString(`
forbid (principal, action, resource) unless { context.serial != "" && context.not_after > context.now };
forbid (principal, action, resource) unless { context.method == "webauthn" && context.uv && context.mfa_age < 43200 };
forbid (principal, action, resource) unless { principal.from <= context.now && context.now < principal.until };
forbid (principal, action, resource) unless { context.window == "open" };
forbid (principal, action, resource) unless { context.ip.isInRange(principal.network) };
forbid (principal, action, resource) unless { principal.targets.contains(resource) };
forbid (principal, action, resource) when { principal.cut_off };
forbid (principal, action, resource) when { context.kind != "human" };
`)
	policies, err := cedar.NewPolicySetFromBytes("matrix.cedar", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	c := &cedarWay{policies: policies, entities: cedar.EntityMap{}}
	for _, v := range vendors {
		network, err := types.ParseIPAddr(v.Networks[0].String())
		if err != nil {
			t.Fatal(err)
		}
		var targets []cedar.Value
		for _, name := range v.Targets {
			target := cedar.NewEntityUID("Target", cedar.String(name))
			targets = append(targets, target)
			c.entities[target] = cedar.Entity{UID: target, Attributes: cedar.NewRecord(cedar.RecordMap{"opens": cedar.String("ssh.exec")})}
		}
		id := cedar.NewEntityUID("Vendor", cedar.String(v.ID))
		c.entities[id] = cedar.Entity{UID: id, Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Type", cedar.String(v.Type))),
			Attributes: cedar.NewRecord(cedar.RecordMap{"from": cedar.Long(v.Contract.From.Unix()), "until": cedar.Long(v.Contract.Until.Unix()),
				"network": network, "targets": cedar.NewSet(targets...), "cut_off": cedar.Boolean(v.CutOff)})}
	}
	return c
}

func (c *cedarWay) decide(in *policy.Input, window string) policy.Effect {
	ip, err := types.ParseIPAddr(in.Source.IP.String())
	if err != nil {
		return policy.Deny
	}
	decision, why := cedar.Authorize(c.policies, c.entities, cedar.Request{
		Principal: cedar.NewEntityUID("Vendor", cedar.String(in.Vendor.ID)),
		Action:    cedar.NewEntityUID("Action", cedar.String(in.Action.Needs[0].Right)),
		Resource:  cedar.NewEntityUID("Target", cedar.String(in.Target.Name)),
		Context: cedar.NewRecord(cedar.RecordMap{
			"now": cedar.Long(in.Time.Now.Unix()), "serial": cedar.String(in.Auth.Cert.Serial), "not_after": cedar.Long(in.Auth.Cert.NotAfter.Unix()),
			"method": cedar.String(in.Auth.MFA.Method), "uv": cedar.Boolean(in.Auth.MFA.UV),
			"mfa_age": cedar.Long(in.Time.Now.Unix() - in.Auth.MFA.At.Unix()), "kind": cedar.String(in.Auth.Kind),
			"window": cedar.String(window), "ip": ip, "operation": cedar.String(in.Action.Operation),
		}),
	})
	if decision != cedar.Allow {
		return policy.Deny
	}
	var effect policy.Effect
	if err := effect.UnmarshalText([]byte(c.policies.Get(why.Reasons[0].PolicyID).Annotations()["id"])); err != nil {
		return policy.Deny
	}
	return effect
}

// goMap is the least that can decide: the matrix as a map, and no control at all.
type goMap map[[2]string]policy.Effect

func newMap() goMap {
	m := goMap{}
	for _, row := range rows {
		for right, effect := range row.cells {
			m[[2]string{row.vendorType, string(right)}] = effect
		}
	}
	return m
}

func (m goMap) decide(in *policy.Input) policy.Effect {
	return m[[2]string{in.Vendor.Type, string(in.Action.Needs[0].Right)}]
}

// TestPeersAgree makes sure that the benchmark compares like with like.
func TestPeersAgree(t *testing.T) {
	for _, row := range rows {
		v := vendor("acme", row.vendorType)
		opa, ours, cedars, plainMap := newPlain(t, []policy.Vendor{v}), engine(t, nil), newCedar(t, []policy.Vendor{v}), newMap()
		for right, want := range row.cells {
			in := asks(row.vendorType, right)
			for name, change := range map[string]func(*policy.Input){
				"as it is":          func(*policy.Input) {},
				"outside hours":     func(in *policy.Input) { in.Time.Now = friday.Add(7 * time.Hour) },
				"with an old MFA":   func(in *policy.Input) { in.Auth.MFA.At = friday.Add(-13 * time.Hour) },
				"without MFA":       func(in *policy.Input) { in.Auth.MFA = policy.MFA{} },
				"after expiry":      func(in *policy.Input) { in.Auth.Cert.NotAfter = friday },
				"on another target": func(in *policy.Input) { in.Target.Name = "payroll" },
				"as a machine":      func(in *policy.Input) { in.Auth.Kind = "machine" },
			} {
				changed := in
				change(&changed)
				d := ours.Decide(context.Background(), changed)
				if name == "as it is" && (d.Effect != want || plainMap.decide(&changed) != want) {
					t.Errorf("%s %s: ours %s, the map %s", row.table, right, d.Effect, plainMap.decide(&changed))
				}
				window := "open"
				if name == "outside hours" {
					window = "closed"
				}
				if got, err := opa.decide(&changed); got != d.Effect || err != nil {
					t.Errorf("%s %s %s: OPA %s (%v), ours %s %v", row.table, right, name, got, err, d.Effect, d.Reasons)
				}
				if got := cedars.decide(&changed, window); got != d.Effect {
					t.Errorf("%s %s %s: Cedar %s, ours %s", row.table, right, name, got, d.Effect)
				}
			}
		}
	}
}
