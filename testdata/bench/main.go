// Command bench measures sekisho beside what a user would pick instead, in one run: direct sshd, OpenSSH ProxyJump, and the
// least that terminates SSH and dials again, a bare proxy on the same library that neither decides nor records. It prints,
// for each way, connect+exec, one keystroke's echo and a download by a command and by SFTP, as the median of interleaved
// rounds, with the CPU used first, since machines are noisy, and says which of the targets are met.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

var (
	rounds   = flag.Int("rounds", 7, "interleaved rounds; the median is printed")
	connects = flag.Int("connects", 10, "connect+exec per round")
	keys     = flag.Int("keys", 200, "keystrokes per round")
	bytesMB  = flag.Int("mb", 128, "MiB downloaded per round")
	only     = flag.String("only", "", "measure only operations whose name contains this")
	binary   = flag.String("sekisho", "bin/sekisho", "the built binary")
)

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 && os.Args[1] == "bare" {
		log.Fatal("bare proxy: ", runBare(os.Args[2:]))
	}
	flag.Parse()
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

const sftpDownload = "download by SFTP"

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

// ways are those that differ in this operation: what is kept of files shows in SFTP alone.
func (op operation) ways(s *stage) []string {
	if op.name == sftpDownload {
		return s.ways
	}
	return slices.DeleteFunc(slices.Clone(s.ways), func(way string) bool { return way == wayFull })
}

func measure(s *stage) error {
	megabytes := fmt.Sprintf("per %d MiB", *bytesMB)
	operations := []operation{
		{"connect+exec", "per command", connectExec},
		{"keystroke echo", "per key, wall is p50", keystrokes},
		{"download by a command", megabytes, download},
		{sftpDownload, megabytes, downloadSFTP},
	}
	fmt.Printf("sekisho bench: %d interleaved rounds, decisions and recording on (commit: interval, files: hash), medians; CPU is user+sys; %s, %s\n"+
		"proxy is the CPU of the process between client and target, all that of client and target too; × are medians of each round's ratio\n\n",
		*rounds, kex, cipher)
	var reached []string
	for _, op := range operations {
		if !strings.Contains(op.name, *only) {
			continue
		}
		before := load()
		got, err := repeat(s, op)
		if err != nil {
			return err
		}
		print(op, op.ways(s), got, before)
		for _, t := range targets {
			if t.operation == op.name {
				reached = append(reached, t.judge(got))
			}
		}
	}
	fmt.Println("targets")
	for _, line := range reached {
		fmt.Println(" ", line)
	}
	return nil
}

// repeat runs an operation over every way, round after round.
func repeat(s *stage, op operation) (map[string][]sample, error) {
	got := map[string][]sample{}
	for round := range *rounds + 1 {
		for _, way := range op.ways(s) {
			one, err := op.run(s, way)
			if err != nil {
				return nil, fmt.Errorf("%s over %s: %w", op.name, way, err)
			}
			if round > 0 { // the first round warms up
				got[way] = append(got[way], one)
			}
		}
	}
	return got, nil
}

func print(op operation, ways []string, got map[string][]sample, before string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Printf("%s (%s); load average before and after: %s, %s\n", op.name, op.unit, before, load())
	fmt.Fprintln(w, "\tproxy\tmin–max\tclient\ttarget\tall\twall\tmin–max\tproxy × bare\tall × jump\twall × jump\t")
	for _, way := range ways {
		all := got[way]
		proxyMin, proxyMax := spread(all, proxyCPU)
		wallMin, wallMax := spread(all, wallTime)
		fmt.Fprintf(w, "%s\t%s\t%s–%s\t%s\t%s\t%s\t%s\t%s–%s\t%s\t%s\t%s\t\n", way,
			short(median(all, proxyCPU)), short(proxyMin), short(proxyMax),
			short(median(all, func(s sample) time.Duration { return s.client })),
			short(median(all, func(s sample) time.Duration { return s.target })),
			short(median(all, sample.cpu)), short(median(all, wallTime)), short(wallMin), short(wallMax),
			times(ratio(all, got[wayBare], proxyCPU)), times(ratio(all, got[wayJump], sample.cpu)), times(ratio(all, got[wayJump], wallTime)))
	}
	w.Flush()
	fmt.Println()
}

// load is the load average of the last minute: what else the machine was doing.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(data), " ")
	return one
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
	return s.account(way, *connects, func() (time.Duration, error) {
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
	return s.account(way, 1, func() (time.Duration, error) {
		start := time.Now()
		err := s.ssh(way, "cat "+s.payload).Run()
		return time.Since(start), err
	})
}

// downloadSFTP reads the same file with sftp.
func downloadSFTP(s *stage, way string) (sample, error) {
	return s.account(way, 1, func() (time.Duration, error) {
		start := time.Now()
		out, err := s.sftp(way).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return time.Since(start), err
	})
}

// account runs work, which returns a wall time, and adds up what the clients and the long-lived processes used meanwhile.
func (s *stage) account(way string, n int, work func() (wall time.Duration, err error)) (sample, error) {
	client, between, target := reaped(), s.between[way].cpu(), s.target.cpu()
	wall, err := work()
	if err != nil {
		return sample{}, err
	}
	s.settle()
	per := time.Duration(n)
	return sample{client: (reaped() - client) / per, between: (s.between[way].cpu() - between) / per,
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
