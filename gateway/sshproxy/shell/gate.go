// Package shell puts a gate into an interactive shell on the target. A start file of the gateway's own has the shell report
// each line when Enter is pressed and wait for an answer before it runs; the gate takes these reports out of the terminal's
// output, has each line decided and answers. It is a guard rail (label parsed): what runs inside a program is not asked
// about, and somebody who is determined to can leave the gate. The recording is the evidence either way.
package shell

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxHeld bounds what is kept back while a line is decided, in bytes. A client that types more waits.
const maxHeld = 64 << 10

// holdFor is how long input is kept back for the shell to ask after Enter, and to begin after an answer. An Enter within a
// search or a pager asks nothing.
const holdFor = 100 * time.Millisecond

// Line is what the shell is about to run.
type Line struct {
	Text      string            // history expanded; several lines when a command goes over several
	Dir       string            // the folder the shell was in at its last prompt, "" when it did not say
	Aliases   map[string]string // of the shell at this moment
	Functions map[string]bool
}

// Running is a line that was allowed; it ends once, with its exit status and the folder in which the shell is then, or -1
// when the shell did not tell.
type Running interface {
	Ended(status int, cwd string)
}

// Config is what a Gate is made of; every field is required.
type Config struct {
	Token string
	// Incomplete says whether the shell will ask for more before it runs anything.
	Incomplete func(text string) bool
	// Decide asks the door. It may take as long as an approval does; ctx ends when the person presses Ctrl-C. A refusal is
	// an error whose text the person is shown.
	Decide func(ctx context.Context, line Line) (Running, error)
	// Skipped hears of a command that the shell ran into without asking and did not run.
	Skipped  func(command string)
	ToClient func(data []byte) error // shows output
	Notify   func(text string)       // shows the gateway's own words
	ToTarget func(data []byte) error // types
}

// Where a gate stands.
type state uint8

const (
	starting  state = iota // the shell has not shown a prompt yet
	prompting              // the person edits a line
	entered                // Enter was typed; the shell is expected to ask
	asking                 // the shell waits for an answer
	answered               // it was answered; what was typed ahead is on its way back
	launching              // it leaves the line editor, in whose mode an Enter would not end a line for the command
	running                // a command runs, and input is its own
)

// Gate is one shell. FromClient and FromTarget may run at the same time.
type Gate struct {
	cfg      Config
	splitter *splitter
	ctx      context.Context
	deciding sync.WaitGroup

	mu        sync.Mutex // guards the fields below; held while writing to the target, so that bytes keep their order
	room      *sync.Cond
	state     state
	held      []byte
	paste     bool   // within a bracketed paste
	tail      []byte // the last bytes of input, in which a paste's brackets may be split
	hold      *time.Timer
	cancel    context.CancelFunc // of the decision under way
	aliases   map[string]string
	functions map[string]bool
	dir       string
	before    string // lines of a command that is not complete
	interrupt bool   // an answer of no has to leave a command that is not complete
	say       string // at the next prompt
	command   Running
	closed    bool
	failed    error
}

// New makes a gate whose decisions end with ctx.
func New(ctx context.Context, cfg Config) *Gate {
	g := &Gate{cfg: cfg, ctx: ctx, splitter: newSplitter(cfg.Token), aliases: map[string]string{}, functions: map[string]bool{}}
	g.room = sync.NewCond(&g.mu)
	return g
}

// FromTarget takes a piece of the terminal's output.
func (g *Gate) FromTarget(data []byte) error { return g.splitter.split(data, g.cfg.ToClient, g.mark) }

// Close ends the gate when the shell has ended: what runs is over, what waits is answered no.
func (g *Gate) Close() {
	g.splitter.flush(g.cfg.ToClient)
	g.mu.Lock()
	g.closed = true
	if g.cancel != nil {
		g.cancel()
	}
	g.room.Broadcast()
	g.mu.Unlock()
	g.deciding.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end(-1, "")
}

// mark takes one mark of the start file.
func (g *Gate) mark(kind byte, value []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch kind {
	case markAlias:
		name, text, _ := strings.Cut(string(value), "=")
		g.aliases[name] = text
	case markFunction:
		for name := range strings.Lines(string(value)) {
			g.functions[strings.TrimSuffix(name, "\n")] = true
		}
	case markLine:
		g.ask(string(value))
	case markAhead:
		g.goOn(value)
	case markStart:
		g.start()
	case markPrompt:
		status, cwd, _ := strings.Cut(string(value), " ")
		code, err := strconv.Atoi(status)
		if err != nil {
			code = -1
		}
		g.prompt(code, cwd)
	case markSkipped:
		g.cfg.Skipped(string(value))
		g.say += fmt.Sprintf("not run, because it was not asked about: %s\n", value)
	}
	return g.failed
}

// ask has a line decided.
func (g *Gate) ask(text string) {
	line := Line{Text: g.before + text, Dir: g.dir, Aliases: g.aliases, Functions: g.functions}
	g.aliases, g.functions = map[string]string{}, map[string]bool{}
	g.stopHolding()
	if g.state == asking || g.closed {
		return // somebody made that up: the answer under way is the only one
	}
	g.state = asking
	switch {
	case strings.TrimSpace(line.Text) == "":
		g.answer('c', "")
		return
	case g.cfg.Incomplete(line.Text):
		g.answer('c', line.Text+"\n")
		return
	}
	ctx, cancel := context.WithCancel(g.ctx)
	g.cancel = cancel
	g.deciding.Go(func() {
		defer cancel()
		command, err := g.cfg.Decide(ctx, line)
		g.decided(command, err)
	})
}

func (g *Gate) decided(command Running, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel = nil
	if err != nil {
		g.say += err.Error()
		g.interrupt = g.before != ""
		g.answer('n', "")
		return
	}
	g.end(-1, "")
	g.command = command
	g.answer('y', "")
}

// answer tells the shell: y runs the line, c takes it without running anything that was not asked about, n drops it.
func (g *Gate) answer(verdict byte, before string) {
	g.before = before
	g.state = answered
	g.write([]byte(g.cfg.Token + string(verdict) + "\x06"))
}

// goOn types again what was typed while the shell waited for its answer, and what was kept back meanwhile.
func (g *Gate) goOn(ahead []byte) {
	if g.state != answered {
		return
	}
	if g.interrupt {
		g.interrupt = false
		g.write([]byte{0x03})
	}
	g.held = append(ahead, g.held...)
	if g.command != nil {
		g.state = launching
		g.hold = time.AfterFunc(holdFor, g.overdue)
		return
	}
	g.state = prompting
	g.release()
}

// start is a command that begins to run.
func (g *Gate) start() {
	if g.state == launching {
		g.stopHolding()
		g.state = running
		g.release()
	}
}

// prompt is a fresh prompt: what ran has ended.
func (g *Gate) prompt(status int, cwd string) {
	if g.state == asking {
		return // somebody made that up: the shell is waiting
	}
	g.end(status, cwd)
	g.dir, g.before = cwd, ""
	if g.say != "" {
		g.cfg.Notify(g.say)
		g.say = ""
	}
	g.stopHolding()
	g.state = prompting
	g.release()
}

func (g *Gate) end(status int, cwd string) {
	if g.command != nil {
		g.command.Ended(status, cwd)
		g.command = nil
	}
}

// FromClient takes a piece of what the person types. It waits while too much is kept back.
func (g *Gate) FromClient(data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.held) > maxHeld && !g.closed && g.failed == nil {
		g.room.Wait()
	}
	if g.closed {
		return errors.New("the shell has ended")
	}
	if g.state == asking && g.cancel != nil {
		if i := strings.IndexByte(string(data), 0x03); i >= 0 {
			// Ctrl-C: nobody waits for the answer any more. What was typed before it goes the same way.
			g.cancel()
			g.held, data = nil, data[i+1:]
		}
	}
	g.held = append(g.held, data...)
	g.release()
	return g.failed
}

// release types what is held, as far as the gate's state lets it: at a prompt up to the next Enter.
func (g *Gate) release() {
	switch g.state {
	case starting, running:
		g.write(g.held)
		g.held = nil
	case prompting:
		n := g.toEnter(g.held)
		if n == 0 {
			return
		}
		g.write(g.held[:n])
		enter := isEnter(g.held[n-1]) && !g.paste
		g.held = g.held[n:]
		if enter {
			g.state = entered
			g.hold = time.AfterFunc(holdFor, g.overdue)
		}
	}
	g.room.Broadcast()
}

// overdue lets input flow again when the shell did not ask, or did not say that the command begins.
func (g *Gate) overdue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.state {
	case entered:
		g.state = prompting
	case launching:
		g.state = running
	}
	g.release()
}

func (g *Gate) stopHolding() {
	if g.hold != nil {
		g.hold.Stop()
		g.hold = nil
	}
}

// toEnter counts the bytes up to and with the first Enter outside a bracketed paste, or all of them.
func (g *Gate) toEnter(data []byte) int {
	for i, b := range data {
		g.tail = append(g.tail, b)
		if len(g.tail) > len(pasteBegins) {
			g.tail = g.tail[1:]
		}
		switch string(g.tail) {
		case pasteBegins:
			g.paste = true
		case pasteEnds:
			g.paste = false
		}
		if isEnter(b) && !g.paste {
			return i + 1
		}
	}
	return len(data)
}

// What a terminal puts around a paste.
const (
	pasteBegins = "\x1b[200~"
	pasteEnds   = "\x1b[201~"
)

// isEnter says whether a key accepts a line: CR, LF, and Ctrl-O of readline.
func isEnter(b byte) bool { return b == '\r' || b == '\n' || b == 0x0f }

func (g *Gate) write(data []byte) {
	if len(data) == 0 || g.failed != nil {
		return
	}
	g.failed = g.cfg.ToTarget(data)
}
