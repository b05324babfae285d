package audit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

func BenchmarkAppend(b *testing.B) {
	for _, producers := range []int{1, 50, 1000} {
		b.Run(fmt.Sprint(producers), func(b *testing.B) {
			l := open(b, newConfig(b))
			b.SetParallelism(max(1, producers/2))
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				vendor := fmt.Sprint("vendor", n.Add(1)%20)
				for pb.Next() {
					if _, err := l.Append(context.Background(), command(vendor, "systemctl restart app --now")); err != nil {
						b.Fatal(err)
					}
				}
			})
			closeLog(b, l)
		})
	}
}

// filled is a log of n events.
func filled(b *testing.B, n int) (Config, *Log) {
	b.Helper()
	c := newConfig(b)
	l := open(b, c)
	work := make(chan int)
	done := make(chan struct{})
	for range 500 {
		go func() {
			for i := range work {
				_, err := l.Append(context.Background(), command(fmt.Sprint("vendor", i%20), fmt.Sprint("systemctl restart app", i)))
				if err != nil {
					b.Error(err)
				}
			}
			done <- struct{}{}
		}()
	}
	for i := range n {
		work <- i
	}
	close(work)
	for range 500 {
		<-done
	}
	return c, l
}

func BenchmarkHundredThousandEvents(b *testing.B) {
	const n = 100_000
	c, l := filled(b, n)
	b.Run("search a rare word", func(b *testing.B) {
		for range b.N {
			if got := found(b, l, Query{Text: "app99"}); len(got) == 0 {
				b.Fatal("nothing")
			}
		}
	})
	b.Run("search the newest 100", func(b *testing.B) {
		for range b.N {
			if got := found(b, l, Query{Person: "hanako", Limit: 100}); len(got) != 100 {
				b.Fatal(len(got))
			}
		}
	})
	closeLog(b, l)
	b.Run("verify", func(b *testing.B) {
		start := time.Now()
		for range b.N {
			if report := mustVerify(b, c); !report.OK() {
				b.Fatal(report.Err())
			}
		}
		b.ReportMetric(float64(b.N)*n/time.Since(start).Seconds(), "events/s")
	})
	b.Run("open", func(b *testing.B) {
		for range b.N {
			closeLog(b, open(b, c))
		}
	})
}
