package webproxy

import (
	"crypto/sha256"
	"sync"
)

// knownBodies remembers which bodies a recording holds already, so that a page polled all day is stored once.
type knownBodies struct {
	mu   sync.Mutex
	sums map[[sha256.Size]byte]struct{}
}

func (k *knownBodies) has(sum [sha256.Size]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.sums[sum]
	return ok
}

// add remembers a body that the recorder has accepted.
func (k *knownBodies) add(sum [sha256.Size]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sums == nil || len(k.sums) >= maxKnownBodies {
		k.sums = make(map[[sha256.Size]byte]struct{})
	}
	k.sums[sum] = struct{}{}
}
