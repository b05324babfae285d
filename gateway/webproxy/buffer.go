package webproxy

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// copyBuffers lends the buffers that bodies are copied through.
type copyBuffers struct{}

const copyBufferSize = 32 << 10

var copyPool = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

func (copyBuffers) Get() []byte  { return copyPool.Get().(*[copyBufferSize]byte)[:] }
func (copyBuffers) Put(b []byte) { copyPool.Put((*[copyBufferSize]byte)(b)) }

// bodyPool lends the buffers that responses are held back in. They are given back when the response has been written.
var bodyPool = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func borrowBuffer() *bytes.Buffer { return bodyPool.Get().(*bytes.Buffer) }

func returnBuffer(b *bytes.Buffer) {
	b.Reset()
	bodyPool.Put(b)
}

// holdBack reads src into buf until it ends or holds more than limit bytes; complete says which.
func holdBack(buf *bytes.Buffer, src io.Reader, limit int64) (complete bool, err error) {
	_, err = io.CopyN(buf, src, limit+1-int64(buf.Len()))
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
