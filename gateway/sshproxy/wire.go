package sshproxy

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// The SSH library asks the kernel for little at a time: two reads and two writes for each packet of 32 KiB. A wire makes
// fewer and larger ones of them, which is most of what moving bulk data costs.
const (
	aheadSize = 128 << 10             // read beyond what the library asks for
	corkSize  = 4*maxPacket + 4<<10   // written at once: four packets with what the library adds to them
	corkTime  = time.Millisecond      // the longest that bytes are held back
	closeTime = 10 * time.Millisecond // what a closing wire gives to bytes that it still holds
	maxPacket = 32 << 10              // the library's packets of a channel's data

	// writerSize is the library's write buffer. A write of exactly this is the beginning of a packet that did not fit:
	// encrypted packets are 4 bytes longer than a multiple of 8.
	writerSize = 4 << 10
)

type aheadBuffer [aheadSize]byte

// Buffers of wires are held only while there is something in them, so that an idle connection has none.
var (
	aheadBuffers = sync.Pool{New: func() any { return new(aheadBuffer) }}
	corkBuffers  = sync.Pool{New: func() any { return new([corkSize]byte) }}
)

// wire is the connection under an SSH connection. It reads ahead, joins the pieces of a packet, and while it is corked
// collects whole packets. Nothing is held back for longer than corkTime: a peer whose window is smaller than what is
// collected would otherwise wait for bytes which wait for the peer.
type wire struct {
	net.Conn
	kernel syscall.RawConn // nil where there is no file descriptor: inside a jump, in tests

	reading // of the one goroutine that reads

	mu    sync.Mutex // held while writing; guards the fields below
	corks int        // writers that have more to come
	held  *[corkSize]byte
	fill  int // bytes of held
	timer *time.Timer
	armed bool  // the timer runs
	err   error // the first failure of a write that had been held back
}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn}
	if fd, ok := conn.(syscall.Conn); ok && vectored {
		if kernel, err := fd.SyscallConn(); err == nil {
			w.kernel = kernel
			w.fromKernel = func(fd uintptr) bool { return w.readInto(int(fd)) }
		}
	}
	return w
}

// reading is what was read ahead, and what one call to the kernel needs.
type reading struct {
	ahead    *aheadBuffer // nil when there is nothing
	from, to int          // what of it is not consumed
	into     []byte
	n        int
	failure  error

	fromKernel func(fd uintptr) bool // readInto, kept so that reading allocates nothing
}

func (w *wire) Read(b []byte) (int, error) {
	switch {
	case w.ahead != nil:
		return w.consume(b), nil
	case w.kernel == nil || len(b) == 0:
		return w.Conn.Read(b)
	}
	w.into = b
	err := w.kernel.Read(w.fromKernel)
	w.into = nil
	if err == nil {
		err = w.failure
	}
	if err != nil {
		return 0, err
	}
	return w.n, nil
}

func (w *wire) consume(b []byte) int {
	n := copy(b, w.ahead[w.from:w.to])
	if w.from += n; w.from == w.to {
		aheadBuffers.Put(w.ahead)
		w.ahead = nil
	}
	return n
}

// readInto reads into w.into and ahead of it; false when there is nothing to read yet.
func (w *wire) readInto(fd int) bool {
	ahead := aheadBuffers.Get().(*aheadBuffer)
	n, again, err := readv(fd, w.into, ahead[:])
	if err == nil && !again && n > len(w.into) {
		w.ahead, w.from, w.to = ahead, 0, n-len(w.into)
	} else {
		aheadBuffers.Put(ahead)
	}
	w.n, w.failure = min(n, len(w.into)), err
	return !again
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if (w.corks > 0 || len(p) == writerSize) && w.hold(p) {
		return len(p), nil
	}
	if err := w.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// hold keeps p for later if there is room; mu is held.
func (w *wire) hold(p []byte) bool {
	if w.fill+len(p) > corkSize {
		return false
	}
	if w.held == nil {
		w.held = corkBuffers.Get().(*[corkSize]byte)
	}
	w.fill += copy(w.held[w.fill:], p)
	if !w.armed {
		w.armed = true
		if w.timer == nil {
			w.timer = time.AfterFunc(corkTime, w.overdue)
		} else {
			w.timer.Reset(corkTime)
		}
	}
	return true
}

// send writes what is held and then p; mu is held.
func (w *wire) send(p []byte) error {
	if w.held == nil {
		_, err := w.Conn.Write(p)
		return err
	}
	err := w.sendBoth(w.held[:w.fill], p)
	corkBuffers.Put(w.held)
	w.held, w.fill = nil, 0
	if err != nil {
		w.err = err
	}
	return err
}

// sendBoth writes a and then b, with one call where the kernel takes both; held has room behind a when b fits.
func (w *wire) sendBoth(a, b []byte) error {
	if w.kernel == nil {
		return w.sendEach(a, b)
	}
	var failure error
	err := w.kernel.Write(func(fd uintptr) bool {
		for len(a)+len(b) > 0 {
			n, again, err := writev(int(fd), a, b)
			if failure = err; again || err != nil {
				return !again
			}
			first := min(n, len(a))
			a, b = a[first:], b[n-first:]
		}
		return true
	})
	return errors.Join(err, failure)
}

func (w *wire) sendEach(a, b []byte) error {
	if len(b) <= cap(a)-len(a) {
		a, b = append(a, b...), nil
	}
	for _, part := range [][]byte{a, b} {
		if len(part) == 0 {
			continue
		}
		if _, err := w.Conn.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what is held; mu is held. The next write tells of a failure.
func (w *wire) flush() {
	if w.held != nil {
		w.send(nil)
	}
}

func (w *wire) overdue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	w.flush()
}

// cork has the wire collect what is written until uncork.
func (w *wire) cork() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.corks++
}

func (w *wire) uncork() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.corks--; w.corks == 0 {
		w.flush()
	}
}

// Close writes what is still held as far as the peer takes it at once.
func (w *wire) Close() error {
	if !w.mu.TryLock() {
		if w.kernel == nil {
			return w.Conn.Close()
		}
		w.Conn.SetWriteDeadline(time.Now().Add(closeTime)) // whoever writes now does not write for ever
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	if w.held != nil {
		w.Conn.SetWriteDeadline(time.Now().Add(closeTime))
		w.flush()
	}
	return w.Conn.Close()
}

// bulk is a channel whose long writes cork the wire under it.
type bulk struct {
	ssh.Channel
	wire *wire
}

func (b bulk) Write(p []byte) (int, error) {
	if len(p) <= maxPacket {
		return b.Channel.Write(p)
	}
	b.wire.cork()
	defer b.wire.uncork()
	return b.Channel.Write(p)
}
