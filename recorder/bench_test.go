package recorder

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// logText is what a busy terminal or a log download looks like.
func logText(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "2026-11-22T09:15:%02d host%d app[%d]: GET /orders/%d 200 %dms user=%x\n",
			i%60, i%7, i*7919%5000, i*31%9999, i%300, i*2654435761)
	}
	return b.Bytes()[:n]
}

// cpu is the CPU time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkBulk(b *testing.B) {
	random := make([]byte, 16<<20)
	rand.Read(random)
	for name, data := range map[string][]byte{"text": logText(16 << 20), "random": random} {
		b.Run(name, func(b *testing.B) {
			d := newDesk(b)
			w := d.create(b)
			const chunk = 128 << 10
			b.SetBytes(chunk)
			start, at := cpu(), 0
			for i := range b.N {
				if at += chunk; at+chunk > len(data) {
					at = 0
				}
				write(b, w, Entry{Offset: time.Duration(i) * time.Millisecond, Kind: KindOutput, Data: data[at : at+chunk]})
			}
			if err := w.Close(""); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric((cpu()-start).Seconds()*float64(1<<30)/float64(b.N*chunk), "cpu-s/GiB")
			b.ReportMetric(float64(w.tape.size)/float64(b.N*chunk), "stored/byte")
		})
	}
}

// BenchmarkPaced writes text at 40 MB/s: more than is compressed for long, less than could be.
func BenchmarkPaced(b *testing.B) {
	d := newDesk(b)
	w := d.create(b)
	data := logText(16 << 20)
	const chunk = 128 << 10
	start, began, at := cpu(), time.Now(), 0
	for i := range b.N {
		if at += chunk; at+chunk > len(data) {
			at = 0
		}
		write(b, w, Entry{Kind: KindOutput, Data: data[at : at+chunk]})
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second * chunk / 40e6)))
	}
	if err := w.Close(""); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric((cpu()-start).Seconds()*float64(1<<30)/float64(b.N*chunk), "cpu-s/GiB")
	b.ReportMetric(float64(w.tape.size)/float64(b.N*chunk), "stored/byte")
}

func BenchmarkKeystroke(b *testing.B) {
	for name, mode := range map[string]CommitMode{"interval": Interval, "before-show": BeforeShow} {
		b.Run(name, func(b *testing.B) {
			d := newDesk(b)
			d.Commit = mode
			w := d.create(b)
			b.ReportAllocs()
			for i := range b.N {
				write(b, w, Entry{Offset: time.Duration(i) * 100 * time.Millisecond, Kind: KindOutput, Data: []byte("x")})
			}
			if err := w.Close(""); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkCreateWriteClose(b *testing.B) {
	d := newDesk(b)
	start := cpu()
	for i := range b.N {
		h := hanako
		h.Session = fmt.Sprint("s-", i)
		w, err := Create(d.Config, h)
		if err != nil {
			b.Fatal(err)
		}
		write(b, w, output(0, "hello\n"))
		if err := w.Close(""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu()-start).Microseconds())/float64(b.N), "cpu-µs/op")
}

func BenchmarkIdleSession(b *testing.B) {
	d := newDesk(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	writers := make([]*Writer, b.N)
	for i := range writers {
		h := hanako
		h.Session = fmt.Sprint("s-", i)
		var err error
		if writers[i], err = Create(d.Config, h); err != nil {
			b.Fatal(err)
		}
		write(b, writers[i], output(0, "$ "))
	}
	for _, w := range writers {
		settle(w)
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "B/session")
	for _, w := range writers {
		w.Close("")
	}
}

// settle makes w do at once what an idle session does after a while.
func settle(w *Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.running || !w.dirty.IsZero() || w.mayRest() {
		if !w.dirty.IsZero() {
			w.dirty = time.Now().Add(-time.Minute)
		}
		w.touched = time.Now().Add(-time.Minute)
		w.start()
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
	}
}

func BenchmarkRead(b *testing.B) {
	d := newDesk(b)
	w := d.create(b)
	text := logText(64 << 20)
	for at := 0; at < len(text); at += 32 << 10 {
		write(b, w, Entry{Kind: KindOutput, Data: text[at : at+32<<10]})
	}
	if err := w.Close(""); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ResetTimer()
	for range b.N {
		d.read(b)
	}
}

func BenchmarkVerify(b *testing.B) {
	d := newDesk(b)
	w := d.create(b)
	random := make([]byte, 128<<10)
	for range 512 {
		rand.Read(random)
		write(b, w, Entry{Kind: KindOutput, Data: random})
	}
	if err := w.Close(""); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(512 * 128 << 10)
	b.ResetTimer()
	for range b.N {
		if report, err := Verify(d.path(), d.trusted); err != nil || !report.OK() {
			b.Fatal(err, report.Err())
		}
	}
}
