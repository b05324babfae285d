package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/creack/pty"
)

// keystrokes types into a remote terminal and waits for each echo, as a person would.
func keystrokes(s *stage, way string) (sample, error) {
	return s.account(way, *keys, func() (time.Duration, error) {
		// cat leaves the echo to the target's terminal; "ready" says that the shell is there.
		cmd := s.ssh(way, "echo ready; cat", "-tt")
		terminal, err := pty.Start(cmd)
		if err != nil {
			return 0, err
		}
		defer terminal.Close()
		if err := await(terminal, []byte("ready")); err != nil {
			return 0, err
		}
		times := make([]time.Duration, 0, *keys)
		for i := range *keys {
			key := []byte{'a' + byte(i%26)}
			start := time.Now()
			if _, err := terminal.Write(key); err != nil {
				return 0, err
			}
			if err := await(terminal, key); err != nil {
				return 0, err
			}
			times = append(times, time.Since(start))
		}
		terminal.Write([]byte("\r\x04"))
		cmd.Wait()
		slices.Sort(times)
		return times[len(times)/2], nil
	})
}

// await reads until text has arrived, for at most ten seconds.
func await(terminal *os.File, text []byte) error {
	terminal.SetReadDeadline(time.Now().Add(10 * time.Second))
	var seen []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(seen, text) {
		n, err := terminal.Read(buf)
		if err != nil {
			return fmt.Errorf("waiting for %q, have %q: %w", text, seen, err)
		}
		seen = append(seen, buf[:n]...)
	}
	return nil
}
