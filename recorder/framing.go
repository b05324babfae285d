package recorder

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// Bounds of an entry as FORMAT.md states them.
const (
	maxEntryHeader = 1 + 3*binary.MaxVarintLen64
	maxOffset      = time.Duration(math.MaxInt64 - int64(time.Hour))
	maxHeader      = 64 << 10 // JSON of Header
)

var errEntry = errors.New("an entry that no writer makes")

// appendEntry appends e in its stored form; before is the offset of the entry before it in the frame.
func appendEntry(b []byte, e Entry, before time.Duration) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendUvarint(b, uint64(e.Channel))
	b = binary.AppendUvarint(b, uint64((e.Offset-before)/time.Microsecond))
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	return append(b, e.Data...)
}

// parseEntry takes the first entry off b and returns how many bytes it took. Data is a part of b.
func parseEntry(b []byte, before time.Duration) (Entry, int, error) {
	if len(b) == 0 {
		return Entry{}, 0, errEntry
	}
	e := Entry{Kind: Kind(b[0])}
	n := 1
	var fields [3]uint64
	for i := range fields {
		v, size := binary.Uvarint(b[n:])
		if size <= 0 {
			return Entry{}, 0, errEntry
		}
		fields[i] = v
		n += size
	}
	channel, delta, length := fields[0], fields[1], fields[2]
	room := uint64((maxOffset - before) / time.Microsecond)
	if e.Kind == 0 || channel > math.MaxUint32 || delta > room || length > MaxData || length > uint64(len(b)-n) {
		return Entry{}, 0, errEntry
	}
	e.Channel = uint32(channel)
	e.Offset = before + time.Duration(delta)*time.Microsecond
	end := n + int(length)
	e.Data = b[n:end:end]
	return e, end, nil
}
