package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// Reading goes over one class from front to back in blocks of whole lines. It ends at what was stored when it began.
type Reading struct {
	dir      string
	class    recorder.Class
	segments []int // still to come, the one that is read first
	end      place
	file     *os.File
	offset   int64 // in file, of the line that comes next
	size     int64 // of file
	total    int64
}

// Read begins a reading at the first event at or after since, as the log's clock ran; a zero since is the beginning.
func (l *Log) Read(class recorder.Class, since time.Time) (*Reading, error) {
	l.mu.Lock()
	end := l.ready[class]
	l.mu.Unlock()
	r := &Reading{dir: l.dir, class: class, end: end}
	if err := r.seek(since); err != nil {
		return nil, fmt.Errorf("reading the audit log, class %s: %w", class, errors.Join(err, r.Close()))
	}
	return r, nil
}

// Size is how many bytes the whole reading has.
func (r *Reading) Size() int64 { return r.total }

// Close lets go of the log.
func (r *Reading) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// readBlock is how much of a segment one call of Next asks for.
const readBlock = 1 << 20

// Next returns the lines that come next, each with its line feed, in buf if they fit; io.EOF when there are none.
func (r *Reading) Next(buf []byte) ([]byte, error) {
	for r.offset == r.size {
		if err := r.advance(); err != nil {
			return nil, err
		}
	}
	for want := int64(readBlock); ; want *= 2 {
		n := min(want, r.size-r.offset)
		buf = slices.Grow(buf[:0], int(n))[:n]
		if _, err := r.file.ReadAt(buf, r.offset); err != nil {
			return nil, fmt.Errorf("reading segment %d of class %s: %w", r.segments[0], r.class, err)
		}
		if whole := bytes.LastIndexByte(buf, '\n') + 1; whole > 0 {
			r.offset += int64(whole)
			return buf[:whole], nil
		}
		if n == r.size-r.offset || n > maxLine {
			return nil, fmt.Errorf("segment %d of class %s, byte %d: %w", r.segments[0], r.class, r.offset, ErrCorrupted)
		}
	}
}

// advance goes on to the segment after the one that is read.
func (r *Reading) advance() error {
	err := r.Close()
	if len(r.segments) > 0 {
		r.segments = r.segments[1:]
	}
	r.offset, r.size = 0, 0
	if err != nil || len(r.segments) == 0 {
		return errors.Join(err, io.EOF)
	}
	return r.open(r.segments[0])
}

func (r *Reading) open(n int) error {
	var err error
	if r.file, err = os.Open(segmentPath(r.dir, r.class, n, linesExt)); err != nil {
		return err
	}
	r.offset = 0
	r.size, err = r.sizeOf(n)
	return err
}

// sizeOf is how much of a segment belongs to the reading.
func (r *Reading) sizeOf(n int) (int64, error) {
	if n == r.end.segment {
		return r.end.offset, nil
	}
	info, err := os.Stat(segmentPath(r.dir, r.class, n, linesExt))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// seek opens the segment in which since falls, at its line.
func (r *Reading) seek(since time.Time) error {
	all, err := segments(r.dir, r.class)
	if err != nil {
		return err
	}
	r.segments = slices.DeleteFunc(all, func(n int) bool { return n > r.end.segment })
	for len(r.segments) > 1 { // the segment is the last one that begins before since
		at, err := r.begins(r.segments[1])
		if err != nil {
			return err
		}
		if !at.Before(since) {
			break
		}
		r.segments = r.segments[1:]
	}
	for _, n := range r.segments {
		size, err := r.sizeOf(n)
		if err != nil {
			return err
		}
		r.total += size
	}
	if len(r.segments) == 0 {
		return nil
	}
	if err := r.open(r.segments[0]); err != nil {
		return err
	}
	if r.offset, err = r.find(since); err != nil {
		return err
	}
	r.total -= r.offset
	return nil
}

// begins is the time of a segment's first event; of an empty one, which can only be the newest, a time that is never before.
func (r *Reading) begins(n int) (time.Time, error) {
	size, err := r.sizeOf(n)
	if err != nil || size == 0 {
		return time.Unix(1<<40, 0), err
	}
	f, err := os.Open(segmentPath(r.dir, r.class, n, linesExt))
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	return timeAt(f, 0)
}

// find is the offset of the open segment's first line at or after since.
func (r *Reading) find(since time.Time) (int64, error) {
	low, high := int64(0), r.size // the line begins in [low, high]
	if since.IsZero() {
		return 0, nil
	}
	for low < high {
		middle, err := lineFrom(r.file, low+(high-low)/2, high)
		if err != nil {
			return 0, err
		}
		if middle == high { // no line begins in the second half: look at those of the first one by one
			return r.walk(low, high, since)
		}
		at, err := timeAt(r.file, middle)
		if err != nil {
			return 0, err
		}
		if at.Before(since) {
			low = middle
			if next, err := lineFrom(r.file, middle+1, high); err != nil || next == high {
				return next, err
			}
		} else {
			high = middle
		}
	}
	return high, nil
}

// walk is find, line by line.
func (r *Reading) walk(low, high int64, since time.Time) (int64, error) {
	for low < high {
		at, err := timeAt(r.file, low)
		if err != nil || !at.Before(since) {
			return low, err
		}
		if low, err = lineFrom(r.file, low+1, high); err != nil {
			return 0, err
		}
	}
	return high, nil
}

// lineFrom is where the first line at or after offset begins, limit when none does before it.
func lineFrom(f io.ReaderAt, offset, limit int64) (int64, error) {
	if offset == 0 {
		return 0, nil
	}
	buf := make([]byte, 4<<10)
	for at := offset - 1; at < limit; at += int64(len(buf)) {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), limit-at)], at)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return min(at+int64(i)+1, limit), nil
		}
	}
	return limit, nil
}

// timeAt is the time of the event whose line begins at offset.
func timeAt(f io.ReaderAt, offset int64) (time.Time, error) {
	buf := make([]byte, 256) // version, id and time are the first fields
	n, err := f.ReadAt(buf, offset)
	if err != nil && err != io.EOF {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, textField(buf[:n], `,"at":"`))
	if err != nil {
		return time.Time{}, fmt.Errorf("byte %d: %w", offset, ErrCorrupted)
	}
	return at, nil
}

// FirstTime is the time of a block's first event.
func FirstTime(block []byte) time.Time {
	at, _ := timeAt(bytes.NewReader(block), 0)
	return at
}
