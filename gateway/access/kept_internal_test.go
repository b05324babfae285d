package access

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/rego"
	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

// keeper is a door that only keeps decisions.
func keeper(t testing.TB, now func() time.Time) *Door {
	t.Helper()
	rev, err := policy.Load(rego.FS, 7)
	if err != nil {
		t.Fatal(err)
	}
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(audit.Config{Dir: filepath.Join(t.TempDir(), "audit"), Signer: signer, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	d := &Door{cfg: Config{Engine: policy.NewEngine(rev, now), Audit: log, Now: now}}
	d.cfg.Recording.Signer = signer
	return d
}

// past reads everything on record back.
func (d *Door) past(t testing.TB, since, until time.Time) []policy.Kept {
	t.Helper()
	h := d.everything(t, since, until)
	var all []policy.Kept
	for batch, err := range h.all(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, batch...)
	}
	if h.done.Load() != h.total {
		t.Errorf("progress ended at %d of %d bytes", h.done.Load(), h.total)
	}
	return all
}

func (d *Door) everything(t testing.TB, since, until time.Time) *history {
	t.Helper()
	h, err := d.history(since, until)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// maker makes inputs in which anything may be set or missing.
type maker struct{ *rand.Rand }

func (m maker) yes() bool { return m.IntN(2) == 0 }

func (m maker) rarely() bool { return m.IntN(16) == 0 }

func (m maker) of(words ...string) string { return words[m.IntN(len(words))] }

func (m maker) text() string {
	return m.of("", "ls", "cat /etc/motd", `echo "a" <b> & 'c'`, "日本語\u2028\x01\x7f", `,"now":"x","effect":"allow"}`, `{"context":"sha256:`,
		`,"detail":{`, `,"input":{"a":"}"}`, "\\", strings.Repeat("x", 5000))
}

func (m maker) when() time.Time {
	zone := m.of("UTC", "Asia/Tokyo", "America/New_York")
	place, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	return time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC).Add(time.Duration(m.Int64N(int64(96*time.Hour)) - int64(48*time.Hour))).In(place)
}

func (m maker) maybe() time.Time {
	if m.IntN(4) == 0 {
		return time.Time{}
	}
	return m.when()
}

func (m maker) vendor(id string) policy.Vendor {
	v := policy.Vendor{ID: id, Type: m.of("development", "maintenance", "operations", "consulting", "temporary"),
		Contract: policy.Contract{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)}}
	if m.yes() {
		v.Chain = []string{id, "head"}
	}
	if m.yes() {
		level := m.IntN(5)
		v.Risk = &level
	}
	v.Networks = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.0/24")}
	v.Windows = []string{"always", "office-hours"}[:1+m.IntN(2)]
	v.Targets = []string{"db1", "app"}
	if m.rarely() {
		v.Type, v.CutOff, v.Networks, v.Windows, v.Targets = "unknown", true, nil, nil, nil
	}
	return v
}

func (m maker) input() policy.Input {
	in := policy.Input{Vendor: m.vendor(m.of("acme", "maint"))}
	in.Person = policy.Person{ID: m.of("hanako", "ken"), Vendor: in.Vendor.ID}
	for i := range m.IntN(3) {
		in.Parents = append(in.Parents, m.vendor(fmt.Sprint("parent", i)))
	}
	if m.rarely() {
		in.Vendor, in.Parents = policy.Vendor{ID: policy.StaffVendor, Type: "staff"}, nil
		in.Person = policy.Person{ID: "ren", Vendor: policy.StaffVendor, Roles: []string{"admin", "approver"}[:1+m.IntN(2)]}
		in.BreakGlass = []*policy.BreakGlass{nil, {ID: "g-1", Until: m.when()}}[m.IntN(2)]
	}
	in.Time = policy.Clock{Now: m.when(), Zone: m.of("", "Asia/Tokyo")}
	in.Auth = policy.Auth{Kind: m.of("human", "machine"), Cert: policy.Cert{Serial: "ab12", NotAfter: in.Time.Now.Add(time.Hour)},
		MFA: policy.MFA{Method: "webauthn", At: in.Time.Now.Add(-time.Minute), UV: true}}
	if m.rarely() {
		in.Auth = policy.Auth{MFA: policy.MFA{Method: m.of("", "totp"), At: m.maybe()}, Cert: policy.Cert{NotAfter: m.maybe()}}
	}
	in.Source.IP = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1")}[m.IntN(2)]
	if m.rarely() {
		in.Source.IP = []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0")}[m.IntN(2)]
	}
	in.Target = policy.Target{Name: m.of("db1", "app"), Kind: m.of("ssh", "https"), Login: m.of("", "app"),
		Sensitivity: m.of("", "high"), Enforcement: m.of("", "parsed")}
	if m.yes() {
		in.Target.Labels = map[string]string{"env": "prod", "k": m.text()}
	}
	in.Action = policy.Action{Protocol: m.of("ssh", "https"), Operation: m.of("ssh.exec", "ssh.connect", "gateway.session.end"),
		Command: m.text(), Opaque: m.yes()}
	rights := policy.Rights[:4]
	if m.rarely() {
		rights = policy.Rights
	}
	for range m.IntN(4) {
		in.Action.Needs = append(in.Action.Needs, policy.Need{Right: rights[m.IntN(len(rights))], Resource: m.text()})
	}
	for range m.IntN(3) {
		in.Leases = append(in.Leases, policy.Lease{ID: "l-1", Person: in.Person.ID, Target: in.Target.Name, Right: policy.Execute,
			Pattern: m.of("*", m.text()), From: []time.Time{{}, m.when()}[m.IntN(2)], Until: m.when()})
	}
	return in
}

// plain is a value without what no comparison of meaning sees: places of times, empty lists that are not nil.
func plain(v any) any {
	value := reflect.ValueOf(v)
	switch v := v.(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case netip.Addr, netip.Prefix:
		return fmt.Sprint(v)
	}
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			return nil
		}
		return plain(value.Elem().Interface())
	case reflect.Slice:
		list := []any{}
		for i := range value.Len() {
			list = append(list, plain(value.Index(i).Interface()))
		}
		return list
	case reflect.Map:
		fields := map[string]any{}
		for _, key := range value.MapKeys() {
			fields[key.String()] = plain(value.MapIndex(key).Interface())
		}
		return fields
	case reflect.Struct:
		fields := map[string]any{}
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				fields[value.Type().Field(i).Name] = plain(value.Field(i).Interface())
			}
		}
		return fields
	}
	return v
}

// TestWhatWasDecidedIsRebuiltExactly keeps any inputs and reads them back: they are the same, and deciding them again gives
// the same answer.
func TestWhatWasDecidedIsRebuiltExactly(t *testing.T) {
	begin := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	now := begin
	d := keeper(t, func() time.Time { return now })
	m := maker{rand.New(rand.NewPCG(1, 2))}
	made := map[string]ruling{}
	effects := map[policy.Effect]int{}
	for range 700 {
		now = now.Add(time.Duration(m.IntN(300)) * time.Second)
		in := m.input()
		r := ruling{Decision: d.cfg.Engine.Decide(t.Context(), in), input: &in}
		effects[r.Effect]++
		if m.IntN(10) == 0 {
			r.refuse(revokedReason)
		}
		ev := recorder.Event{Class: []recorder.Class{recorder.ClassCommand, recorder.ClassConfig}[m.IntN(2)], Kind: "command.run",
			Outcome: recorder.OK, Person: in.Person.ID, Vendor: in.Vendor.ID, Session: m.of("", "s-1"), Detail: map[string]any{"line": in.Action.Command}}
		if err := d.append(t.Context(), ev, &r); err != nil {
			t.Fatal(err)
		}
		made[r.ID] = r
	}
	if effects[policy.Deny] == 0 || effects[policy.Approval] == 0 || effects[policy.Allow] == 0 {
		t.Fatalf("the inputs try too little: %v", effects)
	}
	all := d.past(t, time.Time{}, begin.AddDate(1, 0, 0))
	if len(all) != len(made) {
		t.Fatalf("kept %d decisions, read %d back", len(made), len(all))
	}
	for _, k := range all {
		r := made[k.ID]
		if k.Effect != r.Effect || k.Capped != r.capped || k.Revision != 7 || !k.At.Equal(r.input.Time.Now) {
			t.Fatalf("%s: read %+v, was %+v", k.ID, k, r)
		}
		if got, want := plain(k.Input), plain(r.input); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: rebuilt\n%v, was\n%v", k.ID, got, want)
		}
		again := d.cfg.Engine.Decide(t.Context(), *k.Input)
		if r.capped {
			continue
		}
		if again.Effect != r.Effect || !slices.Equal(again.Reasons, r.Reasons) || !slices.Equal(again.Needs, r.Needs) {
			t.Fatalf("%s: decided again %v %v, was %v %v", k.ID, again.Effect, again.Reasons, r.Effect, r.Reasons)
		}
	}
	t.Run("by id", func(t *testing.T) {
		tried := 0
		for id := range maps.Keys(made) {
			if tried++; tried > 30 { // each is a look through the whole log
				break
			}
			var kept policy.Kept
			for _, class := range recorder.Classes {
				k, caps, err := d.keptIn(t.Context(), class, stretch{}, id)
				if err != nil {
					t.Fatal(err)
				}
				if k.ID != "" {
					kept = k
					if made[id].capped != (len(caps) > 0) {
						t.Errorf("%s: capped by %v", id, caps)
					}
				}
			}
			if kept.Input == nil || !reflect.DeepEqual(plain(kept.Input), plain(made[id].input)) {
				t.Fatalf("%s: found %+v", id, kept)
			}
		}
	})
}

func TestAContextIsWrittenOnceADayAndClass(t *testing.T) {
	now := time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)
	d := keeper(t, func() time.Time { return now })
	in := maker{rand.New(rand.NewPCG(3, 4))}.input()
	count := func() int {
		n := 0
		for _, err := range d.cfg.Audit.Search(t.Context(), audit.Query{Kind: audit.KindContext}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for i, step := range []struct {
		class recorder.Class
		after time.Duration
		want  int
	}{
		{recorder.ClassCommand, 0, 1}, {recorder.ClassCommand, time.Second, 1}, {recorder.ClassConfig, 0, 2},
		{recorder.ClassCommand, time.Minute, 3}, {recorder.ClassCommand, time.Hour, 3}, {recorder.ClassConfig, 0, 4},
	} {
		now = now.Add(step.after)
		in.Time.Now = now
		r := ruling{Decision: d.cfg.Engine.Decide(t.Context(), in), input: &in}
		ev := recorder.Event{Class: step.class, Kind: "x", Outcome: recorder.OK, Vendor: in.Vendor.ID}
		if err := d.append(t.Context(), ev, &r); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != step.want {
			t.Errorf("step %d: %d contexts, want %d", i, got, step.want)
		}
	}
	midnight := now.Truncate(24 * time.Hour)
	if got := len(d.past(t, midnight, now.Add(time.Hour))); got != 3 {
		t.Errorf("%d decisions since midnight, want 3", got)
	}
	if got := len(d.past(t, midnight.Add(-time.Hour), midnight)); got != 3 {
		t.Errorf("%d decisions before midnight, want 3", got)
	}
}

func TestHistoryOfADayNeedsOnlyThatDayAndTheOneBefore(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	d := keeper(t, func() time.Time { return now })
	in := maker{rand.New(rand.NewPCG(5, 6))}.input()
	for range 10 {
		in.Time.Now = now
		r := ruling{Decision: d.cfg.Engine.Decide(t.Context(), in), input: &in}
		if err := d.append(t.Context(), recorder.Event{Class: recorder.ClassCommand, Kind: "x", Outcome: recorder.OK}, &r); err != nil {
			t.Fatal(err)
		}
		now = now.AddDate(0, 0, 1)
	}
	got := d.past(t, now.AddDate(0, 0, -2), now)
	if len(got) != 2 {
		t.Errorf("%d decisions in two days", len(got))
	}
	reading, err := d.cfg.Audit.Read(recorder.ClassCommand, now.AddDate(0, 0, -2).Add(-contextAge))
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	whole, err := d.cfg.Audit.Read(recorder.ClassCommand, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	if reading.Size() >= whole.Size()/2 {
		t.Errorf("%d bytes of %d were read for two days of ten", reading.Size(), whole.Size())
	}
}

func FuzzKeptInput(f *testing.F) {
	m := maker{rand.New(rand.NewPCG(7, 8))}
	for range 50 {
		in := m.input()
		r := ruling{Decision: policy.Decision{Effect: policy.Allow}, input: &in}
		object, err := r.keptInput("sha256:00")
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		var full keptInput
		if json.Unmarshal(object, &full) != nil {
			return
		}
		if again, err := compactJSON(full); err != nil || string(again) != string(object) {
			return // not as the door writes it
		}
		var dec decoder
		if quick, ok := dec.cut(object); ok && !reflect.DeepEqual(plain(quick), plain(full)) {
			t.Fatalf("%s: quick %+v, full %+v", object, quick, full)
		}
	})
}

func TestManyWhoNeedOneContextWriteItOnce(t *testing.T) {
	d := keeper(t, time.Now)
	in := maker{rand.New(rand.NewPCG(9, 10))}.input()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			r := ruling{Decision: policy.Decision{ID: newID("d-"), Effect: policy.Allow}, input: &in}
			if err := d.append(context.Background(), recorder.Event{Class: recorder.ClassCommand, Kind: "x", Outcome: recorder.OK}, &r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	for range d.cfg.Audit.Search(t.Context(), audit.Query{Kind: audit.KindContext}) {
		n++
	}
	if n != 1 {
		t.Errorf("%d contexts", n)
	}
}

func TestARecordingHoldsTheWholeInput(t *testing.T) {
	d := keeper(t, time.Now)
	m := maker{rand.New(rand.NewPCG(11, 12))}
	for range 500 {
		in := m.input()
		r := ruling{Decision: d.cfg.Engine.Decide(t.Context(), in), input: &in}
		data, err := r.whole(in.Action)
		if err != nil {
			t.Fatal(err)
		}
		var k keptWhole
		var c keptContext
		if err := errors.Join(json.Unmarshal(data, &k), json.Unmarshal(k.Context, &c)); err != nil {
			t.Fatal(err)
		}
		again := policy.Input{Action: k.Action, Leases: k.Leases, Time: policy.Clock{Now: k.Now}}
		c.fill(&again)
		if !reflect.DeepEqual(plain(again), plain(in)) || k.Decision.ID != r.ID || k.Decision.Effect != r.Effect {
			t.Fatalf("recorded %s of %+v", data, in)
		}
	}
}
