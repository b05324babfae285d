package sshproxy

import (
	"net/netip"
	"sync"
	"time"
)

// Limits bound what peers can make the gateway hold. A zero field means the default.
type Limits struct {
	Grace         time.Duration // from connecting to being logged in, and for confirming that a jump is closed; default 1 minute
	Approval      time.Duration // how long a login waits for its approval in the browser; default and most 2 minutes
	Startups      int           // connections not yet logged in, of everybody; default 200
	StartupsPerIP int           // the same from one address; default 50
	Connections   int           // connections in all; default 4096
	PerPerson     int           // connections one person is logged in on; default 128
	Pending       int           // logins waiting for approval at once; default 100
	Channels      int           // channels of one connection at once; default 16
	Upstream      time.Duration // connecting to a target and its SSH handshake; default 15 s
}

// maxApproval is the longest a login may wait for its approval, whatever is configured.
const maxApproval = 2 * time.Minute

func (l *Limits) complete() {
	fallback(&l.Grace, time.Minute)
	fallback(&l.Approval, maxApproval)
	l.Approval = min(l.Approval, maxApproval)
	fallback(&l.Startups, 200)
	fallback(&l.StartupsPerIP, 50)
	fallback(&l.Connections, 4096)
	fallback(&l.Pending, 100)
	fallback(&l.PerPerson, 128)
	fallback(&l.Channels, 16)
	fallback(&l.Upstream, 15*time.Second)
}

func fallback[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// turnstile counts connections: how many there are, and how many of them nobody has logged in on yet.
type turnstile struct {
	limits Limits

	mu       sync.Mutex // guards the fields below
	total    int
	starting int
	byIP     map[netip.Addr]int // starting, per address; IPv6 by its /64, which one host can fill
	byPerson map[string]int     // logged in
}

func newTurnstile(limits Limits) *turnstile {
	return &turnstile{limits: limits, byIP: make(map[netip.Addr]int), byPerson: make(map[string]int)}
}

// enter admits one more connection or not.
func (t *turnstile) enter(ip netip.Addr) bool {
	ip = networkOf(ip)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total >= t.limits.Connections || t.starting >= t.limits.Startups || t.byIP[ip] >= t.limits.StartupsPerIP {
		return false
	}
	t.total++
	t.starting++
	t.byIP[ip]++
	return true
}

// started says that a connection which entered has logged in, or is going away without.
func (t *turnstile) started(ip netip.Addr) {
	ip = networkOf(ip)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starting--
	if t.byIP[ip]--; t.byIP[ip] <= 0 {
		delete(t.byIP, ip)
	}
}

// logIn admits one more connection of a person or not.
func (t *turnstile) logIn(person string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPerson[person] >= t.limits.PerPerson {
		return false
	}
	t.byPerson[person]++
	return true
}

// logOut takes back what logIn admitted.
func (t *turnstile) logOut(person string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPerson[person]--; t.byPerson[person] <= 0 {
		delete(t.byPerson, person)
	}
}

// leave says that a connection is gone.
func (t *turnstile) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total--
}

func networkOf(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if !ip.Is6() {
		return ip
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return ip
	}
	return prefix.Addr()
}

// slots is a counter with a ceiling: channels of a connection, logins waiting for approval.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) give() { <-s }
