package store_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
)

// state is a database as its users see it.
type state interface {
	Identity() identity.Store
	Directory() directory.Store
	Revision() revision.Store
	Access() access.Store
}

// conform is what every database has to do. open returns a new, empty one for each test.
func conform(t *testing.T, open func(t *testing.T) state) {
	for name, test := range map[string]func(t *testing.T, db state){
		"an enrolment is kept as it is put":                    keepsEnrolments,
		"an invite is taken once and only in time":             takesInviteOnce,
		"of many who take one invite at once exactly one wins": takesInviteOnceUnderLoad,
		"a revoked enrolment never moves again":                revokedStaysRevoked,
		"the newest enrolment of a person is found":            findsNewestEnrolment,
		"an enrolment is found by its certificate":             findsEnrolmentBySerial,
		"a certificate belongs to one enrolment":               serialIsUnique,
		"authenticators are kept and never taken over":         keepsAuthenticators,
		"SSH keys are kept and never taken over":               keepsSSHKeys,
		"revoking twice keeps the first":                       revokesOnce,
		"web sessions are kept, moved on and ended":            keepsWebSessions,
		"web sessions that are over are forgotten":             forgetsWebSessions,
		"directories are numbered without gaps or repeats":     keepsDirectories,
		"of many who apply one version exactly one wins":       appliesOnceUnderLoad,
		"the book of revisions has no gaps or repeats":         keepsRevisions,
		"a book entry and its files are stored whole or not":   appendsWholeOrNot,
		"of many who append one entry exactly one wins":        appendsOnceUnderLoad,
		"a request is kept as it is put":                       keepsRequests,
		"requests are listed newest first":                     listsRequests,
		"a request is answered once, with its leases":          answersOnce,
		"of many who answer one request exactly one wins":      answersOnceUnderLoad,
		"of many who change one request nobody is lost":        losesNoAnswer,
		"a lease that cannot be stored undoes the answer":      answersWholeOrNot,
		"leases are listed until they end":                     listsLeases,
		"a lease is revoked at once":                           revokesLease,
		"of many who revoke one lease exactly one does":        revokesLeaseOnceUnderLoad,
		"sessions are kept and narrowed":                       keepsSessions,
		"cut-offs are kept until restored":                     keepsCutOffs,
		"emergencies are kept with their reviews":              keepsEmergencies,
		"a cancelled context stops a change":                   honoursContext,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}

// race runs f in n goroutines at once and returns how many had no error, and the errors of the others.
func race(n int, f func(i int) error) (won int, lost []error) {
	errs := make([]error, n)
	start, wait := make(chan struct{}), sync.WaitGroup{}
	for i := range n {
		wait.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wait.Wait()
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			lost = append(lost, err)
		}
	}
	return won, lost
}

func enrolment(id, person string) identity.Enrolment {
	return identity.Enrolment{ID: id, Person: person, Vendor: "acme", State: identity.StateInvited, TokenHash: "hash-" + id,
		InvitedBy: "mika", InvitedAt: noon, Expires: noon.Add(time.Hour)}
}

func keepsEnrolments(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	e := enrolment("e1", "hanako")
	ok(t, s.PutEnrolment(ctx, e))
	got, err := s.Enrolment(ctx, "hanako")
	ok(t, err)
	want(t, got, e)
	e.State, e.CertSerial, e.CertSHA256, e.NotAfter = identity.StateActive, "42", "ab", noon.AddDate(1, 0, 0)
	e.Code, e.ReleasedBy, e.ReleasedAt = "ABCD", "ken", noon.Add(time.Minute)
	ok(t, s.PutEnrolment(ctx, e))
	got, err = s.Enrolment(ctx, "hanako")
	ok(t, err)
	want(t, got, e)
	_, err = s.Enrolment(ctx, "taro")
	wantErr(t, err, identity.ErrNotFound)
}

func takesInviteOnce(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	e := enrolment("e1", "hanako")
	ok(t, s.PutEnrolment(ctx, e))
	_, err := s.TakeInvite(ctx, e.TokenHash, e.Expires)
	wantErr(t, err, identity.ErrNotFound)
	_, err = s.TakeInvite(ctx, "hash-e2", noon)
	wantErr(t, err, identity.ErrNotFound)
	_, err = s.TakeInvite(ctx, "", noon)
	wantErr(t, err, identity.ErrNotFound)
	got, err := s.TakeInvite(ctx, e.TokenHash, e.Expires.Add(-1))
	ok(t, err)
	e.State = identity.StateCertified
	want(t, got, e)
	_, err = s.TakeInvite(ctx, e.TokenHash, noon)
	wantErr(t, err, identity.ErrNotFound)
}

func takesInviteOnceUnderLoad(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	ok(t, s.PutEnrolment(ctx, enrolment("e1", "hanako")))
	won, lost := race(16, func(int) error {
		_, err := s.TakeInvite(ctx, "hash-e1", noon)
		return err
	})
	want(t, won, 1)
	for _, err := range lost {
		wantErr(t, err, identity.ErrNotFound)
	}
}

func revokedStaysRevoked(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	e := enrolment("e1", "hanako")
	e.State = identity.StateRevoked
	ok(t, s.PutEnrolment(ctx, e))
	e.State = identity.StateActive
	if err := s.PutEnrolment(ctx, e); err == nil {
		t.Fatal("a revoked enrolment became active")
	}
	e.State, e.Code = identity.StateRevoked, "x"
	ok(t, s.PutEnrolment(ctx, e))
	got, err := s.Enrolment(ctx, "hanako")
	ok(t, err)
	want(t, got, e)
	_, err = s.TakeInvite(ctx, e.TokenHash, noon)
	wantErr(t, err, identity.ErrNotFound)
}

func findsNewestEnrolment(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	first, second, other := enrolment("e2", "hanako"), enrolment("e1", "hanako"), enrolment("e3", "jiro")
	for _, e := range []identity.Enrolment{first, second, other} {
		ok(t, s.PutEnrolment(ctx, e))
	}
	first.Code = "changed later, but not newer"
	ok(t, s.PutEnrolment(ctx, first))
	got, err := s.Enrolment(ctx, "hanako")
	ok(t, err)
	want(t, got, second)
	all, err := s.Enrolments(ctx)
	ok(t, err)
	want(t, all, []identity.Enrolment{other, second, first})
}

func findsEnrolmentBySerial(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	e := enrolment("e1", "hanako")
	ok(t, s.PutEnrolment(ctx, e))
	_, err := s.EnrolmentBySerial(ctx, "")
	wantErr(t, err, identity.ErrNotFound)
	e.CertSerial = "340282366920938463463374607431768211455"
	ok(t, s.PutEnrolment(ctx, e))
	got, err := s.EnrolmentBySerial(ctx, e.CertSerial)
	ok(t, err)
	want(t, got, e)
	_, err = s.EnrolmentBySerial(ctx, "34")
	wantErr(t, err, identity.ErrNotFound)
}

func serialIsUnique(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	a, b := enrolment("e1", "hanako"), enrolment("e2", "jiro")
	a.CertSerial, b.CertSerial = "7", "7"
	ok(t, s.PutEnrolment(ctx, a))
	if err := s.PutEnrolment(ctx, b); err == nil {
		t.Fatal("two enrolments hold one certificate")
	}
	_, err := s.Enrolment(ctx, "jiro")
	wantErr(t, err, identity.ErrNotFound)
}

func keepsAuthenticators(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	a := identity.Authenticator{ID: "e1:x", Person: "hanako", Enrolment: "e1", Credential: []byte(`{"a":1}`), CreatedAt: noon}
	b := identity.Authenticator{ID: "e1:y", Person: "hanako", Enrolment: "e1", Credential: []byte(`{}`), CreatedAt: noon}
	ok(t, s.PutAuthenticator(ctx, a))
	ok(t, s.PutAuthenticator(ctx, b))
	a.Credential = []byte(`{"a":2}`)
	ok(t, s.PutAuthenticator(ctx, a))
	got, err := s.Authenticators(ctx, "hanako")
	ok(t, err)
	want(t, got, []identity.Authenticator{a, b})
	stolen := a
	stolen.Person = "jiro"
	if err := s.PutAuthenticator(ctx, stolen); err == nil {
		t.Fatal("somebody else took the authenticator over")
	}
	none, err := s.Authenticators(ctx, "jiro")
	ok(t, err)
	want(t, len(none), 0)
}

func keepsSSHKeys(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	a := identity.SSHKey{Fingerprint: "SHA256:a", Person: "hanako", Enrolment: "e1", PublicKey: "ssh-ed25519 AAAA", CreatedAt: noon}
	b := identity.SSHKey{Fingerprint: "SHA256:b", Person: "hanako", Enrolment: "e2", PublicKey: "ssh-ed25519 BBBB", CreatedAt: noon}
	ok(t, s.PutSSHKey(ctx, a))
	ok(t, s.PutSSHKey(ctx, b))
	ok(t, s.PutSSHKey(ctx, a))
	got, err := s.SSHKey(ctx, "SHA256:a")
	ok(t, err)
	want(t, got, a)
	list, err := s.SSHKeys(ctx, "hanako")
	ok(t, err)
	want(t, list, []identity.SSHKey{a, b})
	stolen := a
	stolen.Person = "jiro"
	if err := s.PutSSHKey(ctx, stolen); err == nil {
		t.Fatal("somebody else took the key over")
	}
	_, err = s.SSHKey(ctx, "SHA256:c")
	wantErr(t, err, identity.ErrNotFound)
}

func revokesOnce(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	first := identity.Revocation{Kind: "x509", ID: "42", Reason: "lost", By: "mika", At: noon}
	ok(t, s.Revoke(ctx, first))
	again := first
	again.Reason, again.At = "stolen", noon.Add(time.Hour)
	ok(t, s.Revoke(ctx, again))
	other := identity.Revocation{Kind: "ssh-cert", ID: "42", Reason: "lost", By: "mika", At: noon}
	ok(t, s.Revoke(ctx, other))
	list, err := s.Revocations(ctx)
	ok(t, err)
	want(t, list, []identity.Revocation{first, other})
}

func webSession(hash, person string) identity.WebSession {
	return identity.WebSession{IDHash: hash, Person: person, Vendor: "acme", Host: "console.example.com", CertSHA256: "ab",
		MFA:       identity.MFA{Method: "webauthn", At: noon, UV: true, AAGUID: "a-1", Purpose: "web.login"},
		CreatedAt: noon, SeenAt: noon, Expires: noon.Add(12 * time.Hour)}
}

func keepsWebSessions(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	w := webSession("h1", "hanako")
	ok(t, s.PutWebSession(ctx, w))
	got, err := s.WebSession(ctx, "h1")
	ok(t, err)
	want(t, got, w)
	w.SeenAt = noon.Add(time.Minute)
	ok(t, s.PutWebSession(ctx, w))
	got, err = s.WebSession(ctx, "h1")
	ok(t, err)
	want(t, got, w)
	stolen := w
	stolen.Person = "jiro"
	if err := s.PutWebSession(ctx, stolen); err == nil {
		t.Fatal("somebody else took the session over")
	}
	for hash, person := range map[string]string{"h2": "hanako", "h3": "hanako", "h4": "jiro"} {
		ok(t, s.PutWebSession(ctx, webSession(hash, person)))
	}
	ok(t, s.DeleteWebSession(ctx, "h1"))
	ok(t, s.DeleteWebSession(ctx, "h1"))
	_, err = s.WebSession(ctx, "h1")
	wantErr(t, err, identity.ErrNotFound)
	ok(t, s.DeleteWebSessions(ctx, "hanako"))
	_, err = s.WebSession(ctx, "h3")
	wantErr(t, err, identity.ErrNotFound)
	_, err = s.WebSession(ctx, "h4")
	ok(t, err)
}

func forgetsWebSessions(t *testing.T, db state) {
	ctx, s := context.Background(), db.Identity()
	ok(t, s.PutWebSession(ctx, webSession("h1", "hanako")))
	later := webSession("h2", "jiro")
	later.SeenAt, later.Expires = noon.Add(12*time.Hour), noon.Add(24*time.Hour)
	ok(t, s.PutWebSession(ctx, later))
	_, err := s.WebSession(ctx, "h1")
	wantErr(t, err, identity.ErrNotFound)
	_, err = s.WebSession(ctx, "h2")
	ok(t, err)
}

func version(n int, yaml string) directory.Version {
	return directory.Version{Number: n, YAML: []byte(yaml), By: "mika", Reason: "because", At: noon}
}

func keepsDirectories(t *testing.T, db state) {
	ctx, s := context.Background(), db.Directory()
	none, err := s.LatestDirectory(ctx)
	ok(t, err)
	want(t, none, directory.Version{})
	ok(t, s.SaveDirectory(ctx, version(1, "a: 1\r\n# 委託先\x00")))
	ok(t, s.SaveDirectory(ctx, version(2, "b: 2")))
	wantErr(t, s.SaveDirectory(ctx, version(2, "other")), directory.ErrConflict)
	wantErr(t, s.SaveDirectory(ctx, version(1, "other")), directory.ErrConflict)
	for _, n := range []int{4, 0, -1} {
		if err := s.SaveDirectory(ctx, version(n, "x")); err == nil {
			t.Fatalf("version %d was stored after version 2", n)
		}
	}
	latest, err := s.LatestDirectory(ctx)
	ok(t, err)
	want(t, latest, version(2, "b: 2"))
}

func appliesOnceUnderLoad(t *testing.T, db state) {
	ctx, s := context.Background(), db.Directory()
	won, lost := race(16, func(i int) error { return s.SaveDirectory(ctx, version(1, fmt.Sprint(i))) })
	want(t, won, 1)
	for _, err := range lost {
		wantErr(t, err, directory.ErrConflict)
	}
}

func request(id string) access.ApprovalRequest {
	scopes := []access.Scope{{Right: policy.Write, Pattern: "/srv/app/*"}, {Right: policy.Execute, Pattern: "apt \\* *"}}
	return access.ApprovalRequest{ID: id, Status: access.RequestPending, Person: "hanako", Vendor: "acme", Target: "db1", Login: "app",
		Session: "s-1", Operation: "ssh.exec", Command: "touch /srv/app/x", Needs: []policy.Need{{Right: policy.Write, Resource: "/srv/app/x"}},
		Asked: scopes, Scopes: scopes[:1], Minutes: 45, Reason: "fix", Ticket: "T-1", From: noon.Add(time.Minute), Every: access.EveryWeek,
		Times: 4, Decision: "d-1", CreatedAt: noon, Expires: noon.Add(time.Hour), Escalated: noon.Add(time.Second)}
}

func lease(id, person string, until time.Time) access.Lease {
	return access.Lease{Request: "r-1", Vendor: "acme", Login: "app", GrantedBy: []string{"mika", "nao"}, GrantedAt: noon, Lease: policy.Lease{ID: id, Person: person,
		Target: "db1", Right: policy.Write, Pattern: "/srv/app/*", From: until.Add(-time.Hour), Until: until}}
}

func keepsRequests(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	r := request("r-1")
	bare := access.ApprovalRequest{ID: "r-2", Status: access.RequestPending, Person: "jiro", Vendor: "acme", Target: "db1", CreatedAt: noon,
		Expires: noon.Add(time.Hour)}
	ok(t, s.PutRequest(ctx, r))
	ok(t, s.PutRequest(ctx, bare))
	for _, want1 := range []access.ApprovalRequest{r, bare} {
		got, err := s.Request(ctx, want1.ID)
		ok(t, err)
		want(t, got, want1)
	}
	if err := s.PutRequest(ctx, r); err == nil {
		t.Fatal("a request was filed over another one")
	}
	_, err := s.Request(ctx, "r-3")
	wantErr(t, err, access.ErrNotFound)
}

func listsRequests(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	for id, person := range map[string]string{"r-b": "hanako", "r-a": "jiro"} {
		r := request(id)
		r.Person = person
		ok(t, s.PutRequest(ctx, r))
		if id == "r-b" {
			continue
		}
		ok(t, s.ChangeRequest(ctx, id, func(r *access.ApprovalRequest) ([]access.Lease, error) {
			r.Status = access.RequestDenied
			return nil, nil
		}))
	}
	last := request("r-0")
	ok(t, s.PutRequest(ctx, last))
	for name, c := range map[string]struct {
		query access.RequestQuery
		want  []string
	}{
		"the newest":           {access.RequestQuery{Limit: 1}, []string{"r-0"}},
		"denied":               {access.RequestQuery{Status: access.RequestDenied}, []string{"r-a"}},
		"none":                 {access.RequestQuery{Status: access.RequestApproved, Limit: 9}, nil},
		"of a person":          {access.RequestQuery{Person: "jiro"}, []string{"r-a"}},
		"of a person, waiting": {access.RequestQuery{Person: "hanako", Status: access.RequestPending, Limit: 1}, []string{"r-0"}},
		"a quote in a filter":  {access.RequestQuery{Person: "' OR '1'='1"}, nil},
	} {
		list, err := s.Requests(ctx, c.query)
		ok(t, err)
		var ids []string
		for _, r := range list {
			ids = append(ids, r.ID)
		}
		if !slices.Equal(ids, c.want) {
			t.Errorf("%s: %v, want %v", name, ids, c.want)
		}
	}
	all, err := s.Requests(ctx, access.RequestQuery{})
	ok(t, err)
	want(t, len(all), 3)
	want(t, all[0].ID, "r-0")
}

// approve is a change that approves with these leases.
func approve(by string, leases ...access.Lease) func(*access.ApprovalRequest) ([]access.Lease, error) {
	return func(r *access.ApprovalRequest) ([]access.Lease, error) {
		if r.Status != access.RequestPending {
			return nil, access.ErrAnswered
		}
		r.Status = access.RequestApproved
		r.Answer = access.Answer{Status: access.RequestApproved, By: by, At: noon, Minutes: 30, Scopes: r.Scopes, Reason: "go"}
		r.Answers = append(r.Answers, r.Answer)
		return leases, nil
	}
}

func answersOnce(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	r := request("r-1")
	ok(t, s.PutRequest(ctx, r))
	leases := []access.Lease{lease("l-1", "hanako", noon.Add(time.Minute)), lease("l-2", "hanako", noon.Add(time.Hour))}
	wantErr(t, s.ChangeRequest(ctx, "r-2", approve("mika", leases...)), access.ErrNotFound)
	ok(t, s.ChangeRequest(ctx, "r-1", approve("mika", leases...)))
	_, err := approve("mika")(&r)
	ok(t, err)
	got, err := s.Request(ctx, "r-1")
	ok(t, err)
	want(t, got, r)
	kept, err := s.Leases(ctx, "hanako", noon)
	ok(t, err)
	want(t, kept, leases)
	wantErr(t, s.ChangeRequest(ctx, "r-1", approve("ken", lease("l-3", "hanako", noon.Add(time.Hour)))), access.ErrAnswered)
	got, err = s.Request(ctx, "r-1")
	ok(t, err)
	want(t, got, r)
}

func answersOnceUnderLoad(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	ok(t, s.PutRequest(ctx, request("r-1")))
	won, lost := race(16, func(i int) error {
		return s.ChangeRequest(ctx, "r-1", approve(fmt.Sprint("approver", i), lease(fmt.Sprint("l-", i), "hanako", noon.Add(time.Hour))))
	})
	want(t, won, 1)
	for _, err := range lost {
		wantErr(t, err, access.ErrAnswered)
	}
	leases, err := s.Leases(ctx, "", noon)
	ok(t, err)
	r, err := s.Request(ctx, "r-1")
	ok(t, err)
	if len(leases) != 1 || "approver"+leases[0].ID[2:] != r.Answer.By {
		t.Fatalf("answered by %s with the leases %v", r.Answer.By, leases)
	}
}

// losesNoAnswer has many people add an answer each: what one reads and writes nobody else changes meanwhile.
func losesNoAnswer(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	ok(t, s.PutRequest(ctx, request("r-1")))
	won, _ := race(16, func(i int) error {
		return s.ChangeRequest(ctx, "r-1", func(r *access.ApprovalRequest) ([]access.Lease, error) {
			r.Answers = append(r.Answers, access.Answer{Status: access.RequestApproved, By: fmt.Sprint("approver", i), At: noon})
			r.Minutes--
			return nil, nil
		})
	})
	want(t, won, 16)
	r, err := s.Request(ctx, "r-1")
	ok(t, err)
	want(t, len(r.Answers), 16)
	want(t, r.Minutes, request("").Minutes-16)
}

func answersWholeOrNot(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	ok(t, s.PutRequest(ctx, request("r-1")))
	twice := []access.Lease{lease("l-1", "hanako", noon.Add(time.Hour)), lease("l-1", "hanako", noon.Add(time.Hour))}
	if err := s.ChangeRequest(ctx, "r-1", approve("mika", twice...)); err == nil {
		t.Fatal("two leases of one id were stored")
	}
	changed := errors.New("thought better of it")
	wantErr(t, s.ChangeRequest(ctx, "r-1", func(r *access.ApprovalRequest) ([]access.Lease, error) {
		r.Status = access.RequestApproved
		return twice[:1], changed
	}), changed)
	got, err := s.Request(ctx, "r-1")
	ok(t, err)
	want(t, got, request("r-1"))
	leases, err := s.Leases(ctx, "", noon)
	ok(t, err)
	want(t, len(leases), 0)
}

func listsLeases(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	ok(t, s.PutRequest(ctx, request("r-1")))
	a, b := lease("l-3", "hanako", noon.Add(1)), lease("l-2", "hanako", noon.Add(time.Hour))
	c := lease("l-1", "jiro", noon.Add(2*time.Hour))
	ok(t, s.ChangeRequest(ctx, "r-1", approve("mika", c, b, a)))
	for name, q := range map[string]struct {
		person string
		at     time.Time
		want   []access.Lease
	}{
		"of everybody, in the order they end": {"", noon, []access.Lease{a, b, c}},
		"of one person":                       {"hanako", noon, []access.Lease{a, b}},
		"one that just ended is not live":     {"hanako", noon.Add(1), []access.Lease{b}},
		"of somebody without":                 {"taro", noon, nil},
	} {
		got, err := s.Leases(ctx, q.person, q.at)
		ok(t, err)
		if !reflect.DeepEqual(got, q.want) {
			t.Errorf("%s: %v, want %v", name, got, q.want)
		}
	}
}

func revokesLease(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	ok(t, s.PutRequest(ctx, request("r-1")))
	leases := []access.Lease{lease("l-1", "hanako", noon.Add(time.Hour)), lease("l-2", "hanako", noon.Add(time.Hour))}
	ok(t, s.ChangeRequest(ctx, "r-1", approve("mika", leases...)))
	revoked := access.Revocation{By: "mika", At: noon.Add(time.Minute), Reason: "done"}
	_, err := s.RevokeLease(ctx, "l-9", revoked)
	wantErr(t, err, access.ErrNotFound)
	was, err := s.RevokeLease(ctx, "l-1", revoked)
	ok(t, err)
	want(t, was, leases[0])
	got, err := s.Leases(ctx, "", noon.Add(time.Minute))
	ok(t, err)
	want(t, got, leases[1:])
	later := access.Revocation{By: "ken", At: noon.Add(2 * time.Minute)}
	_, err = s.RevokeLease(ctx, "l-1", later)
	wantErr(t, err, access.ErrNotFound)
	leases[0].Until, leases[0].Revoked = revoked.At, revoked
	got, err = s.Leases(ctx, "", noon)
	ok(t, err)
	want(t, got, leases)
}

func revokesLeaseOnceUnderLoad(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	ok(t, s.PutRequest(ctx, request("r-1")))
	ok(t, s.ChangeRequest(ctx, "r-1", approve("mika", lease("l-1", "hanako", noon.Add(time.Hour)))))
	won, lost := race(8, func(i int) error {
		_, err := s.RevokeLease(ctx, "l-1", access.Revocation{By: fmt.Sprint(i), At: noon.Add(time.Minute)})
		return err
	})
	want(t, won, 1)
	for _, err := range lost {
		wantErr(t, err, access.ErrNotFound)
	}
}

func keepsSessions(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	session := func(id, person, vendor, target string, started time.Time) access.SessionRecord {
		return access.SessionRecord{ID: id, Person: person, Vendor: vendor, Target: target, Login: "app", Protocol: "ssh",
			SourceIP: "203.0.113.9", Enforced: "parsed", StartedAt: started, Recording: "recordings/" + id}
	}
	a := session("s-b", "hanako", "acme", "db1", noon)
	b := session("s-a", "jiro", "acme-sub", "db1", noon.Add(time.Hour))
	c := session("s-c", "hanako", "acme", "orders", noon.Add(2*time.Hour))
	for _, r := range []access.SessionRecord{a, b, c} {
		ok(t, s.PutSession(ctx, r))
	}
	a.EndedAt, a.EndReason, a.Enforced = noon.Add(time.Minute), "exit", "recorded"
	ok(t, s.PutSession(ctx, a))
	got, err := s.Session(ctx, "s-b")
	ok(t, err)
	want(t, got, a)
	_, err = s.Session(ctx, "s-x")
	wantErr(t, err, access.ErrNotFound)
	for name, q := range map[string]struct {
		query access.SessionQuery
		want  []access.SessionRecord
	}{
		"all, newest first":    {access.SessionQuery{}, []access.SessionRecord{c, b, a}},
		"the newest two":       {access.SessionQuery{Limit: 2}, []access.SessionRecord{c, b}},
		"live ones":            {access.SessionQuery{Live: true}, []access.SessionRecord{c, b}},
		"of a person":          {access.SessionQuery{Person: "hanako"}, []access.SessionRecord{c, a}},
		"of a vendor":          {access.SessionQuery{Vendor: "acme-sub"}, []access.SessionRecord{b}},
		"on a target":          {access.SessionQuery{Target: "db1"}, []access.SessionRecord{b, a}},
		"since an instant":     {access.SessionQuery{Since: noon.Add(time.Hour)}, []access.SessionRecord{c, b}},
		"all of it at once":    {access.SessionQuery{Person: "hanako", Vendor: "acme", Target: "db1", Since: noon, Limit: 5}, []access.SessionRecord{a}},
		"a quote in a filter":  {access.SessionQuery{Person: "' OR '1'='1"}, nil},
		"live ones of nothing": {access.SessionQuery{Live: true, Target: "pg1"}, nil},
	} {
		list, err := s.Sessions(ctx, q.query)
		ok(t, err)
		if !reflect.DeepEqual(list, q.want) {
			t.Errorf("%s: %v, want %v", name, list, q.want)
		}
	}
}

func keepsCutOffs(t *testing.T, db state) {
	ctx, s := context.Background(), db.Access()
	a := access.CutOff{Vendor: "zeta", Reason: "breach", By: "mika", At: noon}
	b := access.CutOff{Vendor: "acme", Reason: "audit", By: "ken", At: noon}
	ok(t, s.PutCutOff(ctx, a))
	ok(t, s.PutCutOff(ctx, b))
	a.Reason = "breach confirmed"
	ok(t, s.PutCutOff(ctx, a))
	list, err := s.CutOffs(ctx)
	ok(t, err)
	want(t, list, []access.CutOff{b, a})
	ok(t, s.DeleteCutOff(ctx, "zeta"))
	wantErr(t, s.DeleteCutOff(ctx, "zeta"), access.ErrNotFound)
	list, err = s.CutOffs(ctx)
	ok(t, err)
	want(t, list, []access.CutOff{b})
}

func honoursContext(t *testing.T, db state) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantErr(t, db.Identity().PutEnrolment(ctx, enrolment("e1", "hanako")), context.Canceled)
	wantErr(t, db.Access().ChangeRequest(ctx, "r-1", approve("mika")), context.Canceled)
	_, err := db.Identity().Enrolment(context.Background(), "hanako")
	wantErr(t, err, identity.ErrNotFound)
}
