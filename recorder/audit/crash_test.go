package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"crypto/ed25519"

	"github.com/sekisho/sekisho/recorder"
)

// The test binary runs itself as a child that does one of these, because only another process can be killed or starved.
const (
	childTask = "AUDIT_TEST_CHILD"
	childDir  = "AUDIT_TEST_DIR"
	childSeed = "AUDIT_TEST_SEED"
)

var children = map[string]func(Config) error{"append": appendUntilKilled}

func TestMain(m *testing.M) {
	task, ok := children[os.Getenv(childTask)]
	if !ok {
		os.Exit(m.Run())
	}
	seed, err := hex.DecodeString(os.Getenv(childSeed))
	if err == nil {
		err = task(Config{Dir: os.Getenv(childDir), Signer: ed25519.NewKeyFromSeed(seed)})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(c Config, task string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childDir+"="+c.Dir, childSeed+"="+hex.EncodeToString(c.Signer.Seed()))
	return cmd
}

// appendUntilKilled appends events of all classes from several goroutines and prints the id of each that is stored.
func appendUntilKilled(c Config) error {
	l, err := Open(c)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for p := range 8 {
		group.Go(func() {
			for i := 0; err == nil; i++ {
				e := recorder.Event{Class: recorder.Classes[(i+p)%5], Kind: "x", Outcome: recorder.OK, Vendor: fmt.Sprint("v", i%3)}
				if e, err := l.Append(context.Background(), e); err == nil {
					fmt.Println(e.ID)
				}
			}
		})
	}
	group.Wait()
	return err
}

func TestKilledLogKeepsEveryAcknowledgedEvent(t *testing.T) {
	c := newConfig(t)
	acknowledged := map[string]bool{}
	for range 4 {
		for _, id := range killAfter(t, child(c, "append"), 400) {
			acknowledged[id] = true
		}
		if report := mustVerify(t, c); !report.OK() {
			t.Fatalf("before recovery: %v", report.Err())
		}
		l := open(t, c)
		for _, e := range found(t, l, Query{}) {
			delete(acknowledged, e.ID)
		}
		closeLog(t, l)
		if len(acknowledged) != 0 {
			t.Fatalf("%d acknowledged events are lost", len(acknowledged))
		}
		if report := mustVerify(t, c); !report.OK() {
			t.Fatalf("after recovery: %v", report.Err())
		}
	}
}

// killAfter kills the child after n lines of output and returns them all.
func killAfter(t *testing.T, cmd *exec.Cmd, n int) []string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got []string
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		if got = append(got, strings.TrimSpace(line)); len(got) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cmd.Wait(); len(got) < n {
		t.Fatalf("the child ended by itself: %s", stderr.String())
	}
	return got
}

// crash leaves behind what stands on disk while l is open.
func crash(t *testing.T, c Config, do func(l *Log)) Config {
	t.Helper()
	l := open(t, c)
	do(l)
	left := c
	left.Dir = filepath.Join(t.TempDir(), "audit")
	if err := os.CopyFS(left.Dir, os.DirFS(c.Dir)); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	return left
}

func appendRaw(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestTornLastLineIsMovedAsideAndMarkedByAnEvent(t *testing.T) {
	for name, tail := range map[string]string{
		"half a line":         `{"v":1,"id":"01`,
		"zeros":               strings.Repeat("\x00", 4096),
		"a line that is none": "not json\n",
		"an event out of order": `{"v":1,"id":"x","at":"2026-11-22T00:00:00Z","class":"command","kind":"x","table":"R-2",` +
			`"outcome":"ok","vendor":"acme","vseq":9,"vprev":"sha256:00"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := crash(t, newConfig(t), func(l *Log) { fill(t, l, 3) })
			appendRaw(t, segmentPath(c.Dir, recorder.ClassCommand, 1, linesExt), tail)
			if report := mustVerify(t, c); report.Classes[1].Events != 3 {
				t.Errorf("before recovery %d events, %v", report.Classes[1].Events, report.Err())
			}
			l := open(t, c)
			marks := found(t, l, Query{Kind: kindRecovered})
			if len(marks) != 1 || marks[0].Outcome != recorder.Lost || marks[0].Detail["bytes"] != float64(len(tail)) {
				t.Fatalf("marked by %+v", marks)
			}
			torn := read(t, filepath.Join(c.Dir, "command", marks[0].Detail["file"].(string)))
			if string(torn) != tail {
				t.Errorf("moved aside: %q", torn)
			}
			if e := appendTo(t, l, command("acme", "next")); e.VSeq != 4 {
				t.Errorf("vseq %d", e.VSeq)
			}
			closeLog(t, l)
			if report := mustVerify(t, c); !report.OK() || report.Classes[1].Events != 4 {
				t.Errorf("after recovery: %+v %v", report.Classes[1], report.Err())
			}
		})
	}
}

func TestWholeEventsBehindTheLastMarkAreTaken(t *testing.T) {
	c := crash(t, newConfig(t), func(l *Log) { fill(t, l, 5) })
	for _, class := range []recorder.Class{recorder.ClassCommand, recorder.ClassLogin} {
		heads := segmentPath(c.Dir, class, 1, headsExt)
		first := bytes.IndexByte(read(t, heads), '\n') + 1
		if err := os.Truncate(heads, int64(first)+7); err != nil { // the marks were not yet on disk, one of them half
			t.Fatal(err)
		}
	}
	l := open(t, c)
	if marks := found(t, l, Query{Kind: kindRecovered}); len(marks) != 0 {
		t.Errorf("something was torn off: %+v", marks)
	}
	closeLog(t, l)
	if report := mustVerify(t, c); !report.OK() || report.Classes[1].Events != 5 || report.Classes[0].Events != 2 {
		t.Errorf("%+v %v", report.Classes, report.Err())
	}
}

func TestCommitThatOnlyPartlyReachedTheDiskIsTornOff(t *testing.T) {
	c := newConfig(t)
	left := crash(t, c, func(l *Log) { fill(t, l, 3) })
	l := open(t, left)
	appendTo(t, l, login("beta"))
	last := appendTo(t, l, command("beta", "follows a login"))
	closeLog(t, l)
	// Put only the second of the two events, as if their common commit had lost the first class's part.
	line := lines(t, left, recorder.ClassCommand)[3]
	broken := crash(t, c, func(*Log) {})
	appendRaw(t, segmentPath(broken.Dir, recorder.ClassCommand, 1, linesExt), strings.TrimSpace(string(line))+"\n")
	l = open(t, broken)
	defer closeLog(t, l)
	if marks := found(t, l, Query{Kind: kindRecovered}); len(marks) != 1 {
		t.Errorf("marked by %+v", marks)
	}
	if got := found(t, l, Query{Text: last.ID}); len(got) != 0 {
		t.Errorf("the event without its predecessor was kept: %+v", got)
	}
}

func TestCrashWhileASegmentBeginsIsRecovered(t *testing.T) {
	for name, leave := range map[string]func(c Config){
		"only the lines file": func(c Config) {
			os.Remove(segmentPath(c.Dir, recorder.ClassCommand, 2, headsExt))
		},
		"half the first head": func(c Config) {
			os.Truncate(segmentPath(c.Dir, recorder.ClassCommand, 2, headsExt), 30)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := crash(t, newConfig(t), func(l *Log) {
				l.segmentSize = 1
				appendTo(t, l, command("acme", "1"))
				l.segmentSize = 1 << 30
				if err := l.roll(recorder.ClassCommand); err != nil {
					t.Fatal(err)
				}
				l.segmentSize = 1
				if err := l.roll(recorder.ClassCommand); err != nil {
					t.Fatal(err)
				}
				l.segmentSize = 1 << 30
			})
			leave(c)
			l := open(t, c)
			if e := appendTo(t, l, command("acme", "2")); e.VSeq != 2 {
				t.Errorf("vseq %d", e.VSeq)
			}
			closeLog(t, l)
			if report := mustVerify(t, c); !report.OK() || report.Classes[1].Segment != 2 {
				t.Errorf("%+v %v", report.Classes[1], report.Err())
			}
		})
	}
}
