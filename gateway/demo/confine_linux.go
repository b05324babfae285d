package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// missing is empty when this kernel can confine a shell, otherwise why it cannot.
func (s sandbox) missing() string {
	if v, err := ll.LandlockGetABIVersion(); err != nil || v < 1 {
		return "this kernel has no Landlock, so they can do whatever the user who started the demo can"
	}
	return ""
}

// confine shuts this process and all it starts into home: it writes there and nowhere else, reads home and the readable
// trees, opens no TCP connection and signals nobody outside, as far as this kernel's Landlock goes. Changing the mode
// or times of a file that belongs to the same user is beyond Landlock.
func confine(home string, readable []string) error {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return err
	}
	own := landlock.RWDirs(home)
	if abi >= 2 { // the first version refuses moving a file to another folder whatever the rules say
		own = own.WithRefer()
	}
	rules := []landlock.Rule{
		own,
		landlock.PathAccess(ll.AccessFSExecute|ll.AccessFSReadFile|ll.AccessFSReadDir, existing(readable, true)...),
		landlock.PathAccess(ll.AccessFSExecute|ll.AccessFSReadFile, existing(readable, false)...),
		landlock.RWFiles("/dev/null", "/dev/zero", "/dev/full", "/dev/tty").IgnoreIfMissing(),
		landlock.ROFiles("/dev/random", "/dev/urandom").IgnoreIfMissing(),
	}
	if tty := terminal(); tty != "" {
		rules = append(rules, landlock.RWFiles(tty, "/dev/tty").WithIoctlDev().IgnoreIfMissing())
	}
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	return tryConfined(home)
}

// dropCapabilities leaves a demo that root started with root's files but none of root's powers: with them /proc would
// show other processes' memory. Passing file modes stays, or root could not work in a folder of somebody else. The
// caller's thread must be locked and must be the one that executes the shell, whose no_new_privs keeps it so.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		return err
	}
	keep := has[0].Permitted & (1 << unix.CAP_DAC_OVERRIDE)
	left := [2]unix.CapUserData{{Effective: keep, Permitted: keep}}
	return unix.Capset(&header, &left[0])
}

// tryConfined believes no version number: the folder above home must be shut now.
func tryConfined(home string) error {
	if entries, err := os.ReadDir(filepath.Dir(home)); err == nil {
		return fmt.Errorf("the kernel accepted the rules, yet %d entries beside %s can be read", len(entries), home)
	}
	return nil
}

// existing keeps the folders, or the files, of paths.
func existing(paths []string, dirs bool) []string {
	var keep []string
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() == dirs {
			keep = append(keep, path)
		}
	}
	return keep
}

// terminal names the terminal that stdin is, "" when it is none.
func terminal() string {
	name, err := os.Readlink("/proc/self/fd/0")
	if err != nil || !strings.HasPrefix(name, "/dev/pts/") {
		return ""
	}
	return name
}
