package identity

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// maxHolders bounds who can be named for emergencies; a list longer than this names nobody in particular.
const maxHolders = 64

// holder is somebody named for emergencies, with all that proves them.
type holder struct {
	Person    string                `json:"person"`
	Vendor    string                `json:"vendor"`
	Enrolment string                `json:"enrolment"`
	Serial    string                `json:"serial"` // of the client certificate, decimal
	SHA256    string                `json:"sha256"` // of its DER, hex
	NotAfter  time.Time             `json:"not_after"`
	Keys      []webauthn.Credential `json:"keys"`
}

// RefreshEmergencyHolders reads anew what these people hold and keeps it, in memory and in the file. When the store fails,
// what was known before stays as far as these people still are the ones; repeat it.
func (r *Registry) RefreshEmergencyHolders(ctx context.Context, named []string) error {
	if len(named) > maxHolders {
		return fmt.Errorf("%d people are named for emergencies, at most %d may be", len(named), maxHolders)
	}
	fresh, err := r.readHolders(ctx, named)
	if err != nil {
		fresh = r.emergencies.known(named)
	}
	return errors.Join(err, r.emergencies.keep(fresh, r.authority.evidence, r.now()))
}

func (r *Registry) readHolders(ctx context.Context, named []string) (map[string]holder, error) {
	fresh := map[string]holder{}
	r.change.Lock()
	defer r.change.Unlock()
	for _, person := range named {
		h, err := r.readHolder(ctx, person)
		if err == nil {
			err = r.catchUp(ctx, h)
		}
		if err != nil {
			return nil, fmt.Errorf("reading what %s holds for emergencies: %w", person, err)
		}
		if h.Serial != "" {
			fresh[h.Serial] = h
		}
	}
	return fresh, nil
}

// catchUp stores the counters of keys that were used while the store was away. The caller holds change.
func (r *Registry) catchUp(ctx context.Context, h holder) error {
	ahead := slices.Clone(h.Keys)
	known := holder{Keys: ahead}
	r.emergencies.mu.Lock()
	for _, k := range r.emergencies.holders[h.Serial].Keys {
		known.count(k)
	}
	r.emergencies.mu.Unlock()
	for i := range ahead {
		if ahead[i].Authenticator.SignCount == h.Keys[i].Authenticator.SignCount {
			continue
		}
		if err := r.storeKey(ctx, Enrolment{ID: h.Enrolment, Person: h.Person}, &ahead[i]); err != nil {
			return err
		}
	}
	return nil
}

// readHolder asks the store; the zero holder stands for somebody without a released enrolment.
func (r *Registry) readHolder(ctx context.Context, person string) (holder, error) {
	all, err := r.enrolmentsOf(ctx, person)
	if err != nil {
		return holder{}, err
	}
	i := slices.IndexFunc(all, func(e Enrolment) bool { return e.State == StateActive })
	if i < 0 {
		return holder{}, nil
	}
	e := all[i]
	keys, err := r.keys(ctx, e)
	return holder{Person: e.Person, Vendor: e.Vendor, Enrolment: e.ID, Serial: e.CertSerial, SHA256: e.CertSHA256,
		NotAfter: e.NotAfter, Keys: keys}, err
}

// hardware lists the keys that no platform copies to another device and that are not built into one.
func (h holder) hardware() []webauthn.Credential {
	var keys []webauthn.Credential
	for _, k := range h.Keys {
		if notHardware(k.Flags.BackupEligible || k.Flags.BackupState, k.Authenticator.Attachment, k.Transport) == "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// notHardware says why a key is not accepted in an emergency, "" when it is. What its browser does not tell (attachment,
// transports) does not count against it; the flag comes signed by the key itself.
func notHardware(synced bool, attachment protocol.AuthenticatorAttachment, transports []protocol.AuthenticatorTransport) string {
	external := []protocol.AuthenticatorTransport{protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard}
	switch {
	case synced:
		return "it is a passkey that is copied between devices"
	case attachment == protocol.Platform:
		return "it is built into a device"
	case len(transports) > 0 && !slices.ContainsFunc(transports, func(t protocol.AuthenticatorTransport) bool {
		return slices.Contains(external, t)
	}):
		return "it is built into a device"
	}
	return ""
}

func (h holder) problem(now time.Time) string {
	switch {
	case !now.Before(h.NotAfter):
		return "the certificate has expired"
	case len(h.hardware()) == 0:
		return "no hardware key is registered"
	}
	return ""
}

// counted takes over a key's counter, which never goes back.
func (e *emergencies) counted(enrolment string, key *webauthn.Credential) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for serial, h := range e.holders {
		if h.Enrolment == enrolment {
			h.Keys = slices.Clone(h.Keys)
			h.count(*key)
			e.holders[serial] = h
		}
	}
}

func (h *holder) count(key webauthn.Credential) {
	for i := range h.Keys {
		if a := &h.Keys[i]; bytes.Equal(a.ID, key.ID) {
			a.Authenticator.SignCount = max(a.Authenticator.SignCount, key.Authenticator.SignCount)
		}
	}
}

// known are the holders among these people.
func (e *emergencies) known(named []string) map[string]holder {
	e.mu.Lock()
	defer e.mu.Unlock()
	some := map[string]holder{}
	for serial, h := range e.holders {
		if slices.Contains(named, h.Person) {
			some[serial] = h
		}
	}
	return some
}

// keep replaces the holders. Counters that ran on while the store was away stay.
func (e *emergencies) keep(fresh map[string]holder, signer ed25519.PrivateKey, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for serial, h := range fresh {
		for _, known := range e.holders[serial].Keys {
			h.count(known)
		}
		fresh[serial] = h
	}
	e.holders = fresh
	return e.write(signer, now)
}

// holderFile is the file that keeps the holders over a restart. What is signed is holdersSigned and the bytes of Body.
type holderFile struct {
	Body      json.RawMessage `json:"body"`
	Signature []byte          `json:"signature"`
}

type holderBody struct {
	V       int       `json:"v"`
	At      time.Time `json:"at"`
	Holders []holder  `json:"holders"`
}

const (
	holdersVersion = 1
	holdersSigned  = "sekisho break-glass holders 1\n"
	maxHolderFile  = 4 << 20
)

// write puts the holders into the file; mu is held.
func (e *emergencies) write(signer ed25519.PrivateKey, now time.Time) error {
	if e.file == "" {
		return nil
	}
	body := holderBody{V: holdersVersion, At: now.UTC(), Holders: []holder{}}
	for _, h := range e.holders {
		body.Holders = append(body.Holders, h)
	}
	slices.SortFunc(body.Holders, func(a, b holder) int { return bytes.Compare([]byte(a.Person), []byte(b.Person)) })
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding who may declare an emergency: %w", err)
	}
	text, err = json.Marshal(holderFile{Body: text, Signature: ed25519.Sign(signer, append([]byte(holdersSigned), text...))})
	if err != nil {
		return fmt.Errorf("encoding who may declare an emergency: %w", err)
	}
	if err := writeFile(e.file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keeping who may declare an emergency: %w", err)
	}
	return nil
}

// load reads the file of an earlier run; none is no error, one that was changed is.
func (e *emergencies) load(public ed25519.PublicKey) error {
	if e.file == "" {
		return nil
	}
	text, err := os.ReadFile(e.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading who may declare an emergency: %w", err)
	}
	body, err := openHolders(text, public)
	if err != nil {
		return fmt.Errorf("%s cannot be trusted (%w); remove it, it is made again", e.file, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holders = map[string]holder{}
	for _, h := range body.Holders {
		e.holders[h.Serial] = h
	}
	return nil
}

func openHolders(text []byte, public ed25519.PublicKey) (holderBody, error) {
	var file holderFile
	var body holderBody
	if len(text) > maxHolderFile {
		return body, fmt.Errorf("it is larger than %d bytes", maxHolderFile)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return body, err
	}
	if !ed25519.Verify(public, append([]byte(holdersSigned), file.Body...), file.Signature) {
		return body, errors.New("its signature does not verify")
	}
	if err := json.Unmarshal(file.Body, &body); err != nil {
		return body, err
	}
	if body.V != holdersVersion {
		return body, fmt.Errorf("it is of version %d, want %d", body.V, holdersVersion)
	}
	return body, nil
}
