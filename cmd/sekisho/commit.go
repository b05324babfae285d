package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway/revision"
)

// source is where a policy is read from: a folder, or a commit of the repository it stands in.
type source struct {
	from, commit string

	name     string // as the person knows it; set by read
	recorded string // as it goes on record; set by read
}

func (s *source) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.from, "from", "", "the policy folder (default: the gateway's own in --dir)")
	cmd.Flags().StringVar(&s.commit, "commit", "", "read the folder's files from this commit of its git repository")
}

func (s *source) read(ctx context.Context, set *settings) (revision.Files, error) {
	dir := s.from
	if dir == "" {
		if dir = ownPolicy(set); dir == "" {
			return nil, usagef("which policy folder? There is none in %s; give it with --from", set.dir)
		}
	}
	s.name = filepath.Clean(dir)
	if s.commit != "" {
		return s.readCommit(ctx, dir)
	}
	files, err := revision.Read(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	full, err := filepath.Abs(dir)
	s.recorded = "folder " + full
	return files, err
}

// readCommit reads the folder's files from the repository's objects, never from its work tree.
func (s *source) readCommit(ctx context.Context, dir string) (revision.Files, error) {
	if strings.HasPrefix(s.commit, "-") {
		return nil, usagef("--commit %q is not the name of a commit", s.commit)
	}
	repo := repository{dir: dir}
	id, err := repo.text(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", s.commit+"^{commit}")
	if errors.Is(err, errSilent) {
		return nil, fmt.Errorf("there is no commit %q in the git repository of %s", s.commit, s.name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	prefix, err := repo.text(ctx, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	s.name = fmt.Sprintf("%s at commit %.12s", s.name, id)
	s.recorded = strings.TrimSuffix("commit "+id+" "+prefix, " ")
	files, err := repo.files(ctx, id+":"+prefix)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return files, nil
}

// repository runs git to read objects.
type repository struct{ dir string }

// blob is one file of a tree.
type blob struct{ name, id string }

func (r repository) files(ctx context.Context, tree string) (revision.Files, error) {
	blobs, err := r.list(ctx, tree)
	if err != nil {
		return nil, err
	}
	files := revision.Files{}
	for _, b := range blobs {
		if files[b.name], err = r.output(ctx, revision.MaxFile, "cat-file", "blob", b.id); err != nil {
			return nil, err
		}
	}
	return files, files.Check()
}

// maxTree bounds the listing of a folder, in bytes.
const maxTree = 1 << 20

func (r repository) list(ctx context.Context, tree string) ([]blob, error) {
	listing, err := r.output(ctx, maxTree, "ls-tree", "-z", "-l", "--full-tree", "--end-of-options", tree)
	if err != nil {
		return nil, err
	}
	var blobs []blob
	total := 0
	for line := range strings.SplitSeq(string(listing), "\x00") {
		if line == "" {
			continue // behind the last
		}
		meta, name, ok := strings.Cut(line, "\t")
		fields := strings.Fields(meta) // mode, kind, object, size
		if !ok || len(fields) != 4 {
			return nil, fmt.Errorf("git lists something that is not understood: %q", line)
		}
		if !revision.PartOfPolicy(name) && fields[1] != "tree" || strings.HasPrefix(name, ".") {
			continue
		}
		if fields[0] != "100644" && fields[0] != "100755" {
			return nil, fmt.Errorf("%s is a %s: a policy folder has plain files only, no links, submodules or subfolders", name, kindOf(fields[0]))
		}
		size, err := strconv.Atoi(fields[3])
		if err != nil || size > revision.MaxFile {
			return nil, fmt.Errorf("%s is larger than %d bytes", name, revision.MaxFile)
		}
		if total += size; total > revision.MaxBytes || len(blobs) >= revision.MaxFiles {
			return nil, revision.ErrTooLarge
		}
		blobs = append(blobs, blob{name: name, id: fields[2]})
	}
	return blobs, nil
}

func kindOf(mode string) string {
	switch mode {
	case "120000":
		return "symbolic link"
	case "160000":
		return "submodule"
	}
	return "subfolder"
}

func (r repository) text(ctx context.Context, args ...string) (string, error) {
	out, err := r.output(ctx, 64<<10, args...)
	return strings.TrimRight(string(out), "\n"), err
}

// errSilent: git failed and did not say why.
var errSilent = errors.New("git failed without a word")

// output runs git and returns at most limit bytes of what it says. Nothing of the environment points it elsewhere, replaces
// objects or fetches missing ones.
func (r repository) output(ctx context.Context, limit int64, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", r.dir, "--no-pager", "--literal-pathspecs"}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
	cmd.Env = append(cmd.Env, "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limitedWriter{&out, limit}, &limitedWriter{&said, 4 << 10}
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("git is not installed")
		}
		if text := strings.TrimSpace(said.String()); text != "" {
			return nil, errors.New(visible(text))
		}
		return nil, fmt.Errorf("%w: %w", errSilent, err)
	}
	return out.Bytes(), nil
}

// limitedWriter fails once more than left bytes are written.
type limitedWriter struct {
	to   io.Writer
	left int64
}

func (w *limitedWriter) Write(b []byte) (int, error) {
	if w.left -= int64(len(b)); w.left < 0 {
		return 0, errors.New("git says too much")
	}
	return w.to.Write(b)
}
