package directory_test

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/directory"
)

func diff(t *testing.T, before, after string) string {
	t.Helper()
	var lines []string
	for _, c := range directory.Diff(parse(t, before), parse(t, after)) {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

func TestADiffNamesEachValueThatChanged(t *testing.T) {
	after := strings.NewReplacer(
		"until: 2027-03-31", "until: 2027-06-30",
		"type: maintenance              #", "type: operations #",
		", email: hanako@acme.example", "",
		"networks: [203.0.113.0/24]", "networks: [203.0.113.0/24, 2001:db8::/32]",
		`"POST /search", right: read`, `"POST /search", right: execute`,
		"total: 51234", "total: 60000",
		"labels: {env: prod}", "labels: {env: prod, tier: gold}",
		"  jiro:   {vendor: acme-sub}\n", "",
		"score: 73, ", "",
	).Replace(specExample)
	want := strings.Join([]string{
		"- people.hanako.email: hanako@acme.example",
		"- people.jiro.vendor: acme-sub",
		"+ targets.db1.labels.tier: gold",
		`~ targets.orders.rules."GET /export/customers": read, table customers, total 51234 → read, table customers, total 60000`,
		`~ targets.orders.rules."POST /search": read → execute`,
		"~ vendors.acme-maintenance.contract.until: 2027-03-31 → 2027-06-30",
		"~ vendors.acme-maintenance.networks: 203.0.113.0/24 → 203.0.113.0/24, 2001:db8::/32",
		"- vendors.acme-maintenance.risk.score: 73",
		"~ vendors.acme-maintenance.type: maintenance → operations",
	}, "\n")
	if got := diff(t, specExample, after); got != want {
		t.Errorf("diff:\n%s\nwant:\n%s", got, want)
	}
}

func TestADiffShowsDefaultsBecauseTheyAreInForce(t *testing.T) {
	bare := "targets: {pg: {ssh: {address: 'h:22', host_ca: 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGLIdRhFIKCBCNHFeKs'}}}"
	want := strings.Join([]string{
		"+ targets.pg.admin_logins: root",
		"+ targets.pg.opaque: deny",
		"+ targets.pg.ssh.address: h:22",
		"+ targets.pg.ssh.host_ca: SHA256:uNiVztksCsDhcc0u9e8BgrJXVGLIdRhFIKCBCNHFeKs",
	}, "\n")
	if got := diff(t, "{}", bare); got != want {
		t.Errorf("diff:\n%s\nwant:\n%s", got, want)
	}
}

func TestCommentsAndTheOrderOfKeysAreNoChange(t *testing.T) {
	before := "vendors: {a: {type: temporary, windows: [office-hours]}}\npeople: {p: {vendor: a}}"
	after := "# new comment\npeople:\n  p:\n    vendor: a\nvendors:\n  a:\n    windows: [office-hours]\n    type: temporary\n"
	if got := diff(t, before, after); got != "" {
		t.Errorf("diff:\n%s", got)
	}
}

func TestAListOfTwoIsNotTakenForOneWithAComma(t *testing.T) {
	doc := func(paths string) string {
		return "targets: {t: {ssh: {address: 'h:22', host_ca: 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGLIdRhFIKCBCNHFeKs'}, config_paths: " + paths + "}}"
	}
	if diff(t, doc(`["/a", "/b"]`), doc(`["/a, /b"]`)) == "" {
		t.Error("no change seen")
	}
}

func TestAgainstNothingEverythingIsNew(t *testing.T) {
	for _, c := range directory.Diff(nil, parse(t, specExample)) {
		if c.Before != "" || c.After == "" || !strings.HasPrefix(c.String(), "+ ") {
			t.Errorf("change = %+v", c)
		}
	}
}
