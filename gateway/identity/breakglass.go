package identity

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Errors of emergencies (break-glass).
var (
	// ErrNotNamed: the certificate is not one of somebody whom the policy names for emergencies.
	ErrNotNamed = errors.New("you are not named for emergency access")
	// ErrHardware: what confirms is not a hardware key: a passkey that is copied between devices, or one built into a device.
	ErrHardware = errors.New("emergency access needs a hardware security key")
	// ErrEmergencyOver: the emergency that a certificate or session was made for has ended.
	ErrEmergencyOver = errors.New("this emergency access is over")
)

// purposeEmergency begins the purpose of the ceremony that declares an emergency, and so of its second factor:
// break-glass:g-ULID.
const purposeEmergency = "break-glass:"

// emergencyOption is the critical option that ties an SSH certificate to its emergency. Whoever does not know it must
// refuse the certificate.
const emergencyOption = "break-glass@sekisho"

// maxEmergencySessions bounds the web sessions of emergencies.
const maxEmergencySessions = 256

// Pass is what a declared emergency proves: that this certificate's person confirmed it with a hardware key.
type Pass struct {
	ID          string // g-ULID
	Person      string
	Vendor      string
	Certificate string    // serial of the client certificate that declared it
	Serial      string    // of the SSH certificate made for it, "" for none
	Fingerprint string    // of that certificate's key
	ConfirmedAt time.Time // when, and by which model of key (AAGUID)
	AAGUID      string
	Until       time.Time
}

func (p Pass) mfa() MFA {
	return MFA{Method: "webauthn", At: p.ConfirmedAt, UV: true, AAGUID: p.AAGUID, Purpose: purposeEmergency + p.ID}
}

// emergencies is what the registry remembers of break-glass. Its lock is taken after every other and never held while
// calling the store: nothing on the way from a declaration to a session may wait for the store.
type emergencies struct {
	file string                       // where holders are kept, "" for nowhere
	find func(id string) (Pass, bool) // the live emergencies; nil: none
	used func()                       // called after a key has confirmed; may be nil

	asserting sync.Mutex // one answer of a key at a time; taken before mu

	mu       sync.Mutex
	holders  map[string]holder     // by the client certificate's serial
	sessions map[string]WebSession // by the cookie's hash
}

// Emergency is the id of the emergency that this second factor declared, "" for any other.
func (m MFA) Emergency() string {
	id, _ := strings.CutPrefix(m.Purpose, purposeEmergency)
	if id == m.Purpose {
		return ""
	}
	return id
}

// HonourEmergencies has certificates and sessions of emergencies accepted as long as find knows theirs as live, and used
// called after a hardware key has confirmed one, whose counter is to be kept. Call it before the registry is used.
func (r *Registry) HonourEmergencies(find func(id string) (Pass, bool), used func()) {
	r.emergencies.find, r.emergencies.used = find, used
}

func (r *Registry) pass(id string) (Pass, bool) {
	if id == "" || r.emergencies.find == nil {
		return Pass{}, false
	}
	p, ok := r.emergencies.find(id)
	return p, ok && p.ID == id && r.now().Before(p.Until) && !r.lost(p)
}

// lost tells whether anything that an emergency rests on was revoked.
func (r *Registry) lost(p Pass) bool {
	return r.Revoked(kindPerson, p.Person) || r.Revoked("vendor", p.Vendor) || r.Revoked(kindX509, p.Certificate)
}

// EmergencyClient proves the peer of a TLS connection from memory: somebody named for emergencies, by the certificate of
// their released enrolment. ErrNotNamed for everybody else's certificates.
func (r *Registry) EmergencyClient(cs *tls.ConnectionState) (Credential, error) {
	c, err := r.proved(cs)
	if err != nil {
		return Credential{}, err
	}
	h, err := r.holderOf(c)
	if err != nil {
		return Credential{}, err
	}
	if r.Revoked(kindX509, c.Serial) || r.Revoked(kindPerson, h.Person) || r.Revoked("vendor", h.Vendor) {
		return Credential{}, fmt.Errorf("certificate of %s: %w", h.Person, ErrRevoked)
	}
	c.State = StateActive
	return c, nil
}

// holderOf finds the holder of this very certificate.
func (r *Registry) holderOf(c Credential) (holder, error) {
	r.emergencies.mu.Lock()
	defer r.emergencies.mu.Unlock()
	h, ok := r.emergencies.holders[c.Serial]
	same := subtle.ConstantTimeCompare([]byte(h.SHA256), []byte(c.SHA256)) == 1
	if !ok || !same || h.Person != c.Person || h.Vendor != c.Vendor {
		return holder{}, fmt.Errorf("certificate of %s: %w", c.Person, ErrNotNamed)
	}
	if !r.now().Before(h.NotAfter) {
		return holder{}, fmt.Errorf("certificate of %s: %w", c.Person, ErrExpired)
	}
	return h, nil
}

// IssueEmergencySSH makes the SSH certificate of an emergency for a key that need not be enrolled, from source only and no
// longer than until. It works once the emergency is declared with its serial, and as long as that lives. c comes from
// EmergencyClient and mfa from FinishEmergency, both just now.
func (r *Registry) IssueEmergencySSH(
	c Credential, publicKey string, mfa MFA, source netip.Addr, until time.Time,
) (*ssh.Certificate, error) {
	key, err := parseSSHKey(publicKey)
	if err != nil {
		return nil, err
	}
	h, err := r.holderOf(c)
	if err != nil {
		return nil, err
	}
	if err := r.checkFresh(mfa, purposeEmergency+mfa.Emergency(), ceremonyLifetime); err != nil {
		return nil, err
	}
	source = plainAddr(source)
	if !source.IsValid() {
		return nil, fmt.Errorf("issuing an SSH certificate: %w: unknown", ErrSource)
	}
	if h.NotAfter.Before(until) {
		until = h.NotAfter
	}
	cert := &ssh.Certificate{
		Key:             key,
		Serial:          newSSHSerial(),
		CertType:        ssh.UserCert,
		KeyId:           fmt.Sprintf("sekisho:%s:%s:%s", h.Vendor, h.Person, mfa.Emergency()),
		ValidPrincipals: []string{h.Person},
		ValidAfter:      uint64(r.now().Add(-backdate).Unix()),
		ValidBefore:     uint64(until.Unix()),
		Permissions: ssh.Permissions{
			CriticalOptions: map[string]string{
				sourceAddress:   netip.PrefixFrom(source, source.BitLen()).String(),
				emergencyOption: mfa.Emergency(),
			},
			Extensions: map[string]string{"permit-pty": "", "permit-port-forwarding": ""},
		},
	}
	if err := cert.SignCert(rand.Reader, r.authority.userCA); err != nil {
		return nil, fmt.Errorf("signing an SSH certificate for %s: %w", h.Person, err)
	}
	return cert, nil
}

// passLogin is CheckSSH for the certificate of an emergency: everything it needs is in memory.
func (r *Registry) passLogin(facts sshFacts, remote netip.Addr) (SSHLogin, error) {
	p, ok := r.pass(facts.emergency)
	serial := serialOf(facts.cert)
	if r.Revoked(kindSSHCert, serial) || r.Revoked(kindSSHKey, facts.fingerprint) {
		return SSHLogin{}, fmt.Errorf("SSH certificate %s of %s: %w", serial, facts.person, ErrRevoked)
	}
	if !ok || p.Person != facts.person || p.Serial != serial || p.Fingerprint != facts.fingerprint {
		return SSHLogin{}, fmt.Errorf("SSH certificate %s of %s: %w", serial, facts.person, ErrEmergencyOver)
	}
	r.noteSSH(facts.cert, Enrolment{Person: p.Person, CertSerial: p.Certificate})
	return SSHLogin{
		Principal: Principal{Person: p.Person, Vendor: p.Vendor, Serial: serial, MFA: p.mfa(),
			NotAfter: time.Unix(int64(facts.cert.ValidBefore), 0).UTC(), Source: netip.AddrPortFrom(plainAddr(remote), 0)},
		Fresh: true, Fingerprint: facts.fingerprint,
	}, nil
}

// OpenEmergencySession makes the cookie value of a session on one host that lives in memory and as long as the emergency
// that mfa declared.
func (r *Registry) OpenEmergencySession(c Credential, host string, mfa MFA) (cookie string, err error) {
	p, ok := r.pass(mfa.Emergency())
	if !ok || p.Person != c.Person || p.Certificate != c.Serial {
		return "", fmt.Errorf("session of %s: %w", c.Person, ErrEmergencyOver)
	}
	cookie = newToken()
	hash, _ := hashToken(cookie)
	now := r.now().UTC()
	return cookie, r.emergencies.remember(WebSession{IDHash: hash, Person: c.Person, Vendor: c.Vendor, Host: strings.ToLower(host),
		CertSHA256: c.SHA256, MFA: mfa, CreatedAt: now, SeenAt: now, Expires: p.Until.UTC()}, now)
}

func (e *emergencies) remember(s WebSession, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sessions == nil {
		e.sessions = map[string]WebSession{}
	}
	for hash, old := range e.sessions {
		if !now.Before(old.Expires) {
			delete(e.sessions, hash)
		}
	}
	if len(e.sessions) >= maxEmergencySessions {
		return fmt.Errorf("web sessions of emergencies: %w", ErrLimit)
	}
	e.sessions[s.IDHash] = s
	return nil
}

// emergencySession finds a session in memory; it is there as long as its emergency lives.
func (r *Registry) emergencySession(hash string) (WebSession, bool) {
	r.emergencies.mu.Lock()
	s, ok := r.emergencies.sessions[hash]
	r.emergencies.mu.Unlock()
	if !ok {
		return WebSession{}, false
	}
	if _, live := r.pass(s.MFA.Emergency()); !live {
		r.emergencies.forget(func(old WebSession) bool { return old.IDHash == hash })
		return WebSession{}, false
	}
	return s, true
}

func (e *emergencies) forget(which func(WebSession) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for hash, s := range e.sessions {
		if which(s) {
			delete(e.sessions, hash)
		}
	}
}

// inEmergency is the enrolment behind a certificate whose person has an emergency session open, from memory.
func (r *Registry) inEmergency(c Credential) (Enrolment, bool) {
	r.emergencies.mu.Lock()
	ids := map[string]bool{}
	for _, s := range r.emergencies.sessions {
		if s.CertSHA256 == c.SHA256 {
			ids[s.MFA.Emergency()] = true
		}
	}
	r.emergencies.mu.Unlock()
	for id := range ids {
		p, live := r.pass(id)
		if !live || p.Certificate != c.Serial {
			continue
		}
		h, err := r.holderOf(c)
		return Enrolment{ID: h.Enrolment, Person: h.Person, Vendor: h.Vendor, State: StateActive, CertSerial: h.Serial,
			CertSHA256: h.SHA256, NotAfter: h.NotAfter}, err == nil
	}
	return Enrolment{}, false
}

// EmergencyHolder is somebody named for emergencies and what keeps them from declaring one, "" when nothing does.
type EmergencyHolder struct {
	Person   string    `json:"person"`
	NotAfter time.Time `json:"not_after,omitzero"` // of their certificate
	Problem  string    `json:"problem,omitempty"`
}

// EmergencyHolders tells for each of these people whether they could declare an emergency now.
func (r *Registry) EmergencyHolders(named []string) []EmergencyHolder {
	r.emergencies.mu.Lock()
	defer r.emergencies.mu.Unlock()
	list := make([]EmergencyHolder, 0, len(named))
	for _, person := range named {
		e := EmergencyHolder{Person: person, Problem: "has no released enrolment"}
		for _, h := range r.emergencies.holders {
			if h.Person == person {
				e.NotAfter, e.Problem = h.NotAfter, h.problem(r.now())
			}
		}
		if r.Revoked(kindPerson, person) {
			e.Problem = "was revoked"
		}
		list = append(list, e)
	}
	return list
}
