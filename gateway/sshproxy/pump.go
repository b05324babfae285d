package sshproxy

import (
	"errors"
	"io"
	"sync"
)

// Buffers of a pump. Most reads are a keystroke or a screen line, so an idle channel holds a small one; a read that fills
// it borrows a large one until the stream slows down again.
const (
	smallBuffer = 1 << 10
	largeBuffer = 128 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// pump hands everything src has to move until src ends (nil) or either side fails. move may not keep the bytes.
func pump(src io.Reader, move func([]byte) error) error {
	var small [smallBuffer]byte
	var large *[largeBuffer]byte
	defer func() {
		if large != nil {
			largeBuffers.Put(large)
		}
	}()
	for {
		buf := small[:]
		if large != nil {
			buf = large[:]
		}
		n, err := src.Read(buf)
		if n > 0 {
			if err := move(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n == smallBuffer && large == nil:
			large = largeBuffers.Get().(*[largeBuffer]byte)
		case n < smallBuffer && large != nil:
			largeBuffers.Put(large)
			large = nil
		}
	}
}
