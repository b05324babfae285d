package sshproxy

import (
	"bytes"
	"strings"
	"time"
)

// Clients say which software they are before anything is agreed on.
const (
	greetingTime = 300 * time.Millisecond // the longest that a client is waited for
	maxGreeting  = 255                    // bytes, RFC 4253, 4.2
)

// greeting is what a client said before the SSH library hears it.
type greeting struct {
	line []byte
	read int // so much of it has the library heard
}

// hear reads a client's greeting ahead, as far as it comes at once.
func (c *peer) hear() {
	c.Conn.SetReadDeadline(time.Now().Add(greetingTime))
	defer c.Conn.SetReadDeadline(time.Time{})
	buf := make([]byte, maxGreeting)
	n := 0
	for n < len(buf) && !bytes.ContainsRune(buf[:n], '\n') {
		more, err := c.Conn.Read(buf[n:])
		n += more
		if err != nil {
			break
		}
	}
	c.greeting.line = buf[:n]
}

// again gives the library what was read ahead.
func (g *greeting) again(b []byte) int {
	n := copy(b, g.line[g.read:])
	if g.read += n; g.read == len(g.line) {
		*g = greeting{}
	}
	return n
}

// ciphers are for the client that greeted so. OpenSSH has AES-GCM in every version and would choose another; other clients,
// Dropbear and older Paramiko among them, have nothing but the others.
func (g *greeting) ciphers() []string {
	if strings.HasPrefix(string(g.line), "SSH-2.0-OpenSSH_") {
		return serverCiphers
	}
	return clientCiphers
}
