package main

import (
	"fmt"
	"slices"
	"time"
)

// A target is what an operation over one way may cost at most, as a multiple of what it costs over another in the same
// round.
type target struct {
	operation string
	way, base string
	what      string
	of        func(sample) time.Duration
	most      float64
}

// targets are what sekisho has to reach.
var targets = []target{
	{"connect+exec", wayPlus, wayBare, "proxy CPU", proxyCPU, 1.2},
	{"connect+exec", wayVia, wayBare, "proxy CPU", proxyCPU, 1.8}, // three key exchanges against two
	{"keystroke echo", wayPlus, wayJump, "p50", wallTime, 1.0},
	{sftpDownload, wayPlus, wayBare, "proxy CPU", proxyCPU, 1.0},
}

func proxyCPU(s sample) time.Duration { return s.between }
func wallTime(s sample) time.Duration { return s.wall }

// judge says in a line whether the target is met.
func (t target) judge(got map[string][]sample) string {
	r := ratio(got[t.way], got[t.base], t.of)
	verdict := "met"
	if r > t.most {
		verdict = "not met"
	}
	return fmt.Sprintf("%-8s %s, %s: %s is %s of %s, at most %.1f", verdict, t.operation, t.way, t.what, times(r), t.base, t.most)
}

// ratio is the median over the rounds of what a way cost as a multiple of another; 0 when that cost nothing.
func ratio(all, base []sample, of func(sample) time.Duration) float64 {
	values := make([]float64, 0, len(all))
	for i := range min(len(all), len(base)) {
		if of(base[i]) > 0 {
			values = append(values, float64(of(all[i]))/float64(of(base[i])))
		}
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func times(r float64) string {
	if r == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", r)
}

func median(all []sample, of func(sample) time.Duration) time.Duration {
	values := sorted(all, of)
	return values[len(values)/2]
}

func spread(all []sample, of func(sample) time.Duration) (least, most time.Duration) {
	values := sorted(all, of)
	return values[0], values[len(values)-1]
}

func sorted(all []sample, of func(sample) time.Duration) []time.Duration {
	values := make([]time.Duration, 0, len(all))
	for _, s := range all {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values
}
