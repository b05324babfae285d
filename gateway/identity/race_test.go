package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/identity"
)

// winners runs f many times at once and counts how often it succeeds.
func winners(f func() error) int {
	var won atomic.Int32
	var all sync.WaitGroup
	start := make(chan struct{})
	for range 8 {
		all.Go(func() {
			<-start
			if f() == nil {
				won.Add(1)
			}
		})
	}
	close(start)
	all.Wait()
	return int(won.Load())
}

func TestWhatWorksOnceWorksOnceForManyAtATime(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	c := h.credential()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	request := newRequest(t, key)
	invitation, err := g.registry.Invite(g.ctx, "taro", "acme", "admin")
	must(t, err)
	s, err := g.registry.WebSession(g.ctx, h.cookie(), testHost, c)
	must(t, err)
	token, err := g.registry.Handoff(g.ctx, s, appHost)
	must(t, err)
	ceremony, options, err := g.registry.BeginLogin(g.ctx, c, identity.PurposeLogin, nil)
	must(t, err)
	answer := h.soft.get(options)
	for name, f := range map[string]func() error{
		"an invite":    func() error { _, err := g.registry.Enrol(g.ctx, invitation.Token, request); return err },
		"an assertion": func() error { _, err := g.registry.FinishLogin(g.ctx, c, ceremony, answer); return err },
		"a handoff":    func() error { _, err := g.registry.TakeHandoff(g.ctx, token, appHost, c); return err },
		"a place to wait": func() error {
			_, err := g.registry.Pend(g.ctx, pendingRequest("hanako"))
			return err
		},
	} {
		if n := winners(f); n != 1 {
			t.Errorf("%s worked %d times", name, n)
		}
	}
}

func TestALogoutIsNotUndoneByARequestUnderWay(t *testing.T) {
	g := newGate(t)
	h := g.active("hanako", "acme")
	c := h.credential()
	for range 8 {
		cookie := h.cookie()
		g.clock.pass(time.Minute) // the next request stores the last use
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { g.registry.WebSession(g.ctx, cookie, testHost, c) })
		}
		must(t, g.registry.CloseWebSessions(g.ctx, "hanako"))
		all.Wait()
		_, err := g.registry.WebSession(g.ctx, cookie, testHost, c)
		wantErr(t, err, identity.ErrNoSession)
	}
}

// failing is a store whose disk is full.
type failing struct {
	identity.Store
	full atomic.Bool
}

var errFull = errors.New("no space left on device")

func (f *failing) Revoke(ctx context.Context, r identity.Revocation) error {
	if f.full.Load() {
		return errFull
	}
	return f.Store.Revoke(ctx, r)
}

func (f *failing) PutEnrolment(ctx context.Context, e identity.Enrolment) error {
	if f.full.Load() {
		return errFull
	}
	return f.Store.PutEnrolment(ctx, e)
}

func TestARevocationHoldsEvenWhenItCannotBeStored(t *testing.T) {
	g := newGate(t)
	disk := &failing{Store: g.store}
	g.store = disk
	g.restart()
	h := g.active("hanako", "acme")
	cert := h.certificate()
	disk.full.Store(true)
	wantErr(t, g.registry.RevokePerson(g.ctx, "hanako", "left", "mika"), errFull)
	_, err := h.client()
	wantErr(t, err, identity.ErrRevoked)
	_, err = g.registry.CheckSSH(g.ctx, cert, home)
	wantErr(t, err, identity.ErrRevoked)

	disk.full.Store(false)
	must(t, g.registry.RevokePerson(g.ctx, "hanako", "left", "mika"))
	g.restart()
	_, err = h.client()
	wantErr(t, err, identity.ErrRevoked)
}

func TestAReleaseThatCannotRevokeTheOldCredentialsDoesNotHappen(t *testing.T) {
	g := newGate(t)
	disk := &failing{Store: g.store}
	g.store = disk
	g.restart()
	g.active("hanako", "acme")
	fresh := g.waiting("hanako", "acme")
	e, err := g.registry.Code(g.ctx, "hanako")
	must(t, err)
	disk.full.Store(true)
	wantErr(t, g.registry.Release(g.ctx, "hanako", e.Code, "mika"), errFull)
	_, err = fresh.client()
	wantErr(t, err, identity.ErrWaiting)
	disk.full.Store(false)
	must(t, g.registry.Release(g.ctx, "hanako", e.Code, "mika"))
	_, err = fresh.client()
	must(t, err)
}
