package identity_test

import (
	"path/filepath"
	"testing"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/store"
)

func openStore(t *testing.T) identity.Store {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db.Identity()
}
