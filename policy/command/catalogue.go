package command

import (
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// Catalogue says what programs do (commands.yaml).
type Catalogue struct {
	programs   map[string]*program
	adminPaths []*regexp.Regexp
}

// effect is what a program does to one of its words.
type effect string

const (
	nothing effect = "none"
	reads   effect = "read"
	writes  effect = "write"
	deletes effect = "delete"
	runs    effect = "execute" // the whole command needs execute
	admins  effect = "admin"   // the whole command needs admin
	hides   effect = "opaque"  // the line becomes opaque
	shows   effect = "show"    // the command after it is not run, only shown
	names   effect = "name"    // the word is a shell variable that gets a value
	numbers effect = "number"  // the word is evaluated: unless it is a number, the line becomes opaque
	moves   effect = "move"    // what follows happens in another folder
)

var effects = []effect{nothing, reads, writes, deletes, runs, admins, hides, shows, names, numbers, moves}

// kind is how a program's arguments are read.
type kind string

const (
	plain   kind = "plain"   // options and operands
	wrapper kind = "wrapper" // options, then a command
	shell   kind = "shell"   // -c SCRIPT
	find    kind = "find"    // an expression with actions
	xargs   kind = "xargs"   // options, then a command that gets more arguments
	sed     kind = "sed"     // a script of edits
	trap    kind = "trap"    // a handler, then signals
	test    kind = "test"    // a condition
	printf  kind = "printf"  // a format, then what it shows
	set     kind = "set"     // options of the shell
	rsync   kind = "rsync"   // either end of an rsync
	git     kind = "git"     // a command of git, or an end of a fetch or push
)

var kinds = []kind{plain, wrapper, shell, find, xargs, sed, trap, test, printf, set, rsync, git}

// program is one entry of the catalogue.
type program struct {
	kind     kind
	operands effect
	last     effect // of the last operand, "" when it is like the others
	skip     int    // so many operands at the front are no files
	unless   []string
	values   map[string]effect // options that take a value, by name with dashes
	flags    map[string]effect // options without a value that matter; plain effects apply to every operand
	also     effect            // what the command needs beside that
	strict   bool              // an option that is not listed makes the line opaque
	leading  bool              // options stand before the operands only
	assigns  bool              // NAME=VALUE may stand before the command
}

type catalogueSpec struct {
	Read       []policy.Located[string]               `yaml:"read"`
	Write      []policy.Located[string]               `yaml:"write"`
	Delete     []policy.Located[string]               `yaml:"delete"`
	Print      []policy.Located[string]               `yaml:"print"`
	Execute    []policy.Located[string]               `yaml:"execute"`
	Admin      []policy.Located[string]               `yaml:"admin"`
	Opaque     []policy.Located[string]               `yaml:"opaque"`
	Programs   map[string]policy.Located[programSpec] `yaml:"programs"`
	AdminPaths []policy.Located[string]               `yaml:"admin_paths"`
}

type programSpec struct {
	Kind     policy.Located[string]            `yaml:"kind"`
	Operands policy.Located[string]            `yaml:"operands"`
	Last     policy.Located[string]            `yaml:"last"`
	Skip     int                               `yaml:"skip"`
	Unless   []string                          `yaml:"unless"`
	Values   map[string]policy.Located[string] `yaml:"values"`
	Flags    map[string]policy.Located[string] `yaml:"flags"`
	Also     policy.Located[string]            `yaml:"also"`
	Strict   bool                              `yaml:"strict"`
	Leading  bool                              `yaml:"leading"`
	Assigns  bool                              `yaml:"assigns"`
}

// ParseCatalogue reads commands.yaml; name stands in its errors, which begin with name:line:column.
func ParseCatalogue(name string, yaml []byte) (*Catalogue, error) {
	var spec catalogueSpec
	if err := policy.DecodeYAML(name, yaml, &spec); err != nil {
		return nil, err
	}
	p := &parser{name: name, c: &Catalogue{programs: map[string]*program{}}}
	p.groups(spec)
	for _, program := range slices.Sorted(maps.Keys(spec.Programs)) {
		p.program(program, spec.Programs[program])
	}
	for _, pattern := range spec.AdminPaths {
		p.adminPath(pattern)
	}
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return p.c, nil
}

// parser builds a catalogue and collects its mistakes.
type parser struct {
	name string
	c    *Catalogue
	errs []error
}

func (p *parser) fail(err error) { p.errs = append(p.errs, err) }

func (p *parser) groups(spec catalogueSpec) {
	for _, g := range []struct {
		names []policy.Located[string]
		does  program
	}{
		{spec.Read, program{kind: plain, operands: reads}},
		{spec.Write, program{kind: plain, operands: writes}},
		{spec.Delete, program{kind: plain, operands: deletes}},
		{spec.Print, program{kind: plain, operands: nothing}},
		{spec.Execute, program{kind: plain, operands: nothing, also: runs}},
		{spec.Admin, program{kind: plain, operands: nothing, also: admins}},
		{spec.Opaque, program{kind: plain, operands: nothing, also: hides}},
	} {
		for _, name := range g.names {
			p.add(name, name.Value, g.does)
		}
	}
}

func (p *parser) add(at policy.Located[string], name string, does program) {
	if name == "" || strings.ContainsAny(name, " \t\n*?$'\"\\") {
		p.fail(at.Errorf(p.name, "program %q: want the name as it is typed, or its absolute path", name))
		return
	}
	if p.c.programs[name] != nil {
		p.fail(at.Errorf(p.name, "program %s is there twice", name))
		return
	}
	p.c.programs[name] = &does
}

func (p *parser) program(name string, spec policy.Located[programSpec]) {
	s := spec.Value
	entry := program{
		kind:     oneOf(p, s.Kind, plain, kinds),
		operands: oneOf(p, s.Operands, nothing, effects),
		last:     oneOf(p, s.Last, "", effects),
		skip:     s.Skip,
		unless:   s.Unless,
		values:   p.options(s.Values),
		flags:    p.options(s.Flags),
		also:     oneOf(p, s.Also, "", effects),
		strict:   s.Strict || does(s.Kind, wrapper, xargs),
		leading:  s.Leading || does(s.Kind, wrapper, xargs),
		assigns:  s.Assigns,
	}
	if entry.skip < 0 {
		p.fail(spec.Errorf(p.name, "program %s: skip is below 0", name))
	}
	p.add(policy.Located[string]{Line: spec.Line, Column: spec.Column}, name, entry)
}

func does(given policy.Located[string], list ...kind) bool {
	return slices.Contains(list, kind(given.Value))
}

func (p *parser) options(specs map[string]policy.Located[string]) map[string]effect {
	options := map[string]effect{}
	for _, option := range slices.Sorted(maps.Keys(specs)) {
		at := specs[option]
		if len(option) < 2 || option[0] != '-' && option[0] != '+' {
			p.fail(at.Errorf(p.name, "option %q: want it with its dash, like -o or --output", option))
		}
		options[option] = oneOf(p, at, nothing, effects)
	}
	return options
}

// oneOf reads a word from a closed list; what is not there is the default.
func oneOf[T ~string](p *parser, at policy.Located[string], unset T, list []T) T {
	if !at.Set() {
		return unset
	}
	if value := T(at.Value); slices.Contains(list, value) {
		return value
	}
	p.fail(at.Errorf(p.name, "%q: want one of %v", at.Value, list))
	return unset
}

// adminPath takes an absolute path in which * is anything but a slash and a trailing /** everything below.
func (p *parser) adminPath(at policy.Located[string]) {
	if !strings.HasPrefix(at.Value, "/") || path.Clean(at.Value) != at.Value {
		p.fail(at.Errorf(p.name, "path %q: want an absolute path", at.Value))
		return
	}
	re := strings.NewReplacer(`/\*\*`, `(?:/.*)?`, `\*`, `[^/]*`).Replace(regexp.QuoteMeta(at.Value))
	p.c.adminPaths = append(p.c.adminPaths, regexp.MustCompile(`^`+re+`$`))
}

// adminPath says whether a file holds accounts or rights of the target itself.
func (c *Catalogue) adminPath(resource string) bool {
	clean := path.Clean(resource)
	return slices.ContainsFunc(c.adminPaths, func(re *regexp.Regexp) bool { return re.MatchString(clean) })
}

// systemFolders are where a program is the one that its name says.
var systemFolders = []string{"/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/", "/usr/local/bin/", "/usr/local/sbin/"}

// lookup finds a program as typed: by its whole path, or by its name alone when it stands in a system folder.
func (c *Catalogue) lookup(typed string) *program {
	if p := c.programs[typed]; p != nil {
		return p
	}
	for _, folder := range systemFolders {
		if name, ok := strings.CutPrefix(typed, folder); ok && !strings.Contains(name, "/") {
			return c.programs[name]
		}
	}
	return nil
}
