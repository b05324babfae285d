package policy

import (
	"bufio"
	"crypto/rand"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// ids makes decision ids: d- and a ULID. They sort in the order in which they were made, within a millisecond as well, and
// none comes twice: each millisecond begins at 80 random bits and counts up from there.
type ids struct {
	mu     sync.Mutex
	random *bufio.Reader // of the system's randomness, which costs more by the call than by the byte
	last   ulid.ULID
}

func newIDs() *ids { return &ids{random: bufio.NewReaderSize(rand.Reader, 1024)} }

func (g *ids) next(now time.Time) string {
	var text [2 + ulid.EncodedSize]byte
	copy(text[:], "d-")
	id := g.ulid(ulid.Timestamp(now))
	if err := id.MarshalTextTo(text[2:]); err != nil {
		panic(err) // the buffer has the right size
	}
	return string(text[:])
}

func (g *ids) ulid(ms uint64) ulid.ULID {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last.Time() != ms || !g.advance() {
		if err := g.last.SetTime(ms); err != nil {
			panic(err) // after the year 10889
		}
		g.fill(g.last[6:])
	}
	return g.last
}

// advance counts up; false means that the random part has overflowed.
func (g *ids) advance() bool {
	for i := len(g.last) - 1; i >= 6; i-- {
		if g.last[i]++; g.last[i] != 0 {
			return true
		}
	}
	return false
}

func (g *ids) fill(b []byte) {
	for len(b) > 0 {
		n, err := g.random.Read(b)
		if err != nil {
			panic(err) // crypto/rand.Reader never fails
		}
		b = b[n:]
	}
}
