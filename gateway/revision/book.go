package revision

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// signContext keeps these signatures apart from everything else the evidence key signs.
const signContext = "sekisho policy revision v1\n"

// book is every revision with what became of it, as the signed entries tell (FORMAT.md). It never changes.
type book struct {
	key      ed25519.PublicKey
	seq      int64     // of the last entry
	last     string    // its signature
	versions []Version // by number, from 1
	inForce  int       // 0 before the first
}

// with is the book after further stored entries, each checked: its signature, its place in the chain, and that it can
// follow.
func (b *book) with(entries []Entry) (*book, error) {
	next := *b
	next.versions = slices.Clone(b.versions)
	for _, e := range entries {
		s, err := next.verify(e)
		if err == nil {
			err = next.take(s, base64.StdEncoding.EncodeToString(e.Signature))
		}
		if err != nil {
			return nil, fmt.Errorf("policy revision %d, entry %d: %w", e.Number, e.Seq, err)
		}
	}
	return &next, nil
}

func (b *book) verify(e Entry) (step, error) {
	var s step
	if !ed25519.Verify(b.key, append([]byte(signContext), e.Record...), e.Signature) {
		return s, fmt.Errorf("its signature does not fit: %w", ErrTampered)
	}
	d := json.NewDecoder(bytes.NewReader(e.Record))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("reading what was signed: %w", err)
	}
	if s.Seq != e.Seq || s.Number != e.Number || s.Seq != b.seq+1 || s.Previous != b.last {
		return s, fmt.Errorf("it is not in its place: %w", ErrTampered)
	}
	return s, nil
}

// take adds one step.
func (b *book) take(s step, signature string) error {
	if s.Kind == stepMade {
		if s.Made == nil || s.Number != len(b.versions)+1 {
			return fmt.Errorf("it does not follow revision %d: %w", len(b.versions), ErrState)
		}
		b.versions = append(b.versions, s.Made.version(s, signature))
	} else if err := b.move(s); err != nil {
		return err
	}
	b.seq, b.last = s.Seq, signature
	return nil
}

func (b *book) move(s step) error {
	v, err := b.version(s.Number)
	if err != nil {
		return err
	}
	if v, err = v.after(s); err != nil {
		return err
	}
	if s.Kind == stepActivated {
		if v.Base != b.inForce {
			return fmt.Errorf("policy revision %d was made from revision %d, and %d is in force: %w", v.Number, v.Base, b.inForce, ErrState)
		}
		if b.inForce > 0 {
			b.versions[b.inForce-1].Status = Superseded
		}
		b.inForce = v.Number
	}
	b.versions[s.Number-1] = v
	return nil
}

// draft collects what happens together, signed as it follows on a book.
type draft struct {
	book    *book
	signer  ed25519.PrivateKey
	at      time.Time
	entries []Entry
}

// add signs one more step; one that cannot follow is an error.
func (d *draft) add(s step) error {
	s.Seq, s.Previous, s.At = d.book.seq+1, d.book.last, d.at
	record, err := json.Marshal(s)
	if err != nil {
		return err
	}
	e := Entry{Seq: s.Seq, Number: s.Number, Record: record,
		Signature: ed25519.Sign(d.signer, append([]byte(signContext), record...))}
	next, err := d.book.with([]Entry{e})
	if err != nil {
		return err
	}
	d.book, d.entries = next, append(d.entries, e)
	return nil
}

func (b *book) version(number int) (Version, error) {
	if number < 1 || number > len(b.versions) {
		return Version{}, fmt.Errorf("policy revision %d: %w", number, ErrNotFound)
	}
	return b.versions[number-1], nil
}

// current is the revision in force, or none before the first.
func (b *book) current() Version {
	if b.inForce == 0 {
		return Version{}
	}
	return b.versions[b.inForce-1]
}

func (b *book) history() []Version {
	list := slices.Clone(b.versions)
	slices.Reverse(list)
	return list
}

// open lists the revisions that may still come into force, oldest first.
func (b *book) open() []Version {
	return slices.DeleteFunc(slices.Clone(b.versions), func(v Version) bool { return !v.pending() })
}

// due is the scheduled revision whose time has come first by at.
func (b *book) due(at time.Time) (Version, bool) {
	var first Version
	for _, v := range b.open() {
		if v.Status == Scheduled && !v.ActivateAt.After(at) && (first.Number == 0 || v.ActivateAt.Before(first.ActivateAt)) {
			first = v
		}
	}
	return first, first.Number > 0
}
