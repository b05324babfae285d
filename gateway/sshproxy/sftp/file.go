package sftp

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"github.com/sekisho/sekisho/recorder"
)

// file is an open handle of the target: what was opened, under which grant, and what has passed so far. It is guarded by
// the filter's mu.
type file struct {
	number  uint32 // in the recording
	path    string
	folder  bool
	created bool
	reading bool
	writing bool
	grant   granted
	read    stream
	written stream
	failed  bool // some write was refused by the target
}

// stream is what passed in one direction.
type stream struct {
	bytes int64
	next  uint64    // the offset that would continue the file; whole files go from 0 to their end without a hole
	hole  bool      // something was passed over or passed twice
	ended bool      // reading came to the end of the file
	hash  hash.Hash // of everything up to next
	kept  int64     // bytes of the body in the recording
	cut   bool      // the body in the recording is not whole
}

// take counts a piece.
func (s *stream) take(offset uint64, data []byte) {
	s.bytes += int64(len(data))
	if offset != s.next {
		s.hole = true
		return
	}
	if s.hash == nil {
		s.hash = sha256.New()
	}
	s.hash.Write(data)
	s.next += uint64(len(data))
}

// sum is the hash of the whole file, "" when not all of it passed in order.
func (s *stream) sum() string {
	if s.hole || s.hash == nil {
		return ""
	}
	return hex.EncodeToString(s.hash.Sum(nil))
}

// close puts the finished file on record.
func (f *file) close(outcome recorder.Outcome, reason string) {
	detail := map[string]any{"path": f.path}
	if f.created {
		detail["created"] = true
	}
	f.read.describe(detail, "read", f.read.ended)
	f.written.describe(detail, "written", true)
	if f.failed && outcome == recorder.OK {
		outcome, reason = recorder.Failed, "the target refused a write"
	}
	if reason != "" {
		detail["reason"] = reason
	}
	f.grant.End(outcome, detail)
}

// describe adds bytes and, when the whole file passed, its hash.
func (s *stream) describe(detail map[string]any, way string, whole bool) {
	if s.bytes == 0 && s.hash == nil {
		return
	}
	detail["bytes_"+way] = s.bytes
	if sum := s.sum(); sum != "" && whole {
		detail["sha256_"+way] = sum
	}
	if s.cut {
		detail["body_"+way] = "cut"
	}
}
