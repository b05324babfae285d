package sshproxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// over are the connections that a wire is laid over: one with a descriptor, and one without, as inside a jump.
var over = map[string]func(t *testing.T) (near, far net.Conn){
	"TCP": func(t *testing.T) (near, far net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		near, err = net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err = l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return near, far
	},
	"a pipe": func(*testing.T) (near, far net.Conn) { return net.Pipe() },
}

// laid runs a test over each.
func laid(t *testing.T, test func(t *testing.T, w *wire, far net.Conn)) {
	for name, connect := range over {
		t.Run(name, func(t *testing.T) {
			near, far := connect(t)
			w := newWire(near)
			defer w.Close()
			defer far.Close()
			far.SetDeadline(time.Now().Add(20 * time.Second))
			test(t, w, far)
		})
	}
}

func bytesOf(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(data)
	return data
}

func TestAWireKeepsEveryByteInOrder(t *testing.T) {
	sizes := []int{1, 36, writerSize, 28 << 10, writerSize, 1, writerSize, writerSize, maxPacket, corkSize, corkSize + 1, 100}
	laid(t, func(t *testing.T, w *wire, far net.Conn) {
		want := bytesOf(8 << 20)
		go func() {
			rest := want
			for i := 0; len(rest) > 0; i++ {
				if i%5 == 0 {
					w.cork()
				}
				n := min(sizes[i%len(sizes)], len(rest))
				w.Write(rest[:n])
				rest = rest[n:]
				if i%5 == 4 {
					w.uncork()
				}
			}
		}()
		got := make([]byte, len(want))
		if n, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v; the same: %v", n, err, bytes.Equal(got[:n], want[:n]))
		}
	})
}

func TestAWireReadsWhatWasWrittenWhateverTheBuffer(t *testing.T) {
	laid(t, func(t *testing.T, w *wire, far net.Conn) {
		want := bytesOf(8 << 20)
		go func() {
			far.Write(want)
			far.Close()
		}()
		var got []byte
		for i := 0; ; i++ {
			buf := make([]byte, []int{1, 4, 4096, 100, 32 << 10, 300 << 10}[i%6])
			n, err := w.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes, or others", len(got), len(want))
		}
		if w.ahead != nil {
			t.Error("a buffer is kept for nothing")
		}
	})
}

// TestACorkedWireDoesNotWaitForItsPeer: a client whose window is smaller than what is collected answers only what it has
// seen, and the writer goes on only after that answer.
func TestACorkedWireDoesNotWaitForItsPeer(t *testing.T) {
	for _, n := range []int{36, writerSize, 16 << 10} {
		laid(t, func(t *testing.T, w *wire, far net.Conn) {
			w.cork()
			defer w.uncork()
			for range 10 {
				if _, err := w.Write(bytesOf(n)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(far, make([]byte, n)); err != nil {
					t.Fatalf("the bytes are held back: %v", err)
				}
			}
		})
	}
}

func TestTheBeginningOfAPacketThatEndsTheConnectionArrives(t *testing.T) {
	laid(t, func(t *testing.T, w *wire, far net.Conn) {
		w.cork()
		var reading sync.WaitGroup
		var got []byte
		reading.Go(func() { got, _ = io.ReadAll(far) })
		w.Write([]byte("goodbye"))
		w.Close()
		reading.Wait()
		if string(got) != "goodbye" {
			t.Errorf("%q arrived", got)
		}
	})
}

func TestAFailureOfHeldBytesIsTold(t *testing.T) {
	laid(t, func(t *testing.T, w *wire, far net.Conn) {
		w.Conn.Close()
		w.cork()
		w.Write([]byte("lost"))
		w.uncork()
		if _, err := w.Write([]byte("more")); err == nil {
			t.Error("nothing was said of what was lost")
		}
	})
}

func TestClosingAWireEndsAWriteThatNobodyReads(t *testing.T) {
	laid(t, func(t *testing.T, w *wire, _ net.Conn) {
		w.cork()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				if _, err := w.Write(bytesOf(corkSize)); err != nil {
					return
				}
			}
		}()
		time.Sleep(20 * time.Millisecond) // the writer is stuck by then; when not, the test is easier
		w.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("the write goes on")
		}
	})
}
