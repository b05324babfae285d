package sshproxy

import (
	"crypto/subtle"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
)

// hostCheck recognises a target by its pinned host key or by the authority of its host certificate, whichever the
// directory has. Without either it recognises nothing.
type hostCheck struct {
	target     access.Target
	now        func() time.Time
	algorithms []string // still worth asking the target for

	accepted bool   // the key of the last handshake was the right one
	rejected string // the type of the last key that was not
	problem  *hostKeyError
}

// hostKeyError says that whoever answers at the target's address is not known to be the target.
type hostKeyError struct {
	expected string // as in the directory
	shown    string // fingerprint of the first key shown that did not fit
	why      string
}

func (e *hostKeyError) Error() string {
	return fmt.Sprintf("host key: %s (expected %s, shown %s)", e.why, e.expected, e.shown)
}

func newHostCheck(target access.Target, now func() time.Time) *hostCheck {
	h := &hostCheck{target: target, now: now, algorithms: slices.Clone(hostKeys)}
	if target.HostKey == "" {
		// Plain keys come last: a target without a certificate then shows what it has, and the error can say so.
		h.algorithms = slices.Concat(hostCertificates, hostKeys)
	}
	return h
}

// begin forgets the last handshake's verdict.
func (h *hostCheck) begin() { h.accepted, h.rejected = false, "" }

// callback is the ssh.HostKeyCallback of one handshake.
func (h *hostCheck) callback(_ string, _ net.Addr, key ssh.PublicKey) error {
	why := h.judge(key)
	if why == "" {
		h.accepted = true
		return nil
	}
	h.rejected = key.Type()
	if h.problem == nil {
		h.problem = &hostKeyError{expected: h.expected(), shown: ssh.FingerprintSHA256(plain(key)), why: why}
	}
	return h.problem
}

func (h *hostCheck) expected() string {
	if h.target.HostKey != "" {
		return h.target.HostKey
	}
	return "a certificate of " + h.target.HostCA
}

// judge returns what is wrong with a key, "" if nothing is.
func (h *hostCheck) judge(key ssh.PublicKey) string {
	switch {
	case h.target.HostKey != "":
		if !sameFingerprint(key, h.target.HostKey) {
			return "another key than the one on record"
		}
		return ""
	case h.target.HostCA != "":
		return h.judgeCertificate(key)
	}
	return "the directory has neither host_key nor host_ca"
}

func (h *hostCheck) judgeCertificate(key ssh.PublicKey) string {
	cert, ok := key.(*ssh.Certificate)
	switch {
	case !ok:
		return "no host certificate was shown"
	case cert.CertType != ssh.HostCert:
		return "the certificate is not a host certificate"
	case !sameFingerprint(cert.SignatureKey, h.target.HostCA):
		return "the certificate is of another authority"
	case len(cert.ValidPrincipals) == 0:
		// The library would take it for everybody's.
		return "the certificate names no host"
	}
	checker := ssh.CertChecker{Clock: h.now}
	if err := checker.CheckCert(h.target.Name, cert); err != nil {
		return "the certificate does not hold: " + clean(err.Error(), 256)
	}
	return ""
}

// another drops the key type that was just rejected and tells whether a handshake with the rest is worth trying: a host
// has several keys, and the pinned one may not be the one it prefers to show.
func (h *hostCheck) another() bool {
	if h.target.HostKey == "" || h.rejected == "" {
		return false
	}
	rejected := h.rejected
	h.algorithms = slices.DeleteFunc(h.algorithms, func(algorithm string) bool {
		return algorithm == rejected || rejected == ssh.KeyAlgoRSA && (algorithm == ssh.KeyAlgoRSASHA256 || algorithm == ssh.KeyAlgoRSASHA512)
	})
	return len(h.algorithms) > 0
}

func sameFingerprint(key ssh.PublicKey, fingerprint string) bool {
	return subtle.ConstantTimeCompare([]byte(ssh.FingerprintSHA256(key)), []byte(fingerprint)) == 1
}

// plain is the key inside a certificate, or the key itself.
func plain(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}
