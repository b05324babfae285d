package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/sekisho/sekisho/recorder"
)

// stored is one line of the log and where it stands.
type stored struct {
	link
	line   []byte // without its line feed
	class  recorder.Class
	at     place
	marked bool // a mark or head vouches for it
}

// place is where something stands in a class.
type place struct {
	segment int
	line    int // from 1
	offset  int64
}

// cursor walks over one class from front to back and checks it against its heads.
type cursor struct {
	dir     string
	class   recorder.Class
	trusted ed25519.PublicKey
	every   bool // check every signature, not only the last of each segment
	find    func(Finding)

	segments []int // still to come
	segment  int
	file     *os.File
	lines    *bufio.Reader
	size     int64 // of the file, as it was when the walk began
	heads    []headLine
	at       place // of the line that comes next
	seq      uint64
	sums     []chainSum // what the chain may be here: two after a mismatch, of which one will turn out right
	queue    []stored
	limits   map[string]int64

	last     Head // the last signed head that holds
	marks    int64
	unsigned uint64 // events after last
	closed   bool
	torn     *place // from here on nothing is whole
	foreign  bool   // another signer has been named
	wrong    map[int]bool
}

func newCursor(dir string, class recorder.Class, trusted ed25519.PublicKey, limits map[string]int64, every bool,
	find func(Finding)) (*cursor, error) {
	numbers, err := segments(dir, class)
	if err != nil {
		return nil, err
	}
	if limits != nil { // segments that are younger than the walk are not part of it
		numbers = slices.DeleteFunc(numbers, func(n int) bool {
			_, known := limits[segmentPath(dir, class, n, linesExt)]
			return !known
		})
	}
	return &cursor{dir: dir, class: class, trusted: trusted, every: every, find: find, segments: numbers, limits: limits,
		sums: []chainSum{chainStart(class)}}, nil
}

// peek returns the next line without taking it; nil at the end.
func (c *cursor) peek() (*stored, error) {
	for len(c.queue) == 0 {
		more, err := c.load()
		if err != nil || !more {
			return nil, err
		}
	}
	return &c.queue[0], nil
}

// take takes the line that peek returned. One that no head vouches for joins the chain only now.
func (c *cursor) take() {
	s := c.queue[0]
	c.queue = c.queue[1:]
	if !s.marked {
		c.sums[0].add(append(s.line[:len(s.line):len(s.line)], '\n'))
		c.seq++
		c.unsigned++
		c.at = place{segment: s.at.segment, line: s.at.line + 1, offset: s.at.offset + int64(len(s.line)) + 1}
	}
}

// tear gives up everything from the line at the head of the queue on.
func (c *cursor) tear() {
	c.torn = &c.queue[0].at
	c.queue = nil
}

// load brings the lines up to the next head into the queue; false at the end.
func (c *cursor) load() (bool, error) {
	switch {
	case c.file == nil:
		return c.openNext()
	case len(c.heads) > 0:
		h := c.heads[0]
		c.heads = c.heads[1:]
		return true, c.loadTo(h)
	case c.at.offset < c.size:
		return c.loadTail()
	}
	return true, c.closeSegment()
}

func (c *cursor) openNext() (bool, error) {
	if len(c.segments) == 0 {
		return false, nil
	}
	n := c.segments[0]
	c.segments = c.segments[1:]
	if c.segment > 0 && n != c.segment+1 {
		c.report(FaultCut, segmentFile(n), 0, 0, 0, "segment %d of class %s follows segment %d: what is between is missing",
			n, c.class, c.segment)
	}
	c.segment, c.at, c.closed = n, place{segment: n, line: 1}, false
	if err := c.openLines(n); err != nil {
		return false, err
	}
	return true, c.openHeads(n)
}

func (c *cursor) openLines(n int) error {
	path := segmentPath(c.dir, c.class, n, linesExt)
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	c.file, c.size = file, info.Size()
	if limit, ok := c.limits[path]; ok {
		c.size = min(c.size, limit)
	}
	c.lines = bufio.NewReaderSize(io.LimitReader(file, c.size), int(min(c.size+1, 64<<10)))
	return nil
}

// openHeads reads the heads of segment n, and checks the signatures and that it goes on where the one before ended.
func (c *cursor) openHeads(n int) error {
	path := segmentPath(c.dir, c.class, n, headsExt)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if limit, ok := c.limits[path]; ok {
		b = b[:min(int64(len(b)), limit)]
	}
	c.heads = c.parseHeads(b, n)
	if len(c.heads) == 0 {
		if c.size > 0 {
			c.report(FaultDamaged, headsFile(n), 0, 0, 0, "segment %d of class %s has lines but no heads", n, c.class)
		}
		return nil
	}
	c.checkSignatures(n)
	if first := c.heads[0]; first.Bytes != 0 || first.sig == nil {
		c.report(FaultDamaged, headsFile(n), 1, 0, 0, "the first head of segment %d of class %s is missing", n, c.class)
	}
	return nil
}

// parseHeads parses whole lines; half of one at the end is what a crash leaves.
func (c *cursor) parseHeads(b []byte, n int) []headLine {
	var heads []headLine
	offset := 0
	for number := 1; ; number++ {
		end := bytes.IndexByte(b[offset:], '\n')
		if end < 0 && !endsWrong(b[offset:]) {
			break
		}
		if end < 0 {
			end = len(b) - offset - 1
		}
		h, err := parseHeadLine(b[offset : offset+end])
		if b[offset+end] != '\n' {
			err = errors.New("it does not end in a line feed")
		}
		switch {
		case err != nil:
			c.report(FaultDamaged, headsFile(n), number, int64(offset), int64(end+1),
				"line %d of the heads of segment %d of class %s is damaged: %v", number, n, c.class, err)
		case h.sig != nil && (h.Class != c.class || h.Segment != n):
			c.report(FaultSwapped, headsFile(n), number, int64(offset), int64(end+1),
				"line %d of the heads of segment %d of class %s belongs to segment %d of %s", number, n, c.class, h.Segment, h.Class)
		default:
			h.line = number
			heads = append(heads, h)
		}
		offset += end + 1
	}
	c.marks = int64(offset)
	return heads
}

// endsWrong reports whether b is a whole head with another byte in place of its line feed, which no crash leaves.
func endsWrong(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	_, err := parseHeadLine(b[:len(b)-1])
	return err == nil
}

// checkSignatures checks every signature, or only the last: it covers all that was written before.
func (c *cursor) checkSignatures(n int) {
	c.wrong = map[int]bool{}
	for _, h := range slices.Backward(c.heads) {
		if h.sig == nil {
			continue
		}
		if !h.valid(c.trusted) {
			c.wrong[h.line] = true
			c.reportSignature(n, h)
		}
		if !c.every {
			return
		}
	}
}

func (c *cursor) reportSignature(n int, h headLine) {
	if h.Signer != fmt.Sprintf("%x", []byte(c.trusted)) {
		if !c.foreign {
			c.foreign = true
			c.report(FaultSigner, headsFile(n), h.line, 0, 0, "class %s is signed by key %s, not by the trusted key %x",
				c.class, h.Signer, []byte(c.trusted))
		}
		return
	}
	c.report(FaultSignature, headsFile(n), h.line, 0, 0,
		"the signature of the head in line %d of segment %d of class %s does not hold", h.line, n, c.class)
}

// loadTo reads the lines that h covers and compares them with it.
func (c *cursor) loadTo(h headLine) error {
	n := h.Bytes - c.at.offset
	if n < 0 {
		c.report(FaultDamaged, headsFile(c.segment), h.line, 0, 0,
			"line %d of the heads of segment %d of class %s goes back to byte %d", h.line, c.segment, c.class, h.Bytes)
		return nil
	}
	if h.Bytes > c.size {
		c.report(FaultCut, segmentFile(c.segment), c.at.line, c.at.offset, 0,
			"segment %d of class %s ends at byte %d, but its heads go up to byte %d: its tail is missing",
			c.segment, c.class, c.size, h.Bytes)
		c.heads = nil
		return c.passOver(c.size - c.at.offset)
	}
	block := make([]byte, n)
	if _, err := io.ReadFull(c.lines, block); err != nil {
		return fmt.Errorf("reading segment %d of class %s: %w", c.segment, c.class, err)
	}
	start := c.at
	lines := c.split(block)
	c.compare(h, start, lines)
	c.vouch(h)
	return nil
}

// passOver takes lines for which there is nothing to compare them with.
func (c *cursor) passOver(n int64) error {
	block := make([]byte, n)
	if _, err := io.ReadFull(c.lines, block); err != nil {
		return fmt.Errorf("reading segment %d of class %s: %w", c.segment, c.class, err)
	}
	c.seq += uint64(c.split(block))
	return nil
}

// split puts the lines of block into the queue and into the chain, and returns how many they are.
func (c *cursor) split(block []byte) int {
	count := 0
	for len(block) > 0 {
		end := bytes.IndexByte(block, '\n') + 1
		if end == 0 {
			end = len(block)
		}
		for i := range c.sums {
			c.sums[i].add(block[:end])
		}
		line := bytes.TrimSuffix(block[:end], []byte("\n"))
		if l, err := readLink(line); err == nil { // what is no JSON does not match its head either
			c.queue = append(c.queue, stored{link: l, line: line, class: c.class, at: c.at, marked: true})
		}
		c.at.line++
		c.at.offset += int64(end)
		block = block[end:]
		count++
	}
	return count
}

// compare checks the chain after the lines from start on against h. When they differ, the lines or the head were changed;
// the walk goes on with both possibilities until the next head decides.
func (c *cursor) compare(h headLine, start place, lines int) {
	c.seq += uint64(lines)
	held := slices.Contains(c.sums, h.sum) && c.seq == h.Seq
	if held {
		c.sums = []chainSum{h.sum}
		return
	}
	file, line, offset := segmentFile(c.segment), start.line, start.offset
	if lines == 0 {
		file, line, offset = headsFile(c.segment), h.line, 0
	}
	c.report(FaultDamaged, file, line, offset, c.at.offset-start.offset,
		"class %s, segment %d: the lines from %d on (%d of them, %d bytes at offset %d) are not those that line %d of its heads "+
			"stands for", c.class, c.segment, start.line, lines, c.at.offset-start.offset, start.offset, h.line)
	c.sums = append(c.sums[:1:1], h.sum)
	c.seq = h.Seq
}

func (c *cursor) vouch(h headLine) {
	c.unsigned, c.closed = c.seq-c.last.Seq, false
	if h.sig == nil || c.wrong[h.line] {
		return
	}
	c.last, c.closed, c.unsigned = h.Head, h.Closed, 0
}

// loadTail reads what follows the last head: in the newest segment what a crash left, in any other nothing may.
func (c *cursor) loadTail() (bool, error) {
	block := make([]byte, c.size-c.at.offset)
	if _, err := io.ReadFull(c.lines, block); err != nil {
		return false, fmt.Errorf("reading segment %d of class %s: %w", c.segment, c.class, err)
	}
	c.size = 0 // read
	if len(c.segments) > 0 {
		c.report(FaultTrailing, segmentFile(c.segment), c.at.line, c.at.offset, int64(len(block)),
			"something follows the last head of segment %d of class %s, from byte %d on", c.segment, c.class, c.at.offset)
		return true, nil
	}
	at := c.at
	for len(block) > 0 {
		line, rest, whole := bytes.Cut(block, []byte("\n"))
		e, err := decode(line, c.class)
		if !whole || err != nil {
			c.torn = &at
			return true, nil
		}
		l := link{id: e.ID, vendor: e.Vendor, vseq: e.VSeq, vprev: e.VPrev}
		c.queue = append(c.queue, stored{link: l, line: line, class: c.class, at: at})
		at = place{segment: at.segment, line: at.line + 1, offset: at.offset + int64(len(line)) + 1}
		block = rest
	}
	return true, nil
}

func (c *cursor) closeSegment() error {
	err := c.file.Close()
	c.file = nil
	if len(c.segments) > 0 && !c.closed {
		c.report(FaultUnclosed, headsFile(c.segment), 0, 0, 0, "segment %d of class %s has no closing head, but another follows",
			c.segment, c.class)
	}
	return err
}

func (c *cursor) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

func (c *cursor) report(fault recorder.Fault, file string, line int, offset, length int64, format string, args ...any) {
	c.find(Finding{Fault: fault, Class: c.class, File: string(c.class) + "/" + file, Line: line, Offset: offset,
		Length: length, What: fmt.Sprintf(format, args...)})
}
