// Package shell puts a gate into an interactive shell on the target. A start file of the gateway's own has the shell report
// each line when Enter is pressed and wait for an answer before it runs; the gate takes these reports out of the terminal's
// output, has each line decided and answers. What reaches the shell's executor without having been asked about is stopped
// there and reported.
//
// It is a guard rail (label parsed). What runs inside a program is not asked about. Somebody whose lines may be opaque can
// leave it: a script that is sourced can take the hooks away and bind a key of its own; one that ignores SIGINT can keep a
// line from being stopped; `exec` of another shell ends it; whoever reads the shell's variables knows the token and can
// make marks up, which is noticed where their numbers or the screen do not agree. A shell that does not show a prompt the
// gateway knows is not typed into unless it may be used undecided. The recording is the evidence either way.
package shell

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxHeld bounds what is kept back while a line is decided, in bytes. A client that types more waits.
	maxHeld = 64 << 10

	// holdFor is how long input is kept back for the shell to ask after Enter, and to begin after an answer. An Enter within
	// a search or a pager asks nothing.
	holdFor = 100 * time.Millisecond

	// within is how long a program has to end once a line was typed into it, before that is put on record. Who types ahead
	// of a command that ends soon is asked about it afterwards.
	within = time.Second
)

// Line is what the shell is about to run.
type Line struct {
	Text      string            // history expanded; several lines when a command goes over several
	Dir       string            // the folder the shell is in, "" when it did not say
	Aliases   map[string]string // of the shell at this moment
	Functions map[string]bool   // those that words of the line may name
	Opaque    string            // why the shell itself says that the line cannot be told, "" when it does not
	Differs   bool              // the screen shows another line
}

// Running is a line that was allowed; it ends once, with its exit status, or -1 when the shell did not tell. Ended must not
// wait for anything.
type Running interface {
	Ended(status int)
}

// Happening is something about a shell that belongs on record.
type Happening uint8

// What happens.
const (
	Stopped   Happening = iota // a command was not asked about and did not run
	Within                     // input goes into what runs: it is on record, and not decided
	Back                       // prompts come again after that
	Disagrees                  // marks do not follow each other as the shell's do: somebody made some up
)

// Config is what a Gate is made of; every field is required.
type Config struct {
	Token string
	// Patience is how long the shell may take to show its first prompt before Ungated is asked.
	Patience time.Duration
	// Incomplete says whether the shell will ask for more before it runs anything.
	Incomplete func(text string) bool
	// Decide asks the door. It may take as long as an approval does; ctx ends when the person presses Ctrl-C. A refusal is
	// an error whose text the person is shown.
	Decide func(ctx context.Context, line Line) (Running, error)
	// Ungated asks whether a shell that shows no prompt of ours may be used undecided. An error ends the gate.
	Ungated func(ctx context.Context) error
	// Happened hears of what belongs on record; text is the command it is about, "" when none is known.
	Happened func(what Happening, text string)
	ToClient func(data []byte) error // shows output
	Notify   func(text string)       // shows the gateway's own words
	ToTarget func(data []byte) error // types
}

// Where a gate stands.
type state uint32

const (
	starting  state = iota // the shell has not shown a prompt yet: nothing is typed into it
	returning              // a prompt comes, but the line editor is not ready: the terminal would cut a long line short
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
	stands   atomic.Uint32 // state, for those who do not hold mu
	screen   screen

	// mu guards the fields below. It is held while writing to the target, so that bytes keep their order; plain output never
	// takes it, so that a target that does not read goes on being read.
	mu        sync.Mutex
	room      *sync.Cond
	state     state
	held      []byte
	paste     bool   // within a bracketed paste
	tail      []byte // the last bytes of input, in which a paste's brackets may be split
	hold      *time.Timer
	question  int                // counts questions; an answer is to the last one only
	cancel    context.CancelFunc // of the decision under way
	next      Line               // as far as the shell has told
	overlong  bool               // the line is too long to be told
	expanded  bool               // the screen shows it as it was before its history was expanded
	ahead     []byte             // pieces of what was typed ahead
	serial    int                // of the last mark
	before    string             // lines of a command that is not complete
	interrupt bool               // an answer of no has to leave a command that is not complete
	say       string             // at the next prompt
	command   Running
	text      string      // of command
	late      bool        // the first prompt is overdue
	asked     bool        // whether it may be used undecided
	into      *time.Timer // a line was typed into what runs
	away      bool        // and that is on record
	closed    bool
	failed    error
}

// New makes a gate whose decisions end with ctx.
func New(ctx context.Context, cfg Config) *Gate {
	g := &Gate{cfg: cfg, ctx: ctx, splitter: newSplitter(cfg.Token)}
	g.room = sync.NewCond(&g.mu)
	g.next.Aliases, g.next.Functions = map[string]string{}, map[string]bool{}
	g.hold = time.AfterFunc(cfg.Patience, g.overdue)
	return g
}

// FromTarget takes a piece of the terminal's output.
func (g *Gate) FromTarget(data []byte) error { return g.splitter.split(data, g.show, g.mark) }

func (g *Gate) show(data []byte) error {
	s := state(g.stands.Load())
	if s == returning || s == prompting || s == entered {
		g.screen.add(data)
	}
	err := g.cfg.ToClient(data)
	if s == returning {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.returned()
	}
	return err
}

// returned is the line editor having drawn its prompt, for which it prepares the terminal first.
func (g *Gate) returned() {
	if g.state == returning {
		g.stopHolding()
		g.enter(prompting)
		g.release()
	}
}

// Editing says whether what is typed now goes into the shell's line editor, which shows it.
func (g *Gate) Editing() bool { return state(g.stands.Load()) == prompting }

// Close ends the gate when the shell has ended: what runs is over, and nothing that waits gets an answer any more.
func (g *Gate) Close() {
	g.splitter.flush(g.cfg.ToClient)
	g.mu.Lock()
	g.closed = true
	g.stopHolding()
	g.comeBack()
	if g.cancel != nil {
		g.cancel()
	}
	g.room.Broadcast()
	g.mu.Unlock()
	g.deciding.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end(-1)
}

func (g *Gate) enter(s state) {
	g.state = s
	g.stands.Store(uint32(s))
}

// mark takes one mark of the start file.
func (g *Gate) mark(m mark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return g.failed
	}
	agrees := g.count(m.serial)
	text := string(m.text)
	switch m.kind {
	case markAliases:
		g.next.Aliases = map[string]string{}
	case markAlias:
		name, value, _ := strings.Cut(text, "=")
		g.next.Aliases[name] = value
	case markFunction:
		g.next.Functions[text] = true
	case markOpaque:
		g.next.Opaque = text
	case markExpanded:
		g.expanded = true
	case markDir:
		g.next.Dir = text
	case markTooLong:
		g.overlong = true
	case markLine:
		g.ask(g.before+text, text, agrees)
	case markWhole:
		g.before = ""
		g.ask(text, text, agrees)
	case markAheadOf:
		if len(g.ahead) < maxMark*8 {
			g.ahead = append(g.ahead, m.text...)
		}
	case markAhead:
		g.goOn(append(g.ahead, m.text...))
	case markStart:
		g.start()
	case markPrompt:
		status, cwd, _ := strings.Cut(text, " ")
		code, err := strconv.Atoi(status)
		if err != nil {
			code = -1
		}
		g.prompt(code, cwd)
	case markStopped:
		g.cfg.Happened(Stopped, text)
		g.say += "sekisho: not run, because it was not asked about: " + text + "\n"
	case markBroken:
		if text == string(markLine) || text == string(markWhole) {
			g.refuseUnread(unread)
		}
	}
	return g.failed
}

const (
	unread   = "sekisho: the line could not be read, because something else wrote to the terminal; enter it again\n"
	tooLong  = "sekisho: a line of more than 64 KiB cannot be decided; put it into a file\n"
	disagree = "sekisho: the line could not be read, because what the shell says does not agree with what it said before; enter it again\n"
)

// count notes a mark's number and says whether it is the one after the last.
func (g *Gate) count(serial int) (agrees bool) {
	if serial == 0 {
		return true
	}
	agrees = g.serial == 0 || serial == g.serial+1
	g.serial = serial
	if !agrees {
		g.cfg.Happened(Disagrees, g.text)
	}
	return agrees
}

// ask has a line decided; last is the part of it that the screen shows.
func (g *Gate) ask(text, last string, agrees bool) {
	line := g.next
	line.Text = text
	line.Differs = !g.expanded && !g.overlong && g.screen.differs(last)
	overlong := g.overlong
	g.next.Opaque, g.overlong, g.expanded, g.ahead = "", false, false, nil
	if g.state == asking {
		return // somebody made that up: the answer under way is the only one
	}
	g.stopHolding()
	if g.state == running || g.state == starting {
		g.comeBack()
	}
	g.enter(asking)
	g.question++
	switch {
	case overlong:
		g.say += tooLong
		g.refuse()
	case !agrees:
		g.say += disagree
		g.refuse()
	case strings.TrimSpace(text) == "":
		g.answer('c', "")
	case g.cfg.Incomplete(text):
		g.answer('c', text+"\n")
	default:
		g.next.Functions = map[string]bool{}
		ctx, cancel := context.WithCancel(g.ctx)
		g.cancel = cancel
		question := g.question
		g.deciding.Go(func() {
			defer cancel()
			command, err := g.cfg.Decide(ctx, line)
			g.decided(question, text, command, err)
		})
	}
}

// refuseUnread answers a question that could not be read.
func (g *Gate) refuseUnread(why string) {
	if g.state == asking {
		return
	}
	g.stopHolding()
	g.say += why
	g.enter(asking)
	g.question++
	g.refuse()
}

func (g *Gate) refuse() {
	g.interrupt = g.before != ""
	g.answer('n', "")
}

func (g *Gate) decided(question int, text string, command Running, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel = nil
	if g.closed || g.state != asking || question != g.question {
		if err == nil {
			command.Ended(-1) // nobody waits for it any more: it does not run
		}
		return
	}
	if err != nil {
		g.say += err.Error()
		g.refuse()
		return
	}
	g.end(-1)
	g.command, g.text = command, text
	g.answer('y', "")
}

// answer tells the shell: y runs the line, c takes it without running anything that was not asked about, n drops it.
func (g *Gate) answer(verdict byte, before string) {
	g.before = before
	if before == "" {
		g.next.Functions = map[string]bool{}
	}
	g.enter(answered)
	g.write([]byte(g.cfg.Token + string(verdict) + "\x06"))
}

// goOn types again what was typed while the shell waited for its answer, and what was kept back meanwhile.
func (g *Gate) goOn(ahead []byte) {
	g.ahead = nil
	if g.state != answered {
		return
	}
	if g.interrupt {
		g.interrupt = false
		g.write([]byte{0x03})
	}
	g.held = append(ahead, g.held...)
	if g.command != nil {
		g.enter(launching)
		g.hold = time.AfterFunc(holdFor, g.overdue)
		return
	}
	if g.before == "" { // a prompt follows
		g.enter(entered)
		g.hold = time.AfterFunc(holdFor, g.overdue)
		return
	}
	g.enter(prompting)
	g.release()
}

// start is a command that begins to run.
func (g *Gate) start() {
	if g.state == launching {
		g.stopHolding()
		g.enter(running)
		g.release()
	}
}

// prompt is a fresh prompt: what ran has ended. A question whose shell is back at its prompt was interrupted.
func (g *Gate) prompt(status int, cwd string) {
	if g.state == asking && g.cancel != nil {
		g.cancel()
	}
	g.question++
	g.end(status)
	g.comeBack()
	g.next.Dir, g.before = cwd, ""
	if g.say != "" {
		g.cfg.Notify(g.say)
		g.say = ""
	}
	g.stopHolding()
	g.screen.clear()
	g.enter(returning)
	g.hold = time.AfterFunc(holdFor, g.overdue)
}

func (g *Gate) end(status int) {
	if g.command != nil {
		g.command.Ended(status)
		g.command, g.text = nil, ""
	}
}

// typedInto notes that a line goes into what runs.
func (g *Gate) typedInto() {
	if g.into == nil && !g.away {
		g.into = time.AfterFunc(within, g.goAway)
	}
}

// goAway puts on record that what runs is typed into.
func (g *Gate) goAway() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.into != nil && g.state == running && !g.closed {
		g.away = true
		g.cfg.Happened(Within, g.text)
	}
	g.into = nil
}

// comeBack is over what goAway began.
func (g *Gate) comeBack() {
	if g.into != nil {
		g.into.Stop()
		g.into = nil
	}
	if g.away {
		g.away = false
		if !g.closed {
			g.cfg.Happened(Back, "")
		}
	}
}

// FromClient takes a piece of what the person types. It waits while too much is kept back.
func (g *Gate) FromClient(data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.held) > maxHeld && !g.closed && g.failed == nil {
		if g.state == asking && strings.IndexByte(string(data), 0x03) >= 0 {
			break
		}
		g.room.Wait()
	}
	if g.closed {
		return errors.New("the shell has ended")
	}
	if g.state == asking && g.cancel != nil {
		if i := strings.LastIndexByte(string(data), 0x03); i >= 0 {
			// Ctrl-C: nobody waits for the answer any more. What was typed before it goes the same way.
			g.cancel()
			g.held, data = nil, data[i+1:]
		}
	}
	g.held = append(g.held, data...)
	g.release()
	if g.state == starting && g.late {
		g.consult()
	}
	return g.failed
}

// release types what is held, as far as the gate's state lets it: at a prompt up to the next Enter.
func (g *Gate) release() {
	switch g.state {
	case running:
		if strings.ContainsAny(string(g.held), "\r\n") {
			g.typedInto()
		}
		g.write(g.held)
		g.held = nil
	case prompting:
		n := g.toEnter(g.held)
		if n == 0 {
			break
		}
		g.write(g.held[:n])
		enter := isEnter(g.held[n-1]) && !g.paste
		g.held = g.held[n:]
		if enter {
			g.enter(entered)
			g.hold = time.AfterFunc(holdFor, g.overdue)
		}
	}
	g.room.Broadcast()
}

// overdue lets input flow again when the shell did not ask, or did not say that the command begins; or finds that it has not
// shown a prompt.
func (g *Gate) overdue() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.state {
	case starting:
		g.late = true
		if len(g.held) > 0 {
			g.consult()
		}
		return
	case entered, returning:
		g.enter(prompting)
	case launching:
		g.enter(running)
	}
	g.release()
}

// consult asks, once, whether a shell without a gate may be used.
func (g *Gate) consult() {
	if g.asked || g.closed {
		return
	}
	g.asked = true
	g.deciding.Go(func() {
		err := g.cfg.Ungated(g.ctx)
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.state != starting {
			return // it has shown its prompt meanwhile
		}
		if err != nil {
			g.failed = err
			g.room.Broadcast()
			return
		}
		g.away = true
		g.enter(running)
		g.release()
	})
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
