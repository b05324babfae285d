package recorder

import (
	"math"
	"os"
)

const (
	closingRoom = 4 << 10 // kept for the last entries and heads
	roomStep    = 64 << 10
	maxRoomStep = 4 << 20
)

// room keeps disk blocks reserved ahead of the end of the file, so that what has been accepted can always be stored.
type room struct {
	file     *os.File
	reserved int64 // the file may grow up to here
}

// ensure reserves room up to end; an error means that the disk (or a quota) is full and that nothing has changed.
func (r *room) ensure(end int64) error {
	end += closingRoom
	if end <= r.reserved {
		return nil
	}
	step := min(max(roomStep, r.reserved/4), maxRoomStep)
	err := allocate(r.file, r.reserved, end+step-r.reserved)
	if isFull(err) { // not this much ahead, but perhaps enough for now
		step = 0
		err = allocate(r.file, r.reserved, end-r.reserved)
	}
	switch {
	case isFull(err):
		return err
	case err != nil: // this file system cannot reserve
		r.reserved = math.MaxInt64
	default:
		r.reserved = end + step
	}
	return nil
}
