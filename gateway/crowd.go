package gateway

import (
	"net"
	"net/netip"
	"sync"
)

// maxSourceConns bounds the connections that one network holds at once, so that nobody who has no certificate yet can
// keep everybody else out.
const maxSourceConns = 512

// crowdListener hangs up on a network that holds too many connections.
type crowdListener struct {
	net.Listener
	most int

	mu    sync.Mutex
	conns map[netip.Prefix]int
}

func newCrowdListener(l net.Listener, most int) *crowdListener {
	return &crowdListener{Listener: l, most: most, conns: make(map[netip.Prefix]int)}
}

func (l *crowdListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		network := networkOf(source.Addr())
		if l.enter(network) {
			return &crowdConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(network) })}, nil
		}
		conn.Close()
	}
}

func (l *crowdListener) enter(network netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[network] >= l.most {
		return false
	}
	l.conns[network]++
	return true
}

func (l *crowdListener) leave(network netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[network]--; l.conns[network] <= 0 {
		delete(l.conns, network)
	}
}

// crowdConn gives its place up when it is closed.
type crowdConn struct {
	net.Conn
	leave func()
}

func (c *crowdConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// networkOf is what one peer can easily take addresses of: an IPv4 address or an IPv6 /64. The zero prefix stands for an
// address that cannot be told.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	network, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}
