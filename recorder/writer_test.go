package recorder

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
)

// desk is what a test of recordings (C-6) needs: a folder, who signs, who reads.
type desk struct {
	Config
	id      *age.X25519Identity
	trusted ed25519.PublicKey
}

func newDesk(t testing.TB) desk {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return desk{Config: Config{Dir: t.TempDir(), Recipient: id.Recipient(), Signer: private}, id: id, trusted: public}
}

var hanako = Header{Session: "s-01TEST", Person: "hanako", Vendor: "acme-maintenance", Target: "db1", Login: "app",
	Protocol: "ssh"}

func (d desk) create(t testing.TB) *Writer {
	t.Helper()
	w, err := Create(d.Config, hanako)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (d desk) path() string { return Path(d.Dir, hanako.Session) }

// read returns every entry and the error that ended them.
func (d desk) read(t testing.TB) ([]Entry, error) {
	t.Helper()
	r, err := Open(d.path(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return drain(r)
}

func drain(r *Reader) ([]Entry, error) {
	var entries []Entry
	for {
		e, err := r.Next()
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
}

func write(t testing.TB, w *Writer, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
}

func output(at time.Duration, text string) Entry {
	return Entry{Offset: at, Channel: 1, Kind: KindOutput, Data: []byte(text)}
}

func TestWhatIsWrittenIsReadBackInOrder(t *testing.T) {
	d := newDesk(t)
	w := d.create(t)
	wrote := []Entry{
		{Kind: KindStart, Channel: 1, Data: []byte(`{"kind":"ssh.exec","command":"ls"}`)},
		output(1500*time.Microsecond, "hello\r\n"),
		{Offset: 2 * time.Second, Channel: 7, Kind: KindStderr, Data: []byte{0, 0xff, 0x1b}},
		{Offset: 2 * time.Second, Channel: 1 << 31, Kind: KindInput},
		{Offset: 3 * time.Hour, Channel: 1, Kind: KindBody, Data: bytes.Repeat([]byte("x"), MaxData)},
		output(3*time.Hour, "after"),
	}
	write(t, w, wrote...)
	if err := w.Close("bye"); err != nil {
		t.Fatal(err)
	}
	read, err := d.read(t)
	if err != io.EOF {
		t.Fatalf("reading a closed recording ended with %v", err)
	}
	if len(read) != len(wrote)+1 {
		t.Fatalf("%d entries were read, %d and the end were written", len(read), len(wrote))
	}
	for i, e := range wrote {
		got := read[i]
		if got.Offset != e.Offset || got.Channel != e.Channel || got.Kind != e.Kind || !bytes.Equal(got.Data, e.Data) {
			t.Errorf("entry %d: read %v %v, wrote %v %v", i, got.Offset, got.Kind, e.Offset, e.Kind)
		}
	}
	if end := read[len(wrote)]; end.Kind != KindEnd || string(end.Data) != `{"reason":"bye"}` {
		t.Errorf("the last entry is %d %s", end.Kind, end.Data)
	}
	report, err := Verify(d.path(), d.trusted)
	if err != nil || report.Err() != nil {
		t.Fatalf("verify: %v %v", err, report.Err())
	}
	if !report.Closed || report.Session != hanako.Session || report.Unsigned != 0 {
		t.Errorf("report: %+v", report)
	}
	if report.Head != w.Head() {
		t.Errorf("the report's head %+v is not the writer's %+v", report.Head, w.Head())
	}
}

func TestHeaderIsReadBack(t *testing.T) {
	d := newDesk(t)
	if err := d.create(t).Close(""); err != nil {
		t.Fatal(err)
	}
	r, err := Open(d.path(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if h := r.Header(); h.Person != "hanako" || h.Target != "db1" || h.Started.IsZero() {
		t.Errorf("header %+v", h)
	}
}

func TestNothingOfARecordingStandsOnDiskInClear(t *testing.T) {
	d := newDesk(t)
	w := d.create(t)
	write(t, w, output(0, "a very secret line"))
	if err := w.Close("a telling reason"); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(d.path())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"secret", "hanako", "acme", "db1", "telling"} {
		if bytes.Contains(stored, []byte(text)) {
			t.Errorf("%q stands in the file", text)
		}
	}
}

func TestDeletingTheKeyShredsButStillVerifies(t *testing.T) {
	d := newDesk(t)
	if err := d.create(t).Close(""); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(KeyPath(d.path())); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d.path(), d.id); !errors.Is(err, ErrShredded) {
		t.Errorf("opening without the key: %v", err)
	}
	report, err := Verify(d.path(), d.trusted)
	if err != nil || !report.OK() {
		t.Errorf("verify: %v %v", err, report.Err())
	}
}

func TestKeyOfAnotherRecordingIsRefused(t *testing.T) {
	d := newDesk(t)
	if err := d.create(t).Close(""); err != nil {
		t.Fatal(err)
	}
	other := hanako
	other.Session = "s-02TEST"
	w, err := Create(d.Config, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(""); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(KeyPath(Path(d.Dir, other.Session)), KeyPath(d.path())); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d.path(), d.id); err == nil || !strings.Contains(err.Error(), "belongs to another recording") {
		t.Errorf("opening with another's key: %v", err)
	}
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Path(d.Dir, hanako.Session), stranger); err == nil {
		t.Error("a stranger's identity opened the recording")
	}
}

func TestOffsetsNeverDecrease(t *testing.T) {
	d := newDesk(t)
	w := d.create(t)
	write(t, w, output(time.Second, "a"), output(0, "b"), output(-time.Hour, "c"), output(2*time.Second, "d"))
	if err := w.Close(""); err != nil {
		t.Fatal(err)
	}
	read, _ := d.read(t)
	want := []time.Duration{time.Second, time.Second, time.Second, 2 * time.Second}
	for i, at := range want {
		if read[i].Offset != at {
			t.Errorf("entry %d is at %v, want %v", i, read[i].Offset, at)
		}
	}
}

func TestLongRecordingKeepsEveryByte(t *testing.T) {
	d := newDesk(t)
	w := d.create(t)
	random := rand.NewChaCha8([32]byte{1})
	var wrote bytes.Buffer
	for i := range 400 {
		chunk := make([]byte, 1+i*331%(128<<10))
		if i%3 == 0 {
			random.Read(chunk)
		} else {
			copy(chunk, fmt.Sprintf("line %d of something that compresses well ", i))
		}
		wrote.Write(chunk)
		write(t, w, Entry{Offset: time.Duration(i) * time.Second, Kind: KindOutput, Data: chunk})
		clear(chunk) // the caller's again
	}
	if err := w.Close(""); err != nil {
		t.Fatal(err)
	}
	read, err := d.read(t)
	if err != io.EOF {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, e := range read[:len(read)-1] {
		got.Write(e.Data)
	}
	if !bytes.Equal(got.Bytes(), wrote.Bytes()) {
		t.Error("the bytes read differ from the bytes written")
	}
	if report, err := Verify(d.path(), d.trusted); err != nil || !report.OK() {
		t.Errorf("verify: %v %v", err, report.Err())
	}
}

func TestManyGoroutinesWriteAtOnce(t *testing.T) {
	for _, mode := range []CommitMode{Interval, BeforeShow} {
		d := newDesk(t)
		d.Commit = mode
		w := d.create(t)
		var group sync.WaitGroup
		for channel := range uint32(8) {
			group.Go(func() {
				for i := range 50 {
					text := strings.Repeat(fmt.Sprint(i), 1+i*100)
					if err := w.Write(Entry{Channel: channel, Kind: KindOutput, Data: []byte(text)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if err := w.Close(""); err != nil {
			t.Fatal(err)
		}
		read, err := d.read(t)
		if err != io.EOF || len(read) != 8*50+1 {
			t.Fatalf("mode %d: %d entries, %v", mode, len(read), err)
		}
		next := map[uint32]int{}
		for _, e := range read[:len(read)-1] {
			if want := strings.Repeat(fmt.Sprint(next[e.Channel]), 1+next[e.Channel]*100); string(e.Data) != want {
				t.Fatalf("mode %d: channel %d is out of order at %d", mode, e.Channel, next[e.Channel])
			}
			next[e.Channel]++
		}
	}
}

func TestBeforeShowIsOnDiskWhenWriteReturns(t *testing.T) {
	d := newDesk(t)
	d.Commit = BeforeShow
	w := d.create(t)
	defer w.Close("")
	for i := range 20 {
		write(t, w, output(time.Duration(i), fmt.Sprint(i)))
		read, err := d.read(t)
		if err != ErrCut || len(read) != i+1 {
			t.Fatalf("after %d writes %d entries are on disk, %v", i+1, len(read), err)
		}
	}
}

func TestAcceptedEntriesAreOnDiskWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		w := d.create(t)
		for i := range 200 { // an entry every 50 ms: the flush may not be put off by the next one
			write(t, w, output(time.Duration(i)*50*time.Millisecond, fmt.Sprint(i)))
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			read, _ := d.read(t)
			if old := i - int(time.Second/(50*time.Millisecond)); len(read) <= old {
				t.Fatalf("entry %d is older than 1 s and not on disk", old)
			}
		}
		if err := w.Close(""); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLiveReaderGoesOnWhereTheFileEnded(t *testing.T) {
	d := newDesk(t)
	d.Commit = BeforeShow
	w := d.create(t)
	r, err := Open(d.path(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 50 {
		size := 1
		if i%7 == 0 {
			size = 100 << 10 // so that frames end, too
		}
		text := strings.Repeat(fmt.Sprint(i), size)
		if _, err := r.Next(); err != ErrCut {
			t.Fatalf("before entry %d: %v", i, err)
		}
		write(t, w, output(time.Duration(i)*time.Second, text))
		e, err := r.Next()
		if err != nil || string(e.Data) != text || e.Offset != time.Duration(i)*time.Second {
			t.Fatalf("entry %d: %v %v", i, e.Offset, err)
		}
	}
	if err := w.Close("over"); err != nil {
		t.Fatal(err)
	}
	if e, err := r.Next(); err != nil || e.Kind != KindEnd {
		t.Fatalf("the end: %v %v", e.Kind, err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatalf("after the end: %v", err)
	}
}

func TestIdleSessionGivesItsBuffersBackAndSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		w := d.create(t)
		write(t, w, output(0, strings.Repeat("busy ", 20_000)))
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if w.tape.packer.encoder != nil || cap(w.tape.packer.out) > keepBuffer || cap(w.spare) > keepBuffer {
			t.Error("an idle session holds an encoder or large buffers")
		}
		report, err := Verify(d.path(), d.trusted)
		if err != nil || report.Unsigned != 0 || report.Head.Records == 0 {
			t.Errorf("an idle session leaves records unsigned: %+v, %v", report, err)
		}
		if len(report.Findings) != 1 || report.Findings[0].Fault != FaultUnclosed {
			t.Errorf("a running recording is reported as %v", report.Findings)
		}
		write(t, w, output(20*time.Second, "again"))
		if err := w.Close(""); err != nil {
			t.Fatal(err)
		}
		if read, err := d.read(t); err != io.EOF || string(read[1].Data) != "again" {
			t.Errorf("after idling: %v", err)
		}
	})
}

func TestBusySessionIsSignedEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		w := d.create(t)
		for i := range 60 {
			write(t, w, output(time.Duration(i)*time.Second, "tick"))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		report, err := Verify(d.path(), d.trusted)
		if err != nil || report.Head.Records < 40 || report.Unsigned > 12 {
			t.Errorf("after a busy minute: head over %d, %d unsigned, %v", report.Head.Records, report.Unsigned, err)
		}
		if err := w.Close(""); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFullQueueMakesWriteWaitAndDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		w := d.create(t)
		w.mu.Lock()
		w.running = true // as if the disk took forever
		w.mu.Unlock()
		chunk, written := strings.Repeat("x", 128<<10), 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ; written < 20; written++ {
				write(t, w, output(0, chunk))
			}
		}()
		synctest.Wait()
		if size := len(w.queue.buf); written >= 20 || size > queueLimit {
			t.Errorf("%d chunks were accepted, %d bytes wait", written, size)
		}
		w.mu.Lock()
		w.running = false
		w.start()
		w.mu.Unlock()
		<-done
		if err := w.Close(""); err != nil {
			t.Fatal(err)
		}
		if read, err := d.read(t); err != io.EOF || len(read) != 21 {
			t.Errorf("%d entries, %v", len(read), err)
		}
	})
}

func TestClosedRecordingAcceptsNothing(t *testing.T) {
	d := newDesk(t)
	w := d.create(t)
	if err := w.Close("first"); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(output(0, "late")); !errors.Is(err, ErrClosed) {
		t.Errorf("writing after the end: %v", err)
	}
	if err := w.Close("second"); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if _, failed := <-w.Err(); failed {
		t.Error("a whole recording delivered an error")
	}
	read, err := d.read(t)
	if err != io.EOF || len(read) != 1 {
		t.Errorf("%d entries, %v", len(read), err)
	}
}

func TestEntryBeyondTheLimitIsRefusedAndTheRecordingGoesOn(t *testing.T) {
	d := newDesk(t)
	w := d.create(t)
	if err := w.Write(Entry{Kind: KindBody, Data: make([]byte, MaxData+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an entry of 8 MiB and a byte: %v", err)
	}
	write(t, w, output(0, "still here"))
	if err := w.Close(""); err != nil {
		t.Fatal(err)
	}
}

func TestCreateRefusesWhatCouldNotBeReadOrWouldOverwrite(t *testing.T) {
	d := newDesk(t)
	for name, change := range map[string]func(*Config, *Header){
		"no folder":               func(c *Config, _ *Header) { c.Dir = "" },
		"no recipient":            func(c *Config, _ *Header) { c.Recipient = nil },
		"no signer":               func(c *Config, _ *Header) { c.Signer = nil },
		"an unknown commit mode":  func(c *Config, _ *Header) { c.Commit = 9 },
		"no session":              func(_ *Config, h *Header) { h.Session = "" },
		"a session that climbs":   func(_ *Config, h *Header) { h.Session = "../s-1" },
		"a folder that is a file": func(c *Config, _ *Header) { c.Dir = "/dev/null/x" },
		"a header beyond 64 KiB":  func(_ *Config, h *Header) { h.Login = strings.Repeat("x", maxHeader) },
	} {
		c, h := d.Config, hanako
		change(&c, &h)
		if _, err := Create(c, h); err == nil {
			t.Errorf("%s: a recording was opened", name)
		}
	}
	if left, _ := os.ReadDir(d.Dir); len(left) != 0 {
		t.Errorf("refused recordings left %v behind", left)
	}
	if err := d.create(t).Close(""); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(KeyPath(d.path()))
	if _, err := Create(d.Config, hanako); err == nil {
		t.Error("a second recording of the same session was opened")
	}
	after, _ := os.ReadFile(KeyPath(d.path()))
	if !bytes.Equal(before, after) {
		t.Error("the refused second recording touched the first one's key")
	}
}
