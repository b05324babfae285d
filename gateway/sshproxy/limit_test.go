package sshproxy

import (
	"net/netip"
	"testing"
)

func TestTheTurnstileCountsPerAddressAndInAll(t *testing.T) {
	var limits Limits
	limits.complete()
	limits.Startups, limits.StartupsPerIP, limits.Connections = 4, 2, 6
	gate := newTurnstile(limits)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	c := netip.MustParseAddr("192.0.2.3")

	enter := func(ip netip.Addr, want bool) {
		t.Helper()
		if got := gate.enter(ip); got != want {
			t.Fatalf("enter(%s) = %v", ip, got)
		}
	}
	enter(a, true)
	enter(a, true)
	enter(a, false) // two from one address
	enter(b, true)
	enter(b, true)
	enter(c, false) // four starting in all
	gate.started(a)
	enter(a, true)
	gate.started(a)
	gate.started(a)
	enter(c, true)
	enter(c, false) // six connections in all
	gate.leave()
	enter(c, true)
}

func TestOneHostsIPv6AddressesCountAsOne(t *testing.T) {
	var limits Limits
	limits.complete()
	limits.StartupsPerIP = 1
	gate := newTurnstile(limits)
	if !gate.enter(netip.MustParseAddr("2001:db8::1")) || gate.enter(netip.MustParseAddr("2001:db8::2")) {
		t.Error("two addresses of one /64 were counted apart")
	}
	if !gate.enter(netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("another /64 was turned away")
	}
	if !gate.enter(netip.MustParseAddr("::ffff:192.0.2.1")) || gate.enter(netip.MustParseAddr("192.0.2.1")) {
		t.Error("an IPv4 address in IPv6 form was counted apart")
	}
}

func TestApprovalNeverWaitsLongerThanTwoMinutes(t *testing.T) {
	limits := Limits{Approval: maxApproval * 10}
	limits.complete()
	if limits.Approval != maxApproval {
		t.Errorf("approval waits %s", limits.Approval)
	}
}
