//go:build !linux

package sshproxy

import "errors"

const vectored = false

func readv(int, []byte, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

func writev(int, []byte, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }
