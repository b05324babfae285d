package audit

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sekisho/sekisho/recorder"
)

// small writes a closed log of a few events with several heads.
func small(t *testing.T) Config {
	t.Helper()
	c := newConfig(t)
	synctest.Test(t, func(t *testing.T) {
		l := open(t, c)
		fill(t, l, 2)
		time.Sleep(2 * signEvery)
		fill(t, l, 2)
		closeLog(t, l)
	})
	return c
}

// change makes b the content of path for as long as f runs.
func change(t *testing.T, path string, b []byte, f func()) {
	t.Helper()
	before := read(t, path)
	put := func(b []byte) { // in place: replacing a file would wait for the disk each time
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteAt(b, 0)
		if err = errors.Join(err, file.Truncate(int64(len(b))), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	put(b)
	defer put(before)
	f()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryFlippedByteOfALineIsNamedAndRefused(t *testing.T) {
	c := small(t)
	path := segmentPath(c.Dir, recorder.ClassCommand, 1, linesExt)
	whole := read(t, path)
	for at := range whole {
		for _, mask := range []byte{0x01, '\n' ^ whole[at]} {
			if mask == 0 {
				mask = 0x80
			}
			b := bytes.Clone(whole)
			b[at] ^= mask
			change(t, path, b, func() {
				report := mustVerify(t, c)
				if report.OK() {
					t.Fatalf("byte %d flipped by %#x is not noticed", at, mask)
				}
				if !slices.ContainsFunc(report.Findings, func(f Finding) bool {
					return f.File == "command/000001.jsonl" && f.Offset <= int64(at) && int64(at) < f.Offset+f.Length
				}) {
					t.Fatalf("byte %d flipped by %#x is reported as %v", at, mask, report.Err())
				}
				if at%5 != 0 {
					return
				}
				if _, err := Open(c); !errors.Is(err, ErrCorrupted) {
					t.Fatalf("byte %d flipped by %#x: opening says %v", at, mask, err)
				}
			})
		}
	}
	closeLog(t, open(t, c))
}

func TestEveryFlippedByteOfAHeadIsNamed(t *testing.T) {
	c := small(t)
	path := segmentPath(c.Dir, recorder.ClassCommand, 1, headsExt)
	whole := read(t, path)
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x01
		change(t, path, b, func() {
			report := mustVerify(t, c)
			if !slices.ContainsFunc(report.Findings, func(f Finding) bool {
				return f.Class == recorder.ClassCommand
			}) {
				t.Fatalf("byte %d flipped: %v", at, report.Err())
			}
		})
	}
}

func TestEveryCutOfTheLinesIsNamedAndRefused(t *testing.T) {
	c := small(t)
	path := segmentPath(c.Dir, recorder.ClassCommand, 1, linesExt)
	whole := read(t, path)
	for length := range whole {
		change(t, path, whole[:length], func() {
			report := mustVerify(t, c)
			if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Fault == FaultCut }) {
				t.Fatalf("cut to %d bytes: %v", length, report.Err())
			}
			if _, err := Open(c); !errors.Is(err, ErrCorrupted) {
				t.Fatalf("cut to %d bytes: opening says %v", length, err)
			}
		})
	}
}

func TestCutOfLinesAndHeadsTogetherShowsInTheVendorChain(t *testing.T) {
	c := newConfig(t)
	l := open(t, c)
	appendTo(t, l, login("acme"))
	appendTo(t, l, command("acme", "rm -r /"))
	linesPath := segmentPath(c.Dir, recorder.ClassCommand, 1, linesExt)
	headsPath := segmentPath(c.Dir, recorder.ClassCommand, 1, headsExt)
	appendTo(t, l, login("acme"))
	closeLog(t, l)
	first := bytes.IndexByte(read(t, headsPath), '\n') + 1
	if err := errors.Join(os.Truncate(linesPath, 0), os.Truncate(headsPath, int64(first))); err != nil {
		t.Fatal(err)
	}
	report := mustVerify(t, c)
	if len(report.Findings) != 1 || report.Findings[0].Fault != FaultMissing || !strings.Contains(report.Err().Error(), `"acme"`) {
		t.Errorf("%v", report.Err())
	}
	if _, err := Open(c); !errors.Is(err, ErrCorrupted) {
		t.Errorf("opening: %v", err)
	}
}

func TestSwappedLinesAreNamed(t *testing.T) {
	c := small(t)
	path := segmentPath(c.Dir, recorder.ClassCommand, 1, linesExt)
	all := bytes.SplitAfter(bytes.TrimSuffix(read(t, path), []byte("\n")), []byte("\n"))
	all[len(all)-1] = append(all[len(all)-1], '\n')
	for i := range all {
		for j := range i {
			order := slices.Clone(all)
			order[i], order[j] = order[j], order[i]
			change(t, path, bytes.Join(order, nil), func() {
				if report := mustVerify(t, c); report.OK() {
					t.Errorf("lines %d and %d swapped: not noticed", j+1, i+1)
				}
			})
		}
	}
}

func TestSegmentOfAnotherClassOrLogIsNamed(t *testing.T) {
	c, other := small(t), small(t)
	other.Signer = c.Signer
	for name, from := range map[string]string{
		"another class": segmentPath(c.Dir, recorder.ClassLogin, 1, ""),
		"another log":   segmentPath(other.Dir, recorder.ClassCommand, 1, ""),
	} {
		to := segmentPath(c.Dir, recorder.ClassCommand, 1, "")
		change(t, to+linesExt, read(t, from+linesExt), func() {
			change(t, to+headsExt, read(t, from+headsExt), func() {
				if report := mustVerify(t, c); report.OK() {
					t.Errorf("the segment of %s is not noticed", name)
				}
			})
		})
	}
}

func TestRewrittenHistoryIsCaughtByTheSignature(t *testing.T) {
	c := small(t)
	path := segmentPath(c.Dir, recorder.ClassCommand, 1, "")
	b := bytes.Replace(read(t, path+linesExt), []byte("ls 1"), []byte("rm 1"), 1)
	heads := rehash(t, recorder.ClassCommand, b, read(t, path+headsExt))
	change(t, path+linesExt, b, func() {
		change(t, path+headsExt, heads, func() {
			report := mustVerify(t, c)
			if !slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Fault == FaultSignature }) {
				t.Errorf("%v", report.Err())
			}
			if _, err := Open(c); !errors.Is(err, ErrCorrupted) {
				t.Errorf("opening: %v", err)
			}
		})
	})
}

// rehash makes every head fit the lines again, as somebody without the key can.
func rehash(t *testing.T, class recorder.Class, lines, heads []byte) []byte {
	t.Helper()
	var out []byte
	for line := range bytes.Lines(heads) {
		h, err := parseHeadLine(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		sum := chainStart(class)
		for l := range bytes.Lines(lines[:h.Bytes]) {
			sum.add(l)
		}
		out = append(out, bytes.Replace(line, []byte(h.SHA256), []byte(sum.String()), 1)...)
	}
	return out
}

func TestForeignSignerOfTheLogIsNamed(t *testing.T) {
	c := small(t)
	stranger, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(c.Dir, stranger)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Fault != FaultSigner {
			t.Errorf("%+v", f)
		}
	}
	if len(report.Findings) != len(recorder.Classes) {
		t.Errorf("%d findings", len(report.Findings))
	}
	c.Signer = signer
	if _, err := Open(c); !errors.Is(err, ErrCorrupted) {
		t.Errorf("opening with another key: %v", err)
	}
}

func TestMissingHeadsAreNamed(t *testing.T) {
	c := small(t)
	if err := os.Remove(segmentPath(c.Dir, recorder.ClassCommand, 1, headsExt)); err != nil {
		t.Fatal(err)
	}
	if report := mustVerify(t, c); report.OK() {
		t.Error("not noticed")
	}
	if _, err := Open(c); !errors.Is(err, ErrCorrupted) {
		t.Errorf("opening: %v", err)
	}
}

func TestVerifyingWhatIsNoLogIsAnError(t *testing.T) {
	c := newConfig(t)
	if _, err := Verify(filepath.Join(c.Dir, "none"), c.public()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Verify(c.Dir, nil); err == nil {
		t.Error("no trusted key was taken")
	}
}
