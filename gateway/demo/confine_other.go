//go:build !linux

package demo

import "errors"

func (s sandbox) missing() string {
	return "only Linux has Landlock, so they can do whatever the user who started the demo can"
}

func confine(string, []string) error { return errors.New("only Linux has Landlock") }
