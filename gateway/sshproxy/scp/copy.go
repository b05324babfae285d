// Package scp stands between the two ends of scp's own protocol, which `scp -O` and old clients speak. It reads every
// message, asks the door about each file and folder on the path as the target itself resolves it, refuses in the protocol's
// own words, and puts what passes on record.
package scp

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// Limits of what a peer may send.
const (
	maxLine  = 4096 // bytes of one message
	maxDepth = 256  // folders within each other
)

// ErrMalformed is a message that is not one of the protocol's. The copy cannot go on after it.
var ErrMalformed = errors.New("malformed scp message")

// Config is what a copy is made of; every field is required.
type Config struct {
	Command Command
	// Inside says that Path is a folder into which an upload goes.
	Inside bool
	// Path is where the copy begins, as the target resolves it.
	Path string
	// Resolve has the target say what a path really is.
	Resolve func(path string) (string, error)
	// Authorize asks the door. An *access.Refusal is passed on in the protocol; any other error ends the copy.
	Authorize func(ctx context.Context, op access.Operation) (Granted, error)
	// Record puts an entry of this channel on record.
	Record func(kind recorder.Kind, data []byte) error
	// Explain tells the person why something was refused.
	Explain func(refusal *access.Refusal)
	Channel uint32
	Bodies  int64 // bytes of each file that the recording keeps
	Client  io.ReadWriter
	Target  io.ReadWriter
}

// Granted is an operation that was allowed; it ends once.
type Granted interface {
	MaxBytes() int64 // how many one transfer may carry, 0 for any number
	End(outcome recorder.Outcome, detail map[string]any)
}

// end is one side of the copy.
type end struct {
	r   *bufio.Reader
	w   io.Writer
	who byte // c or t, in the recording
}

// copying is a copy under way. The protocol takes turns, so one goroutine carries it.
type copying struct {
	cfg          Config
	ctx          context.Context
	source, sink end
	folders      []string  // resolved, from the one the copy begins in
	grants       []Granted // of the folders that are open
	files        uint32
	moved        int64 // bytes of files
}

// Run carries the copy until the source has nothing more to say (nil) or it cannot go on.
func Run(ctx context.Context, cfg Config) error {
	client := end{bufio.NewReaderSize(cfg.Client, 64<<10), cfg.Client, 'c'}
	target := end{bufio.NewReaderSize(cfg.Target, 64<<10), cfg.Target, 't'}
	c := &copying{cfg: cfg, ctx: ctx, source: target, sink: client}
	if cfg.Command.Upload {
		c.source, c.sink = client, target
	}
	defer c.leaveAll(recorder.Lost)
	if ok, err := c.acknowledge(); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil || !ok {
		return err
	}
	for {
		again, err := c.next()
		if errors.Is(err, io.EOF) {
			return nil // an error of one side's after which there is nothing more
		}
		if err != nil || !again {
			return err
		}
	}
}

// next takes one message of the source.
func (c *copying) next() (again bool, err error) {
	kind, err := c.source.r.ReadByte()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	line, err := readLine(c.source.r)
	if err != nil {
		return false, err
	}
	switch kind {
	case 1, 2: // an error of the source's: it goes on after 1
		return kind == 1, c.pass(c.sink, kind, printable(line))
	case 'T':
		if !times(line) {
			return false, fmt.Errorf("%w: times", ErrMalformed)
		}
		if err := c.pass(c.sink, kind, line); err != nil {
			return false, err
		}
		_, err := c.acknowledge()
		return err == nil, err
	case 'E':
		return c.leave(line)
	case 'C', 'D':
		return c.enter(kind, line)
	}
	return false, fmt.Errorf("%w: type %q", ErrMalformed, kind)
}

// enter is a file or a folder that the source announces.
func (c *copying) enter(kind byte, line string) (again bool, err error) {
	size, name, ok := announced(line)
	if !ok || kind == 'D' && (!c.cfg.Command.Recursive || len(c.folders) >= maxDepth) {
		return false, fmt.Errorf("%w: %q", ErrMalformed, printable(line))
	}
	where, err := c.resolve(name)
	if err != nil {
		return true, c.decline("its path cannot be resolved")
	}
	grant, err := c.cfg.Authorize(c.ctx, c.operation(kind, where))
	if refusal, is := errors.AsType[*access.Refusal](err); is {
		c.cfg.Explain(refusal)
		return true, c.decline(name + ": " + refusal.Error())
	}
	if err != nil {
		return false, err
	}
	if limit := grant.MaxBytes(); kind == 'C' && limit > 0 && size > limit-c.moved {
		grant.End(recorder.Refused, map[string]any{"path": where, "reason": "max_bytes"})
		return true, c.decline(name + ": no more may be transferred: the policy's max_bytes")
	}
	if err := c.pass(c.sink, kind, line); err != nil {
		grant.End(recorder.Lost, map[string]any{"path": where})
		return false, err
	}
	taken, err := c.acknowledge()
	if err != nil || !taken {
		grant.End(recorder.Failed, map[string]any{"path": where, "reason": "the receiving side did not take it"})
		return err == nil, err
	}
	if kind == 'D' {
		c.folders, c.grants = append(c.folders, where), append(c.grants, grant)
		return true, nil
	}
	return c.carry(grant, where, size)
}

// resolve finds out what a name in the open folder is on the target.
func (c *copying) resolve(name string) (string, error) {
	switch {
	case len(c.folders) > 0:
		return c.cfg.Resolve(path.Join(c.folders[len(c.folders)-1], name))
	case c.cfg.Command.Upload && c.cfg.Inside:
		return c.cfg.Resolve(path.Join(c.cfg.Path, name))
	}
	return c.cfg.Resolve(c.cfg.Path)
}

// operation is what the door is asked.
func (c *copying) operation(kind byte, where string) access.Operation {
	op := access.Operation{Kind: "sftp.open", Path: where, Read: !c.cfg.Command.Upload, Write: c.cfg.Command.Upload,
		Channel: c.cfg.Channel}
	switch {
	case kind == 'D' && c.cfg.Command.Upload:
		op.Kind = "sftp.mkdir"
	case kind == 'D':
		op.Kind = "sftp.list"
	}
	return op
}

// decline skips what the source announced: the source is told, and a client that receives hears it as an error of the
// source's.
func (c *copying) decline(why string) error {
	why = "sekisho: " + printable(why)
	if c.cfg.Command.Upload {
		return c.pass(c.source, 1, why)
	}
	return errors.Join(c.pass(c.source, 1, why), c.pass(c.sink, 1, "scp: "+why))
}

// carry moves a file's bytes, the source's last word about them and the sink's.
func (c *copying) carry(grant Granted, where string, size int64) (again bool, err error) {
	c.files++
	sum := sha256.New()
	way := "read"
	if c.cfg.Command.Upload {
		way = "written"
	}
	detail := map[string]any{"path": where}
	moved, err := c.move(io.TeeReader(io.LimitReader(c.source.r, size), sum), detail, way)
	detail["bytes_"+way] = moved
	c.moved += moved
	if err == nil && moved < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		grant.End(recorder.Lost, detail)
		return false, err
	}
	whole, err := c.status(c.source, c.sink)
	if err == nil {
		var kept bool
		kept, err = c.acknowledge()
		whole = whole && kept
	}
	if !whole || err != nil {
		grant.End(recorder.Failed, detail)
		return err == nil, err
	}
	detail["sha256_"+way] = hex.EncodeToString(sum.Sum(nil))
	grant.End(recorder.OK, detail)
	return true, nil
}

// move passes a file's bytes on, on record as far as bodies are kept.
func (c *copying) move(from io.Reader, detail map[string]any, way string) (moved int64, err error) {
	const head = 13
	buf := make([]byte, head+64<<10)
	buf[0] = c.source.who
	binary.BigEndian.PutUint32(buf[1:], c.files)
	for {
		n, err := from.Read(buf[head:])
		piece := buf[head : head+n]
		if room := c.cfg.Bodies - moved; room < int64(n) {
			detail["body_"+way] = "cut"
			piece = piece[:max(0, room)]
		}
		if len(piece) > 0 {
			binary.BigEndian.PutUint64(buf[5:], uint64(moved))
			if err := c.cfg.Record(recorder.KindFile, buf[:head+len(piece)]); err != nil {
				return moved, err
			}
		}
		if _, err := c.sink.w.Write(buf[head : head+n]); err != nil {
			return moved, err
		}
		moved += int64(n)
		if errors.Is(err, io.EOF) {
			return moved, nil
		}
		if err != nil {
			return moved, err
		}
	}
}

// leave closes the folder that was entered last.
func (c *copying) leave(line string) (again bool, err error) {
	if line != "" || len(c.folders) == 0 {
		return false, fmt.Errorf("%w: the end of a folder that was not begun", ErrMalformed)
	}
	if err := c.pass(c.sink, 'E', ""); err != nil {
		return false, err
	}
	_, err = c.acknowledge()
	last := len(c.folders) - 1
	c.grants[last].End(recorder.OK, map[string]any{"path": c.folders[last]})
	c.folders, c.grants = c.folders[:last], c.grants[:last]
	return err == nil, err
}

func (c *copying) leaveAll(outcome recorder.Outcome) {
	for i, grant := range c.grants {
		grant.End(outcome, map[string]any{"path": c.folders[i]})
	}
}

// acknowledge passes the sink's answer on to the source; ok is false when it was an error.
func (c *copying) acknowledge() (ok bool, err error) { return c.status(c.sink, c.source) }

// status passes on an answer: a zero byte, or 1 or 2 and a text. After 2 there is nothing more.
func (c *copying) status(from, to end) (ok bool, err error) {
	code, err := from.r.ReadByte()
	if err != nil {
		return false, noEOF(err)
	}
	switch code {
	case 0:
		_, err := to.w.Write([]byte{0})
		return true, err
	case 1, 2:
		line, err := readLine(from.r)
		if err != nil {
			return false, err
		}
		err = c.pass(to, code, printable(line))
		if code == 2 {
			err = errors.Join(err, io.EOF)
		}
		return false, err
	}
	return false, fmt.Errorf("%w: an answer of %d", ErrMalformed, code)
}

// pass writes one message, on record before it is shown.
func (c *copying) pass(to end, kind byte, line string) error {
	message := append([]byte{kind}, line+"\n"...)
	who := c.source.who
	if to.who == who {
		who = c.sink.who
	}
	if err := c.cfg.Record(recorder.KindPacket, append([]byte{who}, message...)); err != nil {
		return err
	}
	_, err := to.w.Write(message)
	return err
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		b, err := r.ReadByte()
		switch {
		case err != nil:
			return "", noEOF(err)
		case b == '\n':
			return string(line), nil
		case len(line) >= maxLine:
			return "", fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, maxLine)
		}
		line = append(line, b)
	}
}

// noEOF says of an end in the middle of a message that it is one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// announced reads what follows C or D: "MODE SIZE NAME".
func announced(line string) (size int64, name string, ok bool) {
	mode, rest, _ := strings.Cut(line, " ")
	length, name, found := strings.Cut(rest, " ")
	if len(mode) != 4 || strings.Trim(mode, "01234567") != "" || !digits(length) {
		return 0, "", false
	}
	size, err := strconv.ParseInt(length, 10, 64)
	return size, name, err == nil && found && fitName(name)
}

// times says whether what follows T is "MTIME 0 ATIME 0".
func times(line string) bool {
	fields := strings.Split(line, " ")
	if len(fields) != 4 {
		return false
	}
	for _, f := range fields {
		if !digits(f) {
			return false
		}
	}
	return true
}

func digits(s string) bool { return s != "" && len(s) <= 19 && strings.Trim(s, "0123456789") == "" }

// printable makes words of a peer fit for a line of the protocol and for a terminal.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s[:min(len(s), maxLine/2)])
}
