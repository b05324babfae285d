package recorder

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	frameSize  = 256 << 10 // a frame that holds this much is closed
	windowSize = 256 << 10
	blockSize  = 128 << 10 // of a raw block: the format's limit for this window
	maxFrame   = frameSize + MaxData + maxEntryHeader
)

// lastBlock is the empty last block that no writer writes and every reader appends.
var lastBlock = []byte{1, 0, 0}

// rawFrameHeader opens a frame without checksum, content size or dictionary, with a window of 256 KiB.
var rawFrameHeader = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x40}

// encoders are shared by all writers: one belongs to a writer only while it has a frame open.
var encoders = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(windowSize), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}}

// packer turns entries into the pieces of zstd frames. The zero value is ready for begin.
type packer struct {
	out     []byte // where the encoder writes
	encoder *zstd.Encoder
	raw     bool // this frame is stored in raw blocks
}

// Write takes the encoder's output.
func (p *packer) Write(b []byte) (int, error) {
	p.out = append(p.out, b...)
	return len(b), nil
}

// begin opens a frame. A raw one costs no time and saves no space.
func (p *packer) begin(raw bool) {
	p.raw = raw
	if raw {
		return
	}
	if p.encoder == nil {
		p.encoder = encoders.Get().(*zstd.Encoder)
	}
	p.encoder.Reset(p)
}

// pack appends to p.out the piece of the frame that holds entries. It begins the frame when fresh.
func (p *packer) pack(entries []byte, fresh bool) error {
	if p.raw {
		p.packRaw(entries, fresh)
		return nil
	}
	if _, err := p.encoder.Write(entries); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	if err := p.encoder.Flush(); err != nil {
		return fmt.Errorf("compressing: %w", err)
	}
	return nil
}

func (p *packer) packRaw(entries []byte, fresh bool) {
	if fresh {
		p.out = append(p.out, rawFrameHeader...)
	}
	for len(entries) > 0 {
		n := min(len(entries), blockSize)
		var header [4]byte
		binary.LittleEndian.PutUint32(header[:], uint32(n)<<3) // not the last, raw
		p.out = append(p.out, header[:3]...)
		p.out = append(p.out, entries[:n]...)
		entries = entries[n:]
	}
}

// rest gives the encoder back; the frame is over.
func (p *packer) rest() {
	if p.encoder != nil {
		p.encoder.Reset(nil)
		encoders.Put(p.encoder)
		p.encoder = nil
	}
}

func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(windowSize), zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}

// unpack decompresses the pieces of one frame, whether or not the frame is complete.
func unpack(d *zstd.Decoder, pieces []byte) ([]byte, error) {
	plain, err := d.DecodeAll(append(pieces[:len(pieces):len(pieces)], lastBlock...), nil)
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	return plain, nil
}
