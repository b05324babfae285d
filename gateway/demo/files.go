package demo

import (
	"fmt"
	"io"
	"os"

	"github.com/pkg/sftp"
)

// filesArg is the hidden argument under which the program's confined copy serves a target's files.
const filesArg = "__demo-files"

// serveFiles is SFTP on standard input and output, from the current folder. It does not return.
func serveFiles() {
	home, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo target:", err)
		os.Exit(1)
	}
	stdio := struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}
	server, err := sftp.NewServer(stdio, sftp.WithServerWorkingDirectory(home))
	if err == nil {
		err = server.Serve()
	}
	if err != nil && err != io.EOF {
		fmt.Fprintln(os.Stderr, "demo target:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
