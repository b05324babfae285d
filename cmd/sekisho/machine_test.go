package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// machineConfig is the sshd of a target as its owner left it: the bootstrap adds what the gateway needs.
const machineConfig = `ListenAddress 127.0.0.1
Port %s
HostKey %s
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
PidFile none
PrintMotd no
PrintLastLog no
`

// prepareMachine lays down what a real sshd needs below a folder of its own. It takes into the environment that folder
// (PREFIX), the server (SSHD) and where it is to listen (MACHINE), its key's fingerprint (HOST_KEY), the account that may
// log in (LOGIN) and the bootstrap script (BOOTSTRAP). The script itself bootstraps and starts it.
func prepareMachine(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: machine")
	}
	// Not in the script's folder, which is closed to the account: sshd reads its principals as that.
	prefix, err := os.MkdirTemp("", "sekisho-machine-")
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(prefix) })
	ts.Check(os.Chmod(prefix, 0o755))
	ts.Setenv("PREFIX", prefix)
	etc := filepath.Join(prefix, "etc", "ssh")
	ts.Check(os.MkdirAll(etc, 0o755))
	key := filepath.Join(etc, "ssh_host_ed25519_key")
	ts.Check(ts.Exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key))
	port(ts, false, []string{"MACHINE_PORT"})
	config := fmt.Sprintf(machineConfig, ts.Getenv("MACHINE_PORT"), key)
	ts.Check(os.WriteFile(filepath.Join(etc, "sshd_config"), []byte(config), 0o600))
	ts.Check(ts.Exec("ssh-keygen", "-l", "-f", key+".pub"))
	ts.Setenv("HOST_KEY", strings.Fields(ts.ReadFile("stdout"))[1])
	ts.Setenv("MACHINE", net.JoinHostPort("127.0.0.1", ts.Getenv("MACHINE_PORT")))
	ts.Setenv("SSHD", lookIn(os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin", "sshd"))
	bootstrap, err := filepath.Abs("../../deploy/target-bootstrap.sh")
	ts.Check(err)
	ts.Setenv("BOOTSTRAP", bootstrap)
	ts.Setenv("LOGIN", account(ts))
}

// account is who may log in on the machine: whoever runs the test, and for root, as whom no contractor logs in, an account
// that goes away with the script.
func account(ts *testscript.TestScript) string {
	me, err := user.Current()
	ts.Check(err)
	if me.Uid != "0" {
		return me.Username
	}
	ts.Check(os.MkdirAll("/run/sshd", 0o755)) // sshd's own, where its service does not run
	name := "sekisho-" + strings.ToLower(rand.Text()[:8])
	// A password of "*" fits nothing; with "!" sshd would take the account for a locked one.
	ts.Check(ts.Exec("useradd", "--no-create-home", "--home-dir", "/", "--shell", "/bin/sh", "--password", "*", "--comment", "sekisho test", name))
	ts.Defer(func() {
		if out, err := exec.Command("userdel", "--force", name).CombinedOutput(); err != nil {
			ts.Logf("userdel %s: %v: %s", name, err, out)
		}
	})
	return name
}

// terminal runs a program in a terminal and types what stands in a file: terminal ROWSxCOLUMNS FILE PROGRAM [ARG...]
// What appears on the screen is its output.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	var size pty.Winsize
	if len(args) < 3 {
		ts.Fatalf("usage: terminal ROWSxCOLUMNS FILE PROGRAM [ARG...]")
	}
	if _, err := fmt.Sscanf(args[0], "%dx%d", &size.Rows, &size.Cols); err != nil {
		ts.Fatalf("terminal: size %q: want ROWSxCOLUMNS", args[0])
	}
	typed, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	cmd := exec.Command(lookIn(ts.Getenv("PATH"), args[2]), args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm"}
	tty, err := pty.StartWithSize(cmd, &size)
	ts.Check(err)
	defer tty.Close()
	_, err = tty.Write(typed)
	ts.Check(err)
	_, err = io.Copy(ts.Stdout(), tty)
	if err != nil && !errors.Is(err, syscall.EIO) { // EIO is how Linux says that the other side is gone
		ts.Fatalf("terminal: %v", err)
	}
	if err := cmd.Wait(); (err != nil) != neg {
		ts.Fatalf("%s in a terminal: %v", args[2], err)
	}
}

// grantsTerminals tells whether an sshd that we start can give its people terminals. One that is not root cannot where
// terminals do not belong to the group tty from the start, as in some containers.
func grantsTerminals() (bool, error) {
	if os.Getuid() == 0 {
		return true, nil
	}
	master, tty, err := pty.Open()
	if err != nil {
		return false, err
	}
	defer master.Close()
	defer tty.Close()
	info, err := tty.Stat()
	if err != nil {
		return false, err
	}
	group, err := user.LookupGroup("tty")
	return err != nil || fmt.Sprint(info.Sys().(*syscall.Stat_t).Gid) == group.Gid, nil
}
