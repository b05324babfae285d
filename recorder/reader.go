package recorder

import (
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// DamageError says that a stretch of a recording cannot be read. The entries before it have been returned; Next goes on
// with those after it.
type DamageError struct {
	Record int   // number of the first record that is damaged
	Offset int64 // where it begins in the file
	Length int64 // how many bytes are passed over
	What   string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("record %d at offset %d (%d bytes passed over): %s", e.Record, e.Offset, e.Length, e.What)
}

// Reader gives back the entries of a recording, also of one that is still being written. It is not safe for concurrent
// use.
type Reader struct {
	file   *os.File // nil when src is none
	src    io.ReaderAt
	aead   cipher.AEAD
	zstd   *zstd.Decoder
	header Header

	next   int64  // where the next record begins
	number uint32 // which one must stand there
	pieces []byte // of the frame so far
	plain  []byte // entries of that frame
	pos    int    // in plain: the next entry
	before time.Duration
	damage *DamageError // comes after the entries in plain
	ended  bool

	frameAt     int64  // where the frame's first record begins
	frameNumber uint32 // and its number
}

// Open opens the recording at path with the key beside it. ErrShredded when the key is gone.
func Open(path string, id age.Identity) (*Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening recording: %w", err)
	}
	r, err := openFile(file, id)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("opening recording %s: %w", path, err)
	}
	return r, nil
}

func openFile(file *os.File, id age.Identity) (*Reader, error) {
	p, raw, err := readPreamble(file)
	if err != nil {
		return nil, err
	}
	key, err := readKey(KeyPath(file.Name()), id)
	if err != nil {
		return nil, err
	}
	aead, err := openCipher(key, p)
	if err != nil {
		return nil, err
	}
	r := &Reader{file: file, src: file, aead: aead, zstd: newDecoder(), next: int64(len(raw))}
	return r, r.readHeader()
}

// readHeader reads record 0.
func (r *Reader) readHeader() error {
	h, body, err := r.readRecord(false)
	if err != nil {
		return fmt.Errorf("its header: %w", cutOr(err))
	}
	if h.kind != typeHeader {
		return errors.New("it does not begin with a header")
	}
	if err := json.Unmarshal(body, &r.header); err != nil {
		return fmt.Errorf("its header: %w", err)
	}
	return nil
}

// Header tells whose recording it is.
func (r *Reader) Header() Header { return r.header }

// Close closes the file.
func (r *Reader) Close() error {
	r.zstd.Close()
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// Next returns the next entry; its Data stays valid. After the end entry comes io.EOF. ErrCut comes when the file stops
// before it: when it is still being written, calling Next again later goes on. A *DamageError stands for what cannot be
// read; Next can be called again to go on behind it.
func (r *Reader) Next() (Entry, error) {
	for {
		if r.pos < len(r.plain) {
			return r.takeEntry()
		}
		if r.damage != nil {
			err := r.damage
			r.damage = nil
			return Entry{}, err
		}
		if r.ended {
			return Entry{}, io.EOF
		}
		if err := r.load(); err != nil {
			return Entry{}, err
		}
	}
}

func (r *Reader) takeEntry() (Entry, error) {
	e, n, err := parseEntry(r.plain[r.pos:], r.before)
	if err != nil {
		return Entry{}, r.spoil("its frame holds an entry that no writer makes")
	}
	r.pos += n
	r.before = e.Offset
	r.ended = r.ended || e.Kind == KindEnd
	return e, nil
}

// load reads on: to the end of the open frame when more of it has come, else the next frame.
func (r *Reader) load() error {
	grown := false
	for {
		h, body, err := r.readRecord(grown)
		var damage *DamageError
		switch {
		case errors.As(err, &damage):
			if err := r.passOver(h, damage); err != nil {
				return err
			}
			return r.loaded(grown)
		case err == errNextFrame:
			return r.loaded(grown)
		case isEnd(err) && grown:
			return r.loaded(grown)
		case err != nil:
			return cutOr(err)
		}
		if h.kind == typeData {
			r.join(h, body)
			grown = true
		}
	}
}

// loaded makes the entries of a frame that has grown available; those returned before stay returned.
func (r *Reader) loaded(grown bool) error {
	if !grown {
		return nil
	}
	plain, err := unpack(r.zstd, r.pieces)
	if err != nil || len(plain) < r.pos {
		r.damage = r.spoil("its frame does not decompress")
		return nil
	}
	r.plain = plain
	return nil
}

// errNextFrame: the record that comes next begins another frame.
var errNextFrame = errors.New("another frame begins")

// readRecord reads and decrypts the next record and moves behind it. It stays before it when it is damaged, when the file
// ends before its end (io.EOF, io.ErrUnexpectedEOF) and, with sameFrame, when it begins another frame.
func (r *Reader) readRecord(sameFrame bool) (recordHeader, []byte, error) {
	h, raw, ok, err := readHeaderAt(r.src, r.next)
	switch {
	case err != nil:
		return h, nil, err
	case !ok:
		return recordHeader{}, nil, r.damaged("its header is damaged")
	case h.number != r.number:
		return h, nil, r.damaged(fmt.Sprintf("record %d stands in its place", h.number))
	case sameFrame && h.begins():
		return h, nil, errNextFrame
	}
	body := make([]byte, h.length)
	if _, err := r.src.ReadAt(body, r.next+headerSize); err != nil {
		return h, nil, err
	}
	if h.kind != typeHead {
		if body, err = r.aead.Open(body[:0], h.nonce(), body, raw[:signedSize]); err != nil {
			return h, nil, r.damaged("its bytes are not those that were written")
		}
	}
	r.next += h.stored()
	r.number++
	return h, body, nil
}

func (r *Reader) damaged(what string) error {
	return &DamageError{Record: int(r.number), Offset: r.next, What: what}
}

// join adds a piece to its frame.
func (r *Reader) join(h recordHeader, piece []byte) {
	if h.begins() {
		r.pieces, r.plain, r.pos, r.before = nil, nil, 0, 0
		r.frameAt, r.frameNumber = r.next-h.stored(), h.number
	}
	if len(r.pieces) <= maxBody { // a longer frame is none that a writer makes: unpack refuses it
		r.pieces = append(r.pieces, piece...)
	}
}

// spoil gives the frame up.
func (r *Reader) spoil(what string) *DamageError {
	r.pieces, r.plain, r.pos = nil, nil, 0
	return &DamageError{Record: int(r.frameNumber), Offset: r.frameAt, Length: r.next - r.frameAt, What: what}
}

// passOver moves from the damage at the next record to the first frame that begins behind it, or to the end.
func (r *Reader) passOver(h recordHeader, damage *DamageError) error {
	r.damage = damage
	from := r.next + 1
	if h.kind != 0 {
		from = r.next + h.stored()
	}
	found, offset, err := findHeader(r.src, from, r.number, recordHeader.begins)
	if err == io.EOF {
		offset, err = r.end()
		found.number = r.number
	}
	if err != nil {
		return err
	}
	damage.Length = offset - r.next
	r.next, r.number = offset, found.number
	return nil
}

// end is where the file ends now.
func (r *Reader) end() (int64, error) {
	n, err := io.Copy(io.Discard, io.NewSectionReader(r.src, r.next, maxFile))
	return r.next + n, err
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// cutOr is ErrCut for a file that ends too early, else err.
func cutOr(err error) error {
	if isEnd(err) {
		return ErrCut
	}
	return fmt.Errorf("reading the recording: %w", err)
}
