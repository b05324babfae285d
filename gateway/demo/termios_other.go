//go:build !linux

package demo

import "os"

// setModes leaves the terminal as the system made it.
func setModes(*os.File, []ttyMode) error { return nil }

func foreground(*os.File) int { return 0 }
