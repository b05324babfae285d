package audit

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sekisho/sekisho/recorder"
)

const kindRecovered = "gateway.audit-recovered"

// recover reads the whole log, checks it and makes it ready to be written on. It returns an event for each class whose end a
// crash had left half written.
func (l *Log) recover() ([]recorder.Event, error) {
	var report Report
	w, err := newWalk(l.dir, l.signer.Public().(ed25519.PublicKey), nil, false, report.find)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.run(); err != nil {
		return nil, err
	}
	if !report.OK() {
		return nil, refusal(report)
	}
	l.vendors = w.vendors
	var lost []recorder.Event
	for _, c := range w.cursors {
		event, err := l.resume(c)
		if err != nil {
			return nil, fmt.Errorf("class %s: %w", c.class, err)
		}
		lost = append(lost, event...)
	}
	return lost, nil
}

// refusal names the first damages and says what can be done.
func refusal(r Report) error {
	var b strings.Builder
	for _, f := range r.Findings[:min(3, len(r.Findings))] {
		fmt.Fprintf(&b, "\n  %s: %s", f.Fault, f.What)
	}
	if n := len(r.Findings) + r.More - 3; n > 0 {
		fmt.Fprintf(&b, "\n  and %d more", n)
	}
	return fmt.Errorf("%w; restore it from a copy, or keep the folder as evidence and begin a new one elsewhere:%s",
		ErrCorrupted, b.String())
}

// resume opens the newest segment of c's class for writing, without what is torn.
func (l *Log) resume(c *cursor) ([]recorder.Event, error) {
	s := segment{class: c.class, number: max(c.segment, 1), seq: c.seq, sum: c.sums[0]}
	var lost []recorder.Event
	if c.torn != nil {
		event, err := l.cutTorn(c)
		if err != nil {
			return nil, err
		}
		lost = append(lost, event)
	}
	s, err := createSegment(l.dir, s)
	if err != nil {
		return nil, err
	}
	l.segments[c.class] = &s
	s.bytes, s.marks = c.at.offset, c.marks
	s.unsigned = c.unsigned > 0 || c.last.SHA256 == "" || c.last.Segment != s.number
	if err := s.heads.Truncate(s.marks); err != nil { // half a mark
		return nil, err
	}
	return lost, s.lines.Sync()
}

// cutTorn moves what follows the last whole event into a file of its own.
func (l *Log) cutTorn(c *cursor) (recorder.Event, error) {
	path := segmentPath(l.dir, c.class, c.segment, linesExt)
	lines, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return recorder.Event{}, err
	}
	defer lines.Close()
	torn, err := createTorn(l.dir, c.class, c.segment)
	if err != nil {
		return recorder.Event{}, err
	}
	defer torn.Close()
	if _, err := lines.Seek(c.at.offset, io.SeekStart); err != nil {
		return recorder.Event{}, err
	}
	n, err := io.Copy(torn, lines)
	if err != nil {
		return recorder.Event{}, err
	}
	err = errors.Join(torn.Sync(), syncDir(filepath.Dir(path)))
	if err != nil {
		return recorder.Event{}, err
	}
	if err := errors.Join(lines.Truncate(c.at.offset), lines.Sync()); err != nil {
		return recorder.Event{}, err
	}
	return recorder.Event{Class: recorder.ClassConfig, Kind: kindRecovered, Outcome: recorder.Lost, Detail: map[string]any{
		"what":   "half a commit that a crash left behind was cut off; no event in it had been acknowledged",
		"class":  string(c.class),
		"file":   filepath.Base(torn.Name()),
		"offset": c.at.offset,
		"bytes":  n,
	}}, nil
}

func createTorn(dir string, class recorder.Class, segment int) (*os.File, error) {
	for i := 1; ; i++ {
		path := strings.TrimSuffix(segmentPath(dir, class, segment, ""), "") + fmt.Sprintf("-%d%s", i, tornExt)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}
