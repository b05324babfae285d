package sshproxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// chunks gives its data in pieces of growing and shrinking size, as a network does.
type chunks struct {
	data []byte
	rng  *rand.Rand
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(b), len(c.data), 1<<c.rng.IntN(18))
	copy(b, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

func TestAPumpKeepsEveryByteInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	var got bytes.Buffer
	err := pump(&chunks{data, rng}, func(b []byte) error { got.Write(b); return nil })
	if err != nil || sha256.Sum256(got.Bytes()) != sha256.Sum256(data) {
		t.Errorf("%d of %d bytes, error %v", got.Len(), len(data), err)
	}
}

func TestAPumpStopsAtTheFirstByteThatIsNotTaken(t *testing.T) {
	full := errors.New("disk full")
	calls := 0
	err := pump(bytes.NewReader(make([]byte, 1<<20)), func([]byte) error { calls++; return full })
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}
