package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/recorder"
)

const (
	linesExt = ".jsonl"
	headsExt = ".heads"
	tornExt  = ".torn"
)

// segmentPath is where segment n of a class stands; ext says which of its files.
func segmentPath(dir string, class recorder.Class, n int, ext string) string {
	return filepath.Join(dir, string(class), fmt.Sprintf("%06d%s", n, ext))
}

// segments lists the numbers of a class's segments in order.
func segments(dir string, class recorder.Class) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, string(class)))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), linesExt)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(name)
		if err != nil || n < 1 || filepath.Base(segmentPath(dir, class, n, linesExt)) != e.Name() {
			return nil, fmt.Errorf("%s/%s is no segment of the audit log", class, e.Name())
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// segment is the segment of a class that is written to.
type segment struct {
	class  recorder.Class
	number int
	lines  *os.File
	heads  *os.File
	seq    uint64 // events of the class
	bytes  int64  // of lines
	sum    chainSum
	marks  int64 // bytes of heads

	unmarked bool // lines follow the last mark
	unsigned bool // lines follow the last signed head
}

// createSegment begins a segment that goes on with seq and sum.
func createSegment(dir string, s segment) (segment, error) {
	var err error
	open := func(ext string) *os.File {
		f, e := os.OpenFile(segmentPath(dir, s.class, s.number, ext), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		err = errors.Join(err, e)
		return f
	}
	s.lines, s.heads = open(linesExt), open(headsExt)
	if err != nil {
		s.close()
		return s, err
	}
	s.bytes = 0
	if s.marks, err = s.heads.Seek(0, io.SeekEnd); err != nil {
		s.close()
		return s, err
	}
	return s, syncDir(filepath.Join(dir, string(s.class)))
}

func (s *segment) close() error {
	var errs []error
	for _, f := range []*os.File{s.lines, s.heads} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// head is the state of s.
func (s *segment) head() Head { return Head{Seq: s.seq, Bytes: s.bytes, SHA256: s.sum.String()} }

// writeHeads appends to the heads file.
func (s *segment) writeHeads(b []byte) error {
	n, err := s.heads.Write(b)
	if err != nil && n > 0 { // half a line would be a damage: the next one has to begin where this one did
		err = errors.Join(err, s.heads.Truncate(s.marks))
	}
	if err == nil {
		s.marks += int64(n)
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// segmentFile and headsFile name the files of segment n within its class.
func segmentFile(n int) string { return fmt.Sprintf("%06d%s", n, linesExt) }

func headsFile(n int) string { return fmt.Sprintf("%06d%s", n, headsExt) }
