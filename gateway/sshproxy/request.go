package sshproxy

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// Bounds of what a client may put into channel requests.
const (
	maxCommand  = 128 << 10 // bytes of an exec line
	maxTermSize = 4096      // columns and rows; a replay has to draw them
	maxEnv      = 64        // variables per channel
	maxModes    = 1024      // bytes of encoded terminal modes
)

// window is a terminal's size, the payload of window-change (RFC 4254, 6.7).
type window struct {
	Columns, Rows, Width, Height uint32
}

func parseWindow(payload []byte) (window, bool) {
	var w window
	if err := ssh.Unmarshal(payload, &w); err != nil {
		return window{}, false
	}
	return w, w.fits()
}

func (w window) fits() bool { return w.Columns <= maxTermSize && w.Rows <= maxTermSize }

// String is the size as recorded: COLSxROWS.
func (w window) String() string { return fmt.Sprintf("%dx%d", w.Columns, w.Rows) }

// terminal is the payload of pty-req (RFC 4254, 6.2).
type terminal struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

func parseTerminal(payload []byte) (terminal, bool) {
	var t terminal
	if err := ssh.Unmarshal(payload, &t); err != nil {
		return terminal{}, false
	}
	return t, (t.Term == "" || terminalName.MatchString(t.Term)) && t.window().fits() && validModes(t.Modes)
}

func (t terminal) window() window { return window{t.Columns, t.Rows, t.Width, t.Height} }

// validModes walks encoded terminal modes (RFC 4254, 8): opcodes 1 to 159 with a uint32 each, ended by opcode 0 or by the
// end of the string. Opcodes from 160 on have no defined length and end the walk for every implementation.
func validModes(modes string) bool {
	if len(modes) > maxModes {
		return false
	}
	for len(modes) > 0 {
		op := modes[0]
		if op == 0 || op >= 160 {
			return true
		}
		if len(modes) < 5 {
			return false
		}
		modes = modes[5:]
	}
	return true
}

// variable is the payload of env (RFC 4254, 6.4).
type variable struct {
	Name, Value string
}

// The variables that may go to the target, with the values they have in practice. A command line may name them, and what
// was decided or approved is the line: a value that could be a path would make it mean any file.
var (
	localeName   = regexp.MustCompile(`^(LANG|LC_(ALL|ADDRESS|COLLATE|CTYPE|IDENTIFICATION|MEASUREMENT|MESSAGES|MONETARY|NAME|NUMERIC|PAPER|TELEPHONE|TIME))$`)
	localeValue  = regexp.MustCompile(`^(|POSIX|UTF-8|(C|[a-z]{2,3}_[A-Z]{2})(\.(?i:utf-?8|euc-?[a-z]{2}|sjis|iso-?8859-?[0-9]{1,2}|gb[0-9k]{1,5}|big5))?(@[a-z]{1,16})?)$`)
	languageList = regexp.MustCompile(`^[a-z]{2}(_[A-Z]{2})?(:[a-z]{2}(_[A-Z]{2})?){0,7}$`)
	colorValue   = regexp.MustCompile(`^(truecolor|24bit)$`)

	// terminalName is the shape of terminfo's names.
	terminalName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$`)
)

// parseVariable reads an env request. passed tells whether it may go to the target.
func parseVariable(payload []byte) (v variable, passed bool) {
	if err := ssh.Unmarshal(payload, &v); err != nil {
		return variable{}, false
	}
	switch {
	case localeName.MatchString(v.Name):
		return v, localeValue.MatchString(v.Value)
	case v.Name == "LANGUAGE":
		return v, languageList.MatchString(v.Value)
	case v.Name == "COLORTERM":
		return v, colorValue.MatchString(v.Value)
	}
	return v, false
}

// execution is the payload of exec (RFC 4254, 6.5).
type execution struct {
	Command string
}

// parseExecution reads an exec request. A line with a NUL would end there for the target's shell and not for policy, and
// a line that is not UTF-8 could not be shown to an approver as it is: both are refused.
func parseExecution(payload []byte) (line string, ok bool) {
	var e execution
	if err := ssh.Unmarshal(payload, &e); err != nil {
		return "", false
	}
	ok = len(e.Command) <= maxCommand && utf8.ValidString(e.Command) && !strings.ContainsRune(e.Command, 0)
	return e.Command, ok
}

// subsystem is the payload of subsystem (RFC 4254, 6.5).
type subsystem struct {
	Name string
}

// sending is the payload of signal (RFC 4254, 6.9).
type sending struct {
	Name string
}

var signalName = regexp.MustCompile(`^[A-Z0-9]{1,16}(@[a-z0-9.-]{1,64})?$`)

func parseSignal(payload []byte) (sending, bool) {
	var s sending
	if err := ssh.Unmarshal(payload, &s); err != nil {
		return sending{}, false
	}
	return s, signalName.MatchString(s.Name)
}

// breaking is the payload of break (RFC 4335).
type breaking struct {
	Milliseconds uint32
}

// exitStatus and exitSignal are how a program on the target ended (RFC 4254, 6.10).
type (
	exitStatus struct {
		Status uint32
	}
	exitSignal struct {
		Signal     string
		CoreDumped bool
		Message    string
		Language   string
	}
)

func parseExitStatus(payload []byte) (exitStatus, bool) {
	var e exitStatus
	err := ssh.Unmarshal(payload, &e)
	return e, err == nil
}

func parseExitSignal(payload []byte) (exitSignal, bool) {
	var e exitSignal
	if err := ssh.Unmarshal(payload, &e); err != nil {
		return exitSignal{}, false
	}
	e.Message, e.Language = clean(e.Message, 1024), "" // nobody reads a language tag, and it is not on record
	return e, signalName.MatchString(e.Signal)
}

// transfers tells whether an exec line starts a file transfer program: scp, or the SFTP server by its path.
func transfers(line string) bool {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return false
	}
	program := fields[0]
	program = program[strings.LastIndexByte(program, '/')+1:]
	return program == "scp" || program == "sftp-server" || program == "internal-sftp"
}
