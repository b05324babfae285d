package directory

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/policy"
)

// Change is one value that differs between two directories. Before is "" for what is new, After for what is gone.
type Change struct {
	Path   string `json:"path"` // vendors.acme-maintenance.contract.until
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// String is the change on one line.
func (c Change) String() string {
	switch {
	case c.Before == "":
		return "+ " + c.Path + ": " + c.After
	case c.After == "":
		return "- " + c.Path + ": " + c.Before
	}
	return "~ " + c.Path + ": " + c.Before + " → " + c.After
}

// Diff lists what differs, sorted by path. It compares what the documents mean, defaults included, so a comment or the
// order of keys is no change. Either directory may be nil for none.
func Diff(old, new *Directory) []Change {
	before, after := leaves(old), leaves(new)
	all := maps.Clone(before)
	maps.Copy(all, after)
	var changes []Change
	for _, path := range sortedKeys(all) {
		if before[path] != after[path] {
			changes = append(changes, Change{Path: path, Before: before[path], After: after[path]})
		}
	}
	return changes
}

// leafs maps the path of every value of a directory to how it reads; what is empty is not in it.
type leafs map[string]string

func (l leafs) put(value string, path ...string) {
	if value != "" {
		l[strings.Join(path, ".")] = value
	}
}

func (l leafs) name(n Name, path ...string) {
	l.put(n.EN, append(path, "name.en")...)
	l.put(n.JA, append(path, "name.ja")...)
}

func leaves(d *Directory) leafs {
	l := leafs{}
	if d == nil {
		return l
	}
	for _, v := range d.vendors {
		l.vendor(v, d.zone)
	}
	for _, p := range d.people {
		l.put(p.Vendor, "people", p.ID, "vendor")
		l.name(p.Name, "people", p.ID)
		l.put(p.Email, "people", p.ID, "email")
		l.put(list(p.Roles), "people", p.ID, "roles")
		l.put(p.SameAs, "people", p.ID, "same_as")
	}
	for _, t := range d.targets {
		l.target(t)
	}
	return l
}

func (l leafs) vendor(v Vendor, zone *time.Location) {
	put := func(value, key string) { l.put(value, "vendors", v.ID, key) }
	l.name(v.Name, "vendors", v.ID)
	put(v.Type, "type")
	put(v.Parent, "parent")
	if v.Contract != (policy.Contract{}) {
		put(day(v.Contract.From, zone), "contract.from")
		put(day(v.Contract.Until.Add(-time.Nanosecond), zone), "contract.until")
	}
	put(list(v.Networks), "networks")
	put(list(v.Windows), "windows")
	put(list(v.Targets), "targets")
	put(list(v.Approvers), "approvers")
	if v.Risk != nil {
		put(strconv.Itoa(v.Risk.Level), "risk.level")
		put(count(v.Risk.Score), "risk.score")
		put(day(v.Risk.Assessed, zone), "risk.assessed")
	}
}

func (l leafs) target(t Target) {
	put := func(value, key string) { l.put(value, "targets", t.Name, key) }
	switch {
	case t.SSH != nil:
		put(t.SSH.Address, "ssh.address")
		put(t.SSH.HostKey, "ssh.host_key")
		put(t.SSH.HostCA, "ssh.host_ca")
	case t.HTTPS != nil:
		put(t.HTTPS.Upstream.String(), "https.upstream")
		put(t.HTTPS.Host, "https.host")
	case t.TCP != nil:
		put(t.TCP.Address, "tcp.address")
	}
	for key, value := range t.Labels {
		put(value, "labels."+key)
	}
	put(list(t.Logins), "logins")
	put(list(t.AdminLogins), "admin_logins")
	put(t.Opaque, "opaque")
	put(list(t.ConfigPaths), "config_paths")
	put(list(t.ConfidentialPaths), "confidential_paths")
	for _, r := range t.Rules {
		put(r.what(), "rules."+strconv.Quote(r.Match))
	}
	put(list(t.Redact.JSON), "redact.json")
}

// what is a rule's consequence as a diff shows it.
func (r Rule) what() string {
	words := []string{string(r.Right)}
	if r.Table != "" {
		words = append(words, "table "+r.Table)
	}
	if r.Total != nil {
		words = append(words, "total "+count(r.Total))
	}
	return strings.Join(words, ", ")
}

// list shows items one after the other, quoted where one could be taken for two.
func list[T any](items []T) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = fmt.Sprint(item)
		if strings.ContainsAny(words[i], `,"`) {
			words[i] = strconv.Quote(words[i])
		}
	}
	return strings.Join(words, ", ")
}

func count(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func day(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format(time.DateOnly)
}
