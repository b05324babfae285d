package sshproxy

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// maxName bounds the user names and host names that peers send; nothing real is longer.
const maxName = 255

// address names the account and the target of a connection, as the contractor wrote them.
type address struct {
	login, target string
}

// parseAddress reads the user name of `ssh login+target@gateway`. It splits at the last +, so that a login may contain
// one. A name without + addresses the gateway itself: named is false. ok is false for a name with an empty half or with
// characters no login or target has.
func parseAddress(user string) (a address, named, ok bool) {
	if !printable(user, maxName) {
		return address{}, false, false
	}
	i := strings.LastIndexByte(user, '+')
	if i < 0 {
		return address{}, false, true
	}
	a = address{login: user[:i], target: user[i+1:]}
	return a, true, a.login != "" && a.target != ""
}

// forward is the payload of a direct-tcpip channel (RFC 4254, 7.2).
type forward struct {
	Host           string
	Port           uint32
	OriginatorHost string
	OriginatorPort uint32
}

// parseForward reads a direct-tcpip payload; trailing bytes, impossible ports and unprintable hosts are refused.
func parseForward(payload []byte) (forward, bool) {
	var f forward
	if err := ssh.Unmarshal(payload, &f); err != nil {
		return forward{}, false
	}
	ok := f.Host != "" && f.Port <= 65535 && f.OriginatorPort <= 65535 &&
		printable(f.Host, maxName) && printable(f.OriginatorHost, maxName)
	return f, ok
}

// stdio tells whether the forward is what OpenSSH's own jump (-J, -W) opens. The client end of a stdio forward is a pipe,
// which has no address, and OpenSSH announces it as 127.0.0.1:65535. A forwarded listener (-L, -D) announces the real peer.
func (f forward) stdio() bool {
	return f.OriginatorHost == "127.0.0.1" && f.OriginatorPort == 65535
}

// ssh tells whether the forward is to a target's SSH. The target's real address is the door's business, so the port is
// only the one that names the protocol.
func (f forward) ssh() bool { return f.Port == 22 }

// printable tells whether a peer's word is safe to show, log and record.
func printable(s string, limit int) bool {
	if len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// clean makes text of unknown origin safe for a terminal: printable runes, tabs and newlines, at most limit bytes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	for len(s) > limit {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// sourceOf is the IP address and port of a peer's TCP connection.
func sourceOf(addr interface{ String() string }) netip.AddrPort {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
