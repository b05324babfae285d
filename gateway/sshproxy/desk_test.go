package sshproxy_test

import (
	"strings"
	"testing"
)

// TestTheGatewayAloneTellsHowIStand: targets and how to reach them, windows, requests and leases.
func TestTheGatewayAloneTellsHowIStand(t *testing.T) {
	g := newGateway(t, setup{targets: []string{`pg1: {tcp: {address: "127.0.0.1:5432"}}`,
		`orders: {https: {upstream: "http://127.0.0.1:1", host: orders.console.test}}`}})
	c := g.client(hanako)
	refused := c.ssh(plus(theLogin(), "db1"), "touch /tmp/x\u202e")
	id := requestID.FindString(refused.stderr)
	g.sayYes(id)
	got := c.sshWith(nil, "-T", "gateway")
	if got.code != 0 || got.stderr != "" {
		t.Fatal(got)
	}
	for _, want := range []string{
		"you are hanako (acme-maintenance)", "hanako (acme-maintenance) としてログインしています", "Targets / 対象",
		"ssh -J gateway " + theLogin() + "@db1", "ssh " + theLogin() + "+db1@gateway",
		"ssh -N -L 5432:pg1:5432 gateway", "https://orders.console.test:8443/",
		"Windows / 利用可能時間", "always  open / 利用可",
		"Requests / 申請", id + "  approved / 承認済み  db1", "touch /tmp/x", "Leases / 承認による許可", "l-",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	if strings.Contains(got.stdout, "theirs") || strings.Contains(got.stdout, "\u202e") || strings.Contains(got.stdout, "127.0.0.1") {
		t.Errorf("too much:\n%s", got.stdout)
	}
	if got := c.ssh("gateway", "ls"); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "no shell on the gateway") {
		t.Error(got)
	}
}
