package sshproxy

import (
	"slices"

	"golang.org/x/crypto/ssh"
)

// The algorithms spoken on both sides, best first. Nothing here uses SHA-1, CBC, or MAC-then-encrypt.
var (
	keyExchanges = []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519}
	macs         = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM}

	// serverCiphers are AES-GCM alone: the client's order wins, OpenSSH's puts ChaCha20 and AES-CTR first, and both cost
	// the gateway about twice the CPU.
	serverCiphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	// clientCiphers are for targets, where our order wins and old servers are met.
	clientCiphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305, ssh.CipherAES256CTR}

	// userKeys are the signatures contractors may log in with. sk keys prove a touch only, which is possession: whether a
	// user was verified is asked of WebAuthn alone.
	userKeys = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256, ssh.KeyAlgoECDSA256,
		ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}

	// hostKeys are the host key algorithms accepted from targets, and hostCertificates the same as certificates.
	hostKeys = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
	hostCertificates = []string{ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01,
		ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01}
)

// transport is the part of a configuration that clients and servers share.
func transport(ciphers []string) ssh.Config {
	return ssh.Config{KeyExchanges: slices.Clone(keyExchanges), Ciphers: slices.Clone(ciphers), MACs: slices.Clone(macs)}
}
