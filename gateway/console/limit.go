package console

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one source address may try what can be guessed or costs the gateway work.
const (
	triesBurst   = 240
	triesEvery   = time.Second
	maxSources   = 10_000
	sourceForget = 10 * time.Minute
)

// limiter bounds attempts (WebAuthn ceremonies, typed codes, invites) of one person, or of a stranger, from one source: an
// IPv4 address or an IPv6 /64. Whom a certificate has proved counts as that person wherever they come from: colleagues
// behind one address do not lock each other out, and nobody tries anew from each of many addresses.
type limiter struct {
	now func() time.Time

	mu      sync.Mutex // guards sources
	sources map[trier]*source
}

// trier is who tries: a person, or for strangers a network.
type trier struct {
	network netip.Prefix
	person  string
}

type source struct {
	bucket *rate.Limiter
	seen   time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, sources: map[trier]*source{}}
}

// allow counts one attempt and tells whether it may go on.
func (l *limiter) allow(addr netip.Addr, person string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	key := trier{person: person}
	if person == "" {
		key.network = network(addr, 32)
	}
	s, ok := l.sources[key]
	if !ok {
		if len(l.sources) >= maxSources && !l.forget(now) {
			return false
		}
		s = &source{bucket: rate.NewLimiter(rate.Every(triesEvery), triesBurst)}
		l.sources[key] = s
	}
	s.seen = now
	return s.bucket.AllowN(now, 1)
}

// forget drops sources that have been quiet and tells whether there is room again.
func (l *limiter) forget(now time.Time) bool {
	for key, s := range l.sources {
		if now.Sub(s.seen) > sourceForget {
			delete(l.sources, key)
		}
	}
	return len(l.sources) < maxSources
}

// network is the part of an address that one subscriber holds: so many bits of IPv4, a /64 of IPv6.
func network(addr netip.Addr, bits4 int) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = bits4
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
