package recorder

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

// The test binary runs itself as a child that does one of these, because only another process can be killed or starved.
const (
	childTask = "RECORDER_TEST_CHILD"
	childDesk = "RECORDER_TEST_DESK"
)

var children = map[string]func(desk) error{
	"type": typeUntilKilled,
	"pour": pourUntilKilled,
}

func TestMain(m *testing.M) {
	task, ok := children[os.Getenv(childTask)]
	if !ok {
		os.Exit(m.Run())
	}
	d, err := parseDesk(os.Getenv(childDesk))
	if err == nil {
		err = task(d)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// text hands a desk to a child; the keys are made for this test.
func (d desk) text() string {
	return strings.Join([]string{d.Dir, d.id.String(), hex.EncodeToString(d.Signer.Seed())}, "\n")
}

func parseDesk(text string) (desk, error) {
	parts := strings.Split(text, "\n")
	if len(parts) != 3 {
		return desk{}, errors.New("the child was given no desk")
	}
	id, err := age.ParseX25519Identity(parts[1])
	if err != nil {
		return desk{}, err
	}
	seed, err := hex.DecodeString(parts[2])
	if err != nil {
		return desk{}, err
	}
	signer := ed25519.NewKeyFromSeed(seed)
	return desk{Config: Config{Dir: parts[0], Recipient: id.Recipient(), Signer: signer}, id: id,
		trusted: signer.Public().(ed25519.PublicKey)}, nil
}

func child(t *testing.T, d desk, task string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childDesk+"="+d.text())
	return cmd
}

// typeUntilKilled writes a small entry every few milliseconds and prints the number and time of each accepted one.
func typeUntilKilled(d desk) error {
	w, err := Create(d.Config, hanako)
	if err != nil {
		return err
	}
	start := time.Now()
	for i := range time.Tick(5 * time.Millisecond) {
		if err := w.Write(output(i.Sub(start), fmt.Sprintln(i.UnixNano()))); err != nil {
			return err
		}
		fmt.Println(time.Now().UnixNano())
	}
	return nil
}

// pourUntilKilled writes some 30 MB/s.
func pourUntilKilled(d desk) error {
	w, err := Create(d.Config, hanako)
	if err != nil {
		return err
	}
	chunk := make([]byte, 128<<10)
	rand.Read(chunk)
	start := time.Now()
	for now := range time.Tick(4 * time.Millisecond) {
		if err := w.Write(Entry{Offset: now.Sub(start), Kind: KindOutput, Data: chunk}); err != nil {
			return err
		}
		fmt.Println(time.Now().UnixNano())
	}
	return nil
}

func TestKilledWriterLosesNothingOlderThanASecond(t *testing.T) {
	for _, task := range []string{"type", "pour"} {
		t.Run(task, func(t *testing.T) {
			d := newDesk(t)
			accepted, killed := killAfter(t, child(t, d, task), 2500*time.Millisecond)
			read, err := d.read(t)
			if err != ErrCut {
				t.Errorf("reading ended with %v", err)
			}
			old := 0
			for old < len(accepted) && accepted[old].Before(killed.Add(-time.Second)) {
				old++
			}
			if old == 0 || len(read) < old {
				t.Errorf("%d entries were older than 1 s when the writer was killed, %d can be read", old, len(read))
			}
			report, err := Verify(d.path(), d.trusted)
			if err != nil || len(report.Findings) != 1 || report.OK() {
				t.Fatalf("verify: %v %v", err, report.Err())
			}
			if f := report.Findings[0].Fault; f != FaultUnclosed && f != FaultCut {
				t.Errorf("a killed recording is reported as %s", f)
			}
		})
	}
}

// killAfter kills the child when it has run for d by its own output, and returns when it accepted what.
func killAfter(t *testing.T, cmd *exec.Cmd, d time.Duration) (accepted []time.Time, killed time.Time) {
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
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var ns int64
		if _, err := fmt.Sscan(lines.Text(), &ns); err != nil {
			break
		}
		accepted = append(accepted, time.Unix(0, ns))
		if killed.IsZero() && accepted[len(accepted)-1].Sub(accepted[0]) >= d {
			killed = time.Now()
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); killed.IsZero() {
		t.Fatalf("the child ended by itself: %v %s", err, stderr.String())
	}
	return accepted, killed
}

// pour writes random chunks until the first error and returns how many were accepted.
func pour(w *Writer, chunk int) (accepted int, err error) {
	data := make([]byte, chunk)
	for {
		rand.Read(data)
		if err := w.Write(Entry{Kind: KindOutput, Data: data}); err != nil {
			return accepted, err
		}
		accepted++
	}
}

// mustRead checks that the recording holds the accepted entries and then ends with want.
func (d desk) mustRead(accepted int, want error) ([]Entry, error) {
	r, err := Open(d.path(), d.id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	read, err := drain(r)
	if !errors.Is(err, want) || len(read) < accepted {
		return nil, fmt.Errorf("%d entries were accepted, %d can be read, ending with %v", accepted, len(read), err)
	}
	return read, nil
}
