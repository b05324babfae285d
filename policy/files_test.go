package policy_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/sekisho/sekisho/policy"
)

func TestARevisionKeepsItsFiles(t *testing.T) {
	source := folder(t, map[string]string{"notes.txt": "not part of the policy"})
	rev, err := policy.Load(source, 7)
	if err != nil {
		t.Fatal(err)
	}
	delete(source, "lib.rego")
	source["matrix.yaml"].Data[0] = 'X'
	kept := rev.Files()
	if err := fstest.TestFS(kept, "matrix.yaml", "windows.yaml", "commands.yaml", "lib.rego", "staff_test.rego"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(kept, "notes.txt"); err == nil {
		t.Error("notes beside the policy are part of it")
	}
	again, err := policy.Load(kept, 8)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash() != rev.Hash() {
		t.Errorf("its own files load as %s, not %s", again.Hash(), rev.Hash())
	}
	data, err := fs.ReadFile(kept, "matrix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	data[0] = 'Y'
	if unchanged, _ := fs.ReadFile(kept, "matrix.yaml"); unchanged[0] != '#' {
		t.Error("a reader changed the revision")
	}
}
