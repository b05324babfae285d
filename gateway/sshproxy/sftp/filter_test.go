package sftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// door stands in for the gateway's: it allows what does not end in "no" and counts what is not ended.
type door struct {
	mu   sync.Mutex
	asks []access.Operation
	open int
	max  int64 // bytes that one transfer may carry
}

func (d *door) authorize(_ context.Context, op access.Operation) (granted, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks = append(d.asks, op)
	if strings.HasSuffix(op.Path, "no") {
		return nil, &access.Refusal{}
	}
	d.open++
	return &pass{door: d}, nil
}

type pass struct {
	door *door
	once sync.Once
}

func (p *pass) MaxBytes() int64 { return p.door.max }

func (p *pass) End(recorder.Outcome, map[string]any) {
	p.once.Do(func() {
		p.door.mu.Lock()
		defer p.door.mu.Unlock()
		p.door.open--
	})
}

// newFilter is a filter between two writers.
func newFilter(ctx context.Context, d *door, client, target io.Writer) *Filter {
	f := New(ctx, Config{Record: func(recorder.Kind, []byte) error { return nil }, Explain: func(*access.Refusal) {},
		Client: client, Target: target, Bodies: Capped, OpenSSH: true})
	f.authorize = d.authorize
	return f
}

// target is a server whose links are real ones and whose REALPATH does nothing but tidy up. Names that begin with "link" lead
// to /else; home, else, d and x are folders; everything is there but what ends in "new".
type target struct {
	t     *testing.T
	seen  []request
	links map[string]string // made by requests; "" for a name that was taken away
}

func (s *target) answer(p frame) frame {
	q, err := parseRequest(p)
	if err != nil {
		s.t.Fatalf("the target was sent %x: %v", []byte(p), err)
	}
	s.seen = append(s.seen, q)
	switch q.kind {
	case typeRealpath:
		return packet(typeName, q.id).uint32(1).str(path.Join("/home", q.path)).str("").uint32(0).frame()
	case typeReadlink:
		return packet(typeName, q.id).uint32(1).str(s.link(q.path)).str("").uint32(0).frame()
	case typeOpen, typeOpendir:
		return packet(typeHandle, q.id).str("h" + q.path).frame()
	case typeLstat, typeStat:
		return s.lstat(q)
	case typeRead:
		return packet(typeData, q.id).str("text").frame()
	case typeRename:
		s.links[q.path] = ""
	case typeSymlink:
		s.links[q.to] = q.path
	}
	return status(q.id, statusOK, "")
}

func (s *target) link(p string) string {
	if to, made := s.links[p]; made {
		return to
	}
	if strings.HasPrefix(path.Base(p), "link") {
		return "/else"
	}
	return ""
}

func (s *target) lstat(q request) frame {
	mode := uint32(0o100644)
	switch to, made := s.links[q.path]; {
	case made && to == "" || !made && strings.HasSuffix(q.path, "new"):
		return status(q.id, statusNoSuchFile, "")
	case s.link(q.path) != "":
		mode = 0o120777
	case slices.Contains([]string{"home", "else", "d", "x"}, path.Base(q.path)):
		mode = 0o040755
	}
	return packet(typeAttrs, q.id).uint32(0x04).uint32(mode).frame()
}

// converse sends requests one after the other, each when the last was answered, and returns the answers.
func converse(t *testing.T, d *door, requests ...frame) (answers []frame, seen []request) {
	t.Helper()
	return talk(t, d, 1, requests...)
}

// talk sends requests, at most so many before their answers are read, and returns the answers in the order of the requests.
func talk(t *testing.T, d *door, ahead int, requests ...frame) (answers []frame, seen []request) {
	t.Helper()
	clientIn, clientOut := io.Pipe()
	targetIn, targetOut := io.Pipe()
	fromClient, toFilter := io.Pipe()
	fromTarget, answersTo := io.Pipe()
	f := newFilter(t.Context(), d, clientOut, targetOut)
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.FromClient(fromClient); err != nil {
			t.Error(err)
		}
		targetOut.Close()
	})
	running.Go(func() {
		if err := f.FromTarget(fromTarget); err != nil {
			t.Error(err)
		}
		clientOut.Close()
	})
	s := &target{t: t, links: map[string]string{}}
	running.Go(func() {
		defer answersTo.Close()
		buf := make([]byte, maxPacket)
		for {
			p, err := readFrame(targetIn, buf)
			if err != nil {
				return
			}
			if p.kind() == typeInit {
				answersTo.Write(frame{0, 0, 0, 5, typeVersion, 0, 0, 0, 3})
				continue
			}
			answersTo.Write(s.answer(p))
		}
	})
	buf := make([]byte, maxPacket)
	read := func() frame {
		p, err := readFrame(clientIn, buf)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(p)
	}
	toFilter.Write(frame{0, 0, 0, 5, typeInit, 0, 0, 0, 3})
	read()
	answers = make([]frame, len(requests))
	for begin := 0; begin < len(requests); begin += ahead {
		part := requests[begin:min(begin+ahead, len(requests))]
		go func() {
			for i, q := range part {
				q.setID(uint32(1000 + begin + i))
				toFilter.Write(q)
			}
		}()
		for range part {
			answer := read()
			i := int(answer.id()) - 1000
			if i < begin || i >= begin+len(part) || answers[i] != nil {
				t.Fatalf("an answer has the id %d", answer.id())
			}
			answers[i] = answer
		}
	}
	toFilter.Close()
	running.Wait()
	f.Close(recorder.Lost, "over")
	if d.open != 0 {
		t.Errorf("%d grants are still open", d.open)
	}
	return answers, s.seen
}

func name(kind byte, path string) frame { return packet(kind, 0).str(path).frame() }

func names(kind byte, from, to string) frame { return packet(kind, 0).str(from).str(to).frame() }

func extended(name string, fields ...string) frame {
	e := packet(typeExtended, 0).str(name)
	for _, field := range fields {
		e.str(field)
	}
	return e.frame()
}

func open(path string, flags uint32) frame {
	return packet(typeOpen, 0).str(path).uint32(flags).uint32(0).frame()
}

// TestTheDoorIsAskedAboutWhatThePathReallyIs: dots and links do not hide a file, and the target is sent the path that was
// decided.
func TestTheDoorIsAskedAboutWhatThePathReallyIs(t *testing.T) {
	for what, c := range map[string]struct {
		request  frame
		want     access.Operation
		fromSent string
	}{
		"a relative name":      {open("a", flagRead), access.Operation{Kind: "sftp.open", Path: "/home/a", Read: true}, "/home/a"},
		"dots":                 {open("/x/../y", flagWrite), access.Operation{Kind: "sftp.open", Path: "/y", Write: true}, "/y"},
		"through a link":       {name(typeOpendir, "link/b"), access.Operation{Kind: "sftp.list", Path: "/else/b"}, "/else/b"},
		"a link itself":        {name(typeRemove, "link"), access.Operation{Kind: "sftp.remove", Path: "/home/link"}, "/home/link"},
		"below a link":         {name(typeRemove, "link/c"), access.Operation{Kind: "sftp.remove", Path: "/else/c"}, "/else/c"},
		"a link's attributes":  {name(typeLstat, "link"), access.Operation{Kind: "sftp.stat", Path: "/home/link"}, "/home/link"},
		"what a link leads to": {name(typeStat, "link"), access.Operation{Kind: "sftp.stat", Path: "/else"}, "/else"},
		"a folder by dots":     {name(typeRmdir, "link/."), access.Operation{Kind: "sftp.rmdir", Path: "/else"}, "/else"},
		"a slash at the end":   {packet(typeMkdir, 0).str("d/").uint32(0).frame(), access.Operation{Kind: "sftp.mkdir", Path: "/home/d"}, "/home/d"},
		"two names": {names(typeRename, "link/a", "b"), access.Operation{Kind: "sftp.rename", Path: "/else/a", To: "/home/b"},
			"/else/a"},
		"a folder": {names(typeRename, "d", "b"), access.Operation{Kind: "sftp.rename", Path: "/home/d", To: "/home/b", Folder: true},
			"/home/d"},
		"two names, as POSIX does": {extended(extRename, "a", "link/b"),
			access.Operation{Kind: "sftp.rename", Path: "/home/a", To: "/else/b"}, "/home/a"},
		"another name for a file": {extended(extHardlink, "link", "b"),
			access.Operation{Kind: "sftp.hardlink", Path: "/home/link", To: "/home/b"}, "/home/link"},
		"making a link": {names(typeSymlink, "/etc/passwd", "link/b"),
			access.Operation{Kind: "sftp.symlink", Path: "/else/b", To: "/etc/passwd"}, "/etc/passwd"},
		"creating without writing": {open("a", flagRead|flagCreate), access.Operation{Kind: "sftp.open", Path: "/home/a", Read: true,
			Write: true}, "/home/a"},
	} {
		t.Run(what, func(t *testing.T) {
			d := &door{}
			_, seen := converse(t, d, c.request)
			if len(d.asks) != 1 || !reflect.DeepEqual(d.asks[0], c.want) {
				t.Errorf("the door was asked %+v, want %+v", d.asks, c.want)
			}
			if last := seen[len(seen)-1]; last.path != c.fromSent {
				t.Errorf("the target was sent %q, want %q", last.path, c.fromSent)
			}
		})
	}
}

// TestAPathIsLookedAtWhenItsTurnHasCome: whoever sends everything at once gains nothing from what the paths were before.
func TestAPathIsLookedAtWhenItsTurnHasCome(t *testing.T) {
	d := &door{}
	_, seen := talk(t, d, 10, names(typeRename, "d", "away"), names(typeSymlink, "/secret", "d"), open("d/file", flagWrite),
		names(typeSymlink, "/secret/made", "dangling"), open("dangling", flagWrite|flagCreate))
	for i, want := range map[int]string{2: "/secret/file", 4: "/secret/made"} {
		if len(d.asks) <= i || d.asks[i].Path != want {
			t.Fatalf("the door was asked %+v, want %s", d.asks, want)
		}
	}
	if last := seen[len(seen)-1]; last.path != "/secret/made" {
		t.Errorf("the target was sent %q", last.path)
	}
}

// TestAttributesStayTheirOwn while later packets use the memory they came in.
func TestAttributesStayTheirOwn(t *testing.T) {
	var requests []frame
	for i := range 200 {
		requests = append(requests, packet(typeMkdir, 0).str("new").uint32(0x04).uint32(uint32(i)).frame())
	}
	_, seen := talk(t, &door{}, len(requests), requests...)
	made := uint32(0)
	for _, q := range seen {
		if q.kind != typeMkdir {
			continue
		}
		if got := packet(0, 0).uint32(4).uint32(made).out[9:]; !bytes.Equal(q.attrs, got) {
			t.Fatalf("folder %d was made with %x", made, q.attrs)
		}
		made++
	}
	if made != 200 {
		t.Errorf("%d folders were made", made)
	}
}

// TestTenThousandRequestsAtOnce are all answered, each with its own id.
func TestTenThousandRequestsAtOnce(t *testing.T) {
	var requests []frame
	for range 10000 {
		requests = append(requests, name(typeLstat, "r"))
	}
	answers, _ := talk(t, &door{}, len(requests), requests...)
	for i, a := range answers {
		if a.kind() != typeAttrs {
			t.Fatalf("answer %d: %x", i, []byte(a))
		}
	}
}

// TestMaxBytesCountsBothWays: what goes beyond it is refused, and nothing of it is passed on.
func TestMaxBytesCountsBothWays(t *testing.T) {
	read := packet(typeRead, 0).str("h/home/r").uint32(0).uint32(0).uint32(10).frame()
	write := packet(typeWrite, 0).str("h/home/w").uint32(0).uint32(0).str("12345").frame()
	for what, c := range map[string]struct {
		max  int64
		want []uint32 // of two reads of 4 bytes and two writes of 5
	}{
		"without one": {0, []uint32{statusOK, statusOK, statusOK, statusOK}},
		"enough":      {18, []uint32{statusOK, statusOK, statusOK, statusOK}},
		"one short":   {17, []uint32{statusOK, statusOK, statusOK, statusFailure}},
		"reading":     {7, []uint32{statusOK, statusFailure, statusFailure, statusFailure}},
	} {
		d := &door{max: c.max}
		answers, seen := converse(t, d, open("r", flagRead), open("w", flagWrite), slices.Clone(read), slices.Clone(read),
			slices.Clone(write), slices.Clone(write))
		writes := 0
		for _, q := range seen {
			if q.kind == typeWrite {
				writes++
			}
		}
		wanted := 0
		for i, code := range c.want {
			if got := answers[2+i]; got.status() != code {
				t.Errorf("%s: answer %d has status %d, want %d", what, i, got.status(), code)
			}
			if i >= 2 && code == statusOK {
				wanted++
			}
		}
		if writes != wanted {
			t.Errorf("%s: the target was sent %d writes, want %d", what, writes, wanted)
		}
	}
}

// TestNothingRefusedReachesTheTarget: its answer is the filter's own.
func TestNothingRefusedReachesTheTarget(t *testing.T) {
	for what, q := range map[string]frame{
		"refused by the door":    open("no", flagRead),
		"an unknown extension":   extended("copy-data", "x"),
		"an extension of ours":   extended("copy-file@sekisho"),
		"a handle nobody gave":   name(typeClose, "h"),
		"reading from nothing":   packet(typeRead, 0).str("h").uint32(0).uint32(0).uint32(10).frame(),
		"a name with a NUL":      name(typeRemove, "a\x00b"),
		"a name that is no text": name(typeRemove, "\xff"),
		"a path of 64 KiB":       name(typeRemove, strings.Repeat("x", 64<<10)),
	} {
		t.Run(what, func(t *testing.T) {
			answers, seen := converse(t, &door{}, q)
			if answers[0].kind() != typeStatus || answers[0].status() == statusOK {
				t.Errorf("answered with %x", []byte(answers[0]))
			}
			for _, s := range seen {
				if s.kind != typeRealpath && s.kind != typeLstat {
					t.Errorf("the target was sent type %d", s.kind)
				}
			}
		})
	}
}

// TestAHandleDoesWhatItWasOpenedFor and nothing after it is closed.
func TestAHandleDoesWhatItWasOpenedFor(t *testing.T) {
	read := func(h string) frame { return packet(typeRead, 0).str(h).uint32(0).uint32(0).uint32(10).frame() }
	write := func(h string) frame { return packet(typeWrite, 0).str(h).uint32(0).uint32(0).str("x").frame() }
	answers, _ := converse(t, &door{}, open("r", flagRead), open("w", flagWrite), name(typeOpendir, "d"),
		read("h/home/r"), write("h/home/w"), write("h/home/r"), read("h/home/w"), read("h/home/d"), name(typeReaddir, "h/home/r"),
		packet(typeFsetstat, 0).str("h/home/r").uint32(0).frame(), name(typeClose, "h/home/r"), read("h/home/r"), name(typeClose, "h/home/r"))
	for i, want := range []struct {
		kind byte
		ok   bool
	}{{typeHandle, true}, {typeHandle, true}, {typeHandle, true}, {typeData, true}, {typeStatus, true}, {typeStatus, false},
		{typeStatus, false}, {typeStatus, false}, {typeStatus, false}, {typeStatus, false}, {typeStatus, true}, {typeStatus, false},
		{typeStatus, false}} {
		if got := answers[i]; got.kind() != want.kind || (got.status() == statusOK) != want.ok {
			t.Errorf("answer %d is of type %d, status %d", i, got.kind(), got.status())
		}
	}
}

// TestATargetThatMakesThingsUpEndsTheTransfer: what it says is not passed on.
func TestATargetThatMakesThingsUpEndsTheTransfer(t *testing.T) {
	greeting := string(frame{0, 0, 0, 5, typeVersion, 0, 0, 0, 3})
	for what, sent := range map[string]string{
		"no greeting":                     string(status(1, statusOK, "")),
		"another version":                 string(frame{0, 0, 0, 5, typeVersion, 0, 0, 0, 4}),
		"an answer that nobody asked for": greeting + string(status(7, statusOK, "")),
		"a packet of 1 GiB":               greeting + "\x40\x00\x00\x00",
		"a packet of nothing":             greeting + "\x00\x00\x00\x00",
	} {
		var shown bytes.Buffer
		f := newFilter(t.Context(), &door{}, &shown, io.Discard)
		if err := f.FromTarget(strings.NewReader(sent)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
		if shown.Len() > len(greeting) {
			t.Errorf("%s: the client was shown %x", what, shown.Bytes())
		}
	}
}

func TestOnlyKnownExtensionsAreAnnounced(t *testing.T) {
	var shown bytes.Buffer
	f := newFilter(t.Context(), &door{}, &shown, io.Discard)
	e := encoder{out: []byte{0, 0, 0, 0, typeVersion, 0, 0, 0, 3}}
	e.str(extRename).str("1").str("copy-data").str("1").str(extLimits).str("1")
	if err := f.FromTarget(bytes.NewReader(e.frame())); err != nil {
		t.Fatal(err)
	}
	if s := shown.String(); !strings.Contains(s, extRename) || !strings.Contains(s, extLimits) || strings.Contains(s, "copy-data") {
		t.Errorf("announced: %q", s)
	}
}

// FuzzFilter throws bytes at both sides: it never panics, always comes to an end and leaves no grant open.
func FuzzFilter(f *testing.F) {
	hello := []byte{0, 0, 0, 5, typeInit, 0, 0, 0, 3}
	version := []byte{0, 0, 0, 5, typeVersion, 0, 0, 0, 3}
	is := func(id, mode uint32) []byte { return packet(typeAttrs, id).uint32(0x04).uint32(mode).frame() }
	answers := append(bytes.Clone(version), packet(typeName, 1).uint32(1).str("/a").str("").uint32(0).frame()...)
	answers = append(append(answers, is(2, kindFolder)...), is(3, kindLink)...)
	answers = append(answers, packet(typeName, 4).uint32(1).str("/b").str("").uint32(0).frame()...)
	answers = append(append(answers, is(5, 0o100644)...), packet(typeHandle, 6).str("h").frame()...)
	f.Add(append(bytes.Clone(hello), open("l", flagRead)...), answers)
	f.Add(append(append(bytes.Clone(hello), open("/a", flagRead)...), packet(typeRead, 0).str("h").uint32(0).uint32(0).uint32(9).frame()...),
		append(append(bytes.Clone(version), is(1, 0o100644)...), append(packet(typeHandle, 2).str("h").frame(),
			packet(typeData, 3).str("text").frame()...)...))
	f.Add(append(bytes.Clone(hello), open("a", flagRead)...), answers)
	f.Add(append(bytes.Clone(hello), names(typeRename, "a", "b")...), answers)
	f.Add(append(bytes.Clone(hello), extended(extHardlink, "a", "b")...), version)
	f.Add(hello[:3], version[:6])
	f.Fuzz(func(t *testing.T, client, target []byte) {
		d := &door{}
		filter := newFilter(t.Context(), d, io.Discard, io.Discard)
		var running sync.WaitGroup
		running.Go(func() { filter.FromClient(bytes.NewReader(client)) })
		running.Go(func() { filter.FromTarget(bytes.NewReader(target)) })
		running.Wait()
		filter.Close(recorder.Lost, "over")
		if d.open != 0 {
			t.Errorf("%d grants are still open", d.open)
		}
	})
}
