// Command bench measures sekisho beside what a user would pick instead, in one run: direct sshd and OpenSSH ProxyJump. It
// prints, for each way, connect+exec, one keystroke's echo and a download, as the median of interleaved rounds, with the
// CPU all processes of that way used (client, jump or gateway, target) first, since machines are noisy.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

var (
	rounds   = flag.Int("rounds", 7, "interleaved rounds; the median is printed")
	connects = flag.Int("connects", 10, "connect+exec per round")
	keys     = flag.Int("keys", 200, "keystrokes per round")
	bytesMB  = flag.Int("mb", 64, "MiB downloaded per round")
	binary   = flag.String("sekisho", "bin/sekisho", "the built binary")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	// ssh -J leaves the ssh of its first leg behind; its CPU counts once it is ours to wait for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Fatal("bench: ", err)
	}
	dir, err := os.MkdirTemp("", "sekisho-bench-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := newStage(dir, *binary)
	if err != nil {
		log.Print("bench: ", err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	err = measure(s)
	s.close()
	if err != nil {
		log.Print("bench: ", err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
}

// sample is what one round of one operation cost.
type sample struct {
	client, between, target time.Duration // CPU, user+sys, per operation
	wall                    time.Duration // per operation; a keystroke's is its p50
}

func (s sample) cpu() time.Duration { return s.client + s.between + s.target }

// operation measures one kind of work over one way.
type operation struct {
	name string
	unit string
	run  func(s *stage, way string) (sample, error)
}

func measure(s *stage) error {
	operations := []operation{
		{"connect+exec", "per command", connectExec},
		{"keystroke echo", "per key, wall is p50", keystrokes},
		{"download", fmt.Sprintf("per %d MiB", *bytesMB), download},
	}
	fmt.Printf("sekisho bench: %d interleaved rounds, recording on (commit: interval), medians; CPU is user+sys; %s, %s\n\n", *rounds, kex, cipher)
	for _, op := range operations {
		got := map[string][]sample{}
		for round := range *rounds + 1 {
			for _, way := range s.ways {
				one, err := op.run(s, way)
				if err != nil {
					return fmt.Errorf("%s over %s: %w", op.name, way, err)
				}
				if round > 0 { // the first round warms up
					got[way] = append(got[way], one)
				}
			}
		}
		print(op, s.ways, got)
	}
	return nil
}

func print(op operation, ways []string, got map[string][]sample) {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s (%s)\tCPU\tmin–max\tclient\tbetween\ttarget\twall\t× direct\t\n", op.name, op.unit)
	base := median(got[ways[0]], sample.cpu)
	for _, way := range ways {
		all := got[way]
		spread := make([]time.Duration, 0, len(all))
		for _, s := range all {
			spread = append(spread, s.cpu())
		}
		cpu := median(all, sample.cpu)
		fmt.Fprintf(w, "%s\t%s\t%s–%s\t%s\t%s\t%s\t%s\t%.2f\t\n", way, short(cpu), short(slices.Min(spread)), short(slices.Max(spread)),
			short(median(all, func(s sample) time.Duration { return s.client })),
			short(median(all, func(s sample) time.Duration { return s.between })),
			short(median(all, func(s sample) time.Duration { return s.target })),
			short(median(all, func(s sample) time.Duration { return s.wall })), float64(cpu)/float64(base))
	}
	w.Flush()
	fmt.Println()
}

func median(all []sample, of func(sample) time.Duration) time.Duration {
	values := make([]time.Duration, 0, len(all))
	for _, s := range all {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/1e6)
	}
	return fmt.Sprintf("%dµs", d.Microseconds())
}

// connectExec is a whole ssh with a command that does nothing.
func connectExec(s *stage, way string) (sample, error) {
	return s.account(*connects, func() (time.Duration, error) {
		var wall time.Duration
		for range *connects {
			cmd := s.ssh(way, "true")
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return 0, fmt.Errorf("%w: %s", err, out)
			}
			wall += time.Since(start)
		}
		return wall / time.Duration(*connects), nil
	})
}

// download reads a file of random bytes.
func download(s *stage, way string) (sample, error) {
	return s.account(1, func() (time.Duration, error) {
		start := time.Now()
		err := s.ssh(way, "cat "+s.payload).Run()
		return time.Since(start), err
	})
}

// account runs work, which returns a wall time, and adds up what the clients and the long-lived processes used meanwhile.
func (s *stage) account(n int, work func() (wall time.Duration, err error)) (sample, error) {
	client, between, target := reaped(), s.between.cpu(), s.target.cpu()
	wall, err := work()
	if err != nil {
		return sample{}, err
	}
	s.settle()
	per := time.Duration(n)
	return sample{client: (reaped() - client) / per, between: (s.between.cpu() - between) / per,
		target: (s.target.cpu() - target) / per, wall: wall}, nil
}

// reaped is the CPU of every child that has ended and been waited for.
func reaped() time.Duration {
	var usage unix.Rusage
	unix.Getrusage(unix.RUSAGE_CHILDREN, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not installed; make tools installs it", name)
	}
	return path, nil
}
