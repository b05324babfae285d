package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sekisho/sekisho/gateway/revision"
)

func entry(seq int64) revision.Entry {
	return revision.Entry{Seq: seq, Number: int(seq+1) / 2, Record: fmt.Appendf(nil, `{"seq":%d}`, seq), Signature: []byte{1, byte(seq)}}
}

func keepsRevisions(t *testing.T, db state) {
	ctx, s := context.Background(), db.Revision()
	got, err := s.Entries(ctx, 0)
	ok(t, err)
	want(t, len(got), 0)
	ok(t, s.Append(ctx, []revision.Entry{entry(1), entry(2)}, map[string][]byte{"aa": []byte("allow if true"), "bb": {}}))
	ok(t, s.Append(ctx, []revision.Entry{entry(3)}, map[string][]byte{"aa": []byte("something else")}))
	wantErr(t, s.Append(ctx, []revision.Entry{entry(3)}, nil), revision.ErrConflict)
	wantErr(t, s.Append(ctx, []revision.Entry{entry(5)}, nil), revision.ErrConflict)
	wantErr(t, s.Append(ctx, []revision.Entry{entry(0)}, nil), revision.ErrConflict)
	got, err = s.Entries(ctx, 0)
	ok(t, err)
	want(t, got, []revision.Entry{entry(1), entry(2), entry(3)})
	got, err = s.Entries(ctx, 2)
	ok(t, err)
	want(t, got, []revision.Entry{entry(3)})
	for sum, text := range map[string]string{"aa": "allow if true", "bb": ""} {
		file, err := s.File(ctx, sum)
		ok(t, err)
		want(t, string(file), text)
	}
	_, err = s.File(ctx, "cc")
	wantErr(t, err, revision.ErrNotFound)
}

func appendsWholeOrNot(t *testing.T, db state) {
	ctx, s := context.Background(), db.Revision()
	err := s.Append(ctx, []revision.Entry{entry(1), entry(2), entry(2)}, map[string][]byte{"aa": []byte("x")})
	wantErr(t, err, revision.ErrConflict)
	got, err := s.Entries(ctx, 0)
	ok(t, err)
	want(t, len(got), 0)
	_, err = s.File(ctx, "aa")
	wantErr(t, err, revision.ErrNotFound)
}

func appendsOnceUnderLoad(t *testing.T, db state) {
	ctx, s := context.Background(), db.Revision()
	won, lost := race(16, func(i int) error {
		e := entry(1)
		e.Signature = []byte{byte(i)}
		return s.Append(ctx, []revision.Entry{e}, nil)
	})
	want(t, won, 1)
	for _, err := range lost {
		wantErr(t, err, revision.ErrConflict)
	}
}
