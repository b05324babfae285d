package policy_test

import (
	"context"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
)

// friday is a Friday noon in Tokyo, within office hours.
var friday = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

// folder is the shipped policy folder with some files replaced; an empty text removes one.
func folder(t testing.TB, files map[string]string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	entries, err := fs.ReadDir(rego.FS, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(rego.FS, entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		out[entry.Name()] = &fstest.MapFile{Data: data}
	}
	for name, text := range files {
		delete(out, name)
		if text != "" {
			out[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return out
}

// more is a shipped file with text at its end.
func more(t testing.TB, name, text string) string {
	t.Helper()
	data, err := fs.ReadFile(rego.FS, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n" + text + "\n"
}

func load(t testing.TB, files map[string]string) *policy.Revision {
	t.Helper()
	rev, err := policy.Load(folder(t, files), 7)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// engine decides under the shipped folder with some files replaced.
func engine(t testing.TB, files map[string]string) *policy.Engine {
	t.Helper()
	return policy.NewEngine(load(t, files), at(friday))
}

// vendor has every control met on friday.
func vendor(id, vendorType string) policy.Vendor {
	return policy.Vendor{
		ID: id, Type: vendorType,
		Contract: policy.Contract{From: friday.AddDate(0, -1, 0), Until: friday.AddDate(0, 1, 0)},
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		Windows:  []string{"office-hours"},
		Targets:  []string{"db1", "orders"},
	}
}

// asks is a person of such a vendor who wants these rights on a file of db1.
func asks(vendorType string, rights ...policy.Right) policy.Input {
	in := policy.Input{
		Person: policy.Person{ID: "hanako", Vendor: "acme"},
		Vendor: vendor("acme", vendorType),
		Auth: policy.Auth{Kind: "human",
			Cert: policy.Cert{Serial: "1234", NotAfter: friday.Add(6 * time.Hour)},
			MFA:  policy.MFA{Method: "webauthn", At: friday.Add(-time.Hour), UV: true}},
		Source: policy.Source{IP: netip.MustParseAddr("203.0.113.9")},
		Target: policy.Target{Name: "db1", Kind: "ssh", Login: "app", Labels: map[string]string{"env": "prod"}},
		Action: policy.Action{Protocol: "ssh", Operation: "ssh.exec"},
		Time:   policy.Clock{Now: friday, Zone: "Asia/Tokyo"},
	}
	for _, r := range rights {
		in.Action.Needs = append(in.Action.Needs, policy.Need{Right: r, Resource: "/srv/app/file"})
	}
	return in
}

// connects is the same person opening a connection.
func connects(vendorType string) policy.Input {
	in := asks(vendorType)
	in.Action.Operation = "ssh.connect"
	return in
}

func decide(t testing.TB, e *policy.Engine, in policy.Input) policy.Decision {
	t.Helper()
	d := e.Decide(context.Background(), in)
	if d.Effect != policy.Allow && len(d.Reasons) == 0 {
		t.Errorf("%s without a reason", d.Effect)
	}
	for _, r := range d.Reasons {
		if r.ID == "" || r.EN == "" || r.JA == "" {
			t.Errorf("incomplete reason %+v", r)
		}
	}
	return d
}

// refused fails the test unless the decision has this effect for this reason.
func expect(t testing.TB, d policy.Decision, effect policy.Effect, reason string) {
	t.Helper()
	if d.Effect != effect {
		t.Errorf("%s %v (%v), want %s", d.Effect, d.Reasons, d.Fault(), effect)
	}
	if reason != "" && !slices.ContainsFunc(d.Reasons, func(r policy.Reason) bool { return r.ID == reason }) {
		t.Errorf("reasons %v, want %s", d.Reasons, reason)
	}
}
