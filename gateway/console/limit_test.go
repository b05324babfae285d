package console

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

func TestASourceThatTriesTooOftenWaits(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	l := newLimiter(func() time.Time { return now })
	mallory, hanako := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("203.0.113.9")
	for range triesBurst {
		if !l.allow(mallory, "") {
			t.Fatal("refused before the limit")
		}
	}
	if l.allow(mallory, "") {
		t.Error("the limit does not hold")
	}
	if !l.allow(hanako, "") {
		t.Error("somebody else is locked out as well")
	}
	if !l.allow(mallory, "taro") {
		t.Error("a colleague with a certificate is locked out as well")
	}
	now = now.Add(triesEvery)
	if !l.allow(mallory, "") {
		t.Error("the limit never lifts")
	}
}

func TestAnIPv6SubscriberIsOneSource(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	l := newLimiter(func() time.Time { return now })
	addr := netip.MustParseAddr("2001:db8:1:2::1")
	for range triesBurst {
		addr = addr.Next()
		l.allow(addr, "")
	}
	if l.allow(addr.Next(), "") {
		t.Error("another address of the same /64 starts afresh")
	}
	if !l.allow(netip.MustParseAddr("2001:db8:1:3::1"), "") {
		t.Error("another /64 is locked out")
	}
}

func TestTheListOfSourcesDoesNotGrowForEver(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	l := newLimiter(func() time.Time { return now })
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxSources {
		addr = addr.Next()
		l.allow(addr, "")
	}
	if l.allow(addr.Next(), "") {
		t.Error("a full list takes another source")
	}
	now = now.Add(sourceForget + time.Second)
	if !l.allow(addr.Next(), "") || len(l.sources) > maxSources {
		t.Errorf("quiet sources are not forgotten: %d", len(l.sources))
	}
}

func TestAPersonTriesNoOftenerFromManyAddresses(t *testing.T) {
	l := newLimiter(func() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) })
	addr := netip.MustParseAddr("10.0.0.0")
	for range triesBurst {
		addr = addr.Next()
		l.allow(addr, "mallory")
	}
	if l.allow(addr.Next(), "mallory") {
		t.Error("another address starts afresh")
	}
	if !l.allow(addr, "hanako") || len(l.sources) != 2 {
		t.Errorf("%d sources for two people", len(l.sources))
	}
}

func TestStrangersDoNotLockOutWhoHasACertificate(t *testing.T) {
	now := func() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) }
	c := &Console{limits: newLimiter(now), strangers: newLimiter(now)}
	try := c.limited(func(http.ResponseWriter, *http.Request, *visitor) error { return nil })
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxSources {
		addr = addr.Next()
		try(nil, nil, &visitor{source: netip.AddrPortFrom(addr, 1)})
	}
	hanako := &visitor{source: netip.MustParseAddrPort("203.0.113.9:1"), credential: identity.Credential{Person: "hanako"}}
	if err := try(nil, nil, hanako); err != nil {
		t.Error(err)
	}
}
