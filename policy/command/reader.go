package command

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/sekisho/sekisho/policy"
)

// reader walks one line and collects what it needs.
type reader struct {
	catalogue *Catalogue
	hash      string // of the whole line
	text      string // of the script being read: the line, or what a shell in it gets with -c
	depth     int
	needs     []policy.Need
	files     map[policy.Need]bool // the needs whose resource is a path
	moved     bool                 // the line changes its folder
	why       string               // not empty: the line is opaque
	programs  [][]string

	declared map[string]bool // functions that the script defines anywhere
	defined  map[string]bool // functions that are certainly defined by now
	maybe    int             // above 0: what is being read may not run, or not in this shell
	rewired  bool            // /dev/stdout may be another file than the line's output

	bound bool // what runs may get variables or arguments from the line
	fed   int  // above 0: what is being read gets input from the line

	substituted int // above 0: what is being read stands in a substitution
}

// opaque notes why the line cannot be told; the first reason stays.
func (r *reader) opaque(why string) {
	if r.why == "" {
		r.why = why
	}
}

// need adds a need unless it is there. Files that hold accounts need the admin right, too, when they are changed.
func (r *reader) need(right policy.Right, resource string) {
	n := policy.Need{Right: right, Resource: resource}
	for _, have := range r.needs {
		if have == n {
			return
		}
	}
	if len(r.needs) >= maxNeeds {
		r.opaque("too many files and commands")
		return
	}
	r.needs = append(r.needs, n)
	if (right == policy.Write || right == policy.Delete) && r.catalogue.adminPath(resource) {
		r.need(policy.Admin, resource)
	}
}

// file adds a need whose resource is a path.
func (r *reader) file(right policy.Right, resource string) {
	r.need(right, resource)
	r.files[policy.Need{Right: right, Resource: resource}] = true
}

// deeper guards a recursion: it returns false at the limit.
func (r *reader) deeper() bool {
	r.depth++
	if r.depth > maxDepth {
		r.opaque("deep nesting")
		return false
	}
	return true
}

// script reads a whole script: the line itself, or what a shell in it is given.
func (r *reader) script(text string) {
	defer func() { r.depth-- }()
	if !r.deeper() {
		return
	}
	file, why := parse(text)
	if file == nil {
		r.opaque(why)
		return
	}
	if control(text) {
		r.opaque("a control character")
	}
	if doubtfulComment(file, text) {
		r.opaque(anotherShell)
	}
	inner := *r
	inner.text, inner.declared, inner.defined, inner.maybe = text, declaredIn(file), map[string]bool{}, 0
	inner.rewired, inner.bound = r.rewired || rewires(file), r.bound || binds(file)
	inner.stmts(file.Stmts)
	r.needs, r.why, r.programs, r.moved = inner.needs, inner.why, inner.programs, inner.moved
}

// declaredIn lists the functions that a script defines.
func declaredIn(file *syntax.File) map[string]bool {
	names := map[string]bool{}
	for node := range syntax.Preorder(file) {
		if f, ok := node.(*syntax.FuncDecl); ok && f != nil && f.Name != nil {
			names[f.Name.Value] = true
		}
	}
	return names
}

func (r *reader) stmts(list []*syntax.Stmt) {
	for _, s := range list {
		r.stmt(s)
	}
}

// perhaps reads statements that may not run, or run in another shell.
func (r *reader) perhaps(lists ...[]*syntax.Stmt) {
	r.maybe++
	for _, list := range lists {
		r.stmts(list)
	}
	r.maybe--
}

func (r *reader) stmt(s *syntax.Stmt) {
	defer func() { r.depth-- }()
	if !r.deeper() || s == nil {
		return
	}
	if s.Coprocess || s.Disown {
		r.opaque("syntax of another shell")
	}
	if s.Background {
		r.maybe++
		defer func() { r.maybe-- }()
	}
	for _, redirect := range s.Redirs {
		if r.redirect(redirect); feeds(redirect) {
			r.fed++
			defer func() { r.fed-- }()
		}
	}
	if s.Cmd != nil {
		r.command(s.Cmd)
	}
}

func (r *reader) command(cmd syntax.Command) {
	switch cmd := cmd.(type) {
	case *syntax.CallExpr:
		r.call(cmd)
	case *syntax.Block:
		r.stmts(cmd.Stmts)
	case *syntax.Subshell:
		r.perhaps(cmd.Stmts)
	case *syntax.BinaryCmd:
		r.binary(cmd)
	case *syntax.IfClause:
		for clause := cmd; clause != nil; clause = clause.Else {
			r.perhaps(clause.Cond, clause.Then)
		}
	case *syntax.WhileClause:
		r.perhaps(cmd.Cond, cmd.Do)
	case *syntax.ForClause:
		r.loop(cmd)
	case *syntax.CaseClause:
		r.caseClause(cmd)
	case *syntax.FuncDecl:
		r.function(cmd)
	case *syntax.TimeClause:
		r.stmt(cmd.Stmt)
	case *syntax.CoprocClause:
		r.coprocess(cmd)
	case *syntax.DeclClause:
		r.declaration(cmd)
	case *syntax.TestClause:
		r.test(cmd.X)
		r.need(policy.Read, r.source(cmd))
	case *syntax.ArithmCmd:
		r.arithmetic(cmd.X)
		r.opaque(anotherShell) // ((1>2)) writes the file 2 in dash
	default:
		r.opaque("syntax that cannot be told")
	}
}

// binary reads a pipe or a list.
func (r *reader) binary(cmd *syntax.BinaryCmd) {
	r.perhaps([]*syntax.Stmt{cmd.X})
	if cmd.Op == syntax.Pipe || cmd.Op == syntax.PipeAll {
		r.fed++
		defer func() { r.fed-- }()
	}
	r.perhaps([]*syntax.Stmt{cmd.Y})
}

func (r *reader) loop(cmd *syntax.ForClause) {
	switch loop := cmd.Loop.(type) {
	case *syntax.WordIter:
		r.assigned(loop.Name.Value, unknown)
		for _, w := range loop.Items {
			r.word(w)
		}
	case *syntax.CStyleLoop:
		for _, x := range []syntax.ArithmExpr{loop.Init, loop.Cond, loop.Post} {
			r.arithmetic(x)
		}
	default:
		r.opaque("a loop that cannot be told")
	}
	r.perhaps(cmd.Do)
}

func (r *reader) caseClause(cmd *syntax.CaseClause) {
	r.word(cmd.Word)
	for _, item := range cmd.Items {
		for _, pattern := range item.Patterns {
			r.pattern(pattern)
		}
		r.perhaps(item.Stmts)
	}
}

// pattern reads a word that is matched and never becomes a file name.
func (r *reader) pattern(w *syntax.Word) {
	if w == nil {
		return
	}
	r.neighbours(w.Parts)
	for _, part := range w.Parts {
		glob, ok := part.(*syntax.ExtGlob)
		if !ok {
			r.word(&syntax.Word{Parts: []syntax.WordPart{part}})
		} else if strings.ContainsAny(glob.Pattern.Value, "$`<>") { // the parser leaves it as it stands
			r.opaque("an extended wildcard")
		}
	}
}

func (r *reader) function(cmd *syntax.FuncDecl) {
	if cmd.Name == nil {
		r.opaque("a function without a name")
		return
	}
	r.maybe++
	r.stmt(cmd.Body)
	r.maybe--
	if r.maybe == 0 {
		r.defined[cmd.Name.Value] = true
	}
}

func (r *reader) coprocess(cmd *syntax.CoprocClause) {
	if cmd.Name != nil {
		r.opaque("a named coprocess")
	}
	if call, ok := cmd.Stmt.Cmd.(*syntax.CallExpr); ok && len(call.Assigns) > 0 {
		r.opaque(anotherShell) // what the parser takes for assignments are arguments
	}
	r.perhaps([]*syntax.Stmt{cmd.Stmt})
}

// test reads [[ … ]].
func (r *reader) test(x syntax.TestExpr) {
	switch x := x.(type) {
	case *syntax.Word:
		r.pattern(x)
	case *syntax.ParenTest:
		r.opaque(anotherShell)
		r.test(x.X)
	case *syntax.UnaryTest:
		if x.Op == syntax.TsVarSet || x.Op == syntax.TsRefVar || x.Op == syntax.TsFdTerm && !r.number(x.X) {
			r.opaque("a test that may run code")
		}
		r.test(x.X)
	case *syntax.BinaryTest:
		r.conditionalInDash(x)
		r.test(x.X)
		r.test(x.Y)
		switch x.Op {
		case syntax.TsEql, syntax.TsNeq, syntax.TsLeq, syntax.TsGeq, syntax.TsLss, syntax.TsGtr:
			if !r.number(x.X) || !r.number(x.Y) {
				r.opaque("arithmetic on variables")
			}
		}
	default:
		r.opaque("a test that cannot be told")
	}
}

// number says that a word is digits and nothing else.
func (r *reader) number(node syntax.Node) bool {
	w, ok := node.(*syntax.Word)
	if !ok {
		return false
	}
	text := w.Lit()
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// arithmetic is harmless between numbers only: the value of a variable is evaluated as an expression in its turn and may run
// commands.
func (r *reader) arithmetic(x syntax.ArithmExpr) {
	switch x := x.(type) {
	case nil:
	case *syntax.Word:
		if !r.number(x) {
			r.opaque("arithmetic on variables")
		}
	case *syntax.BinaryArithm:
		r.arithmetic(x.X)
		r.arithmetic(x.Y)
	case *syntax.UnaryArithm:
		r.arithmetic(x.X)
	case *syntax.ParenArithm:
		r.arithmetic(x.X)
	default:
		r.opaque("arithmetic that cannot be told")
	}
}

// parameter reads ${…}: most forms only read a variable, some evaluate or assign.
func (r *reader) parameter(p *syntax.ParamExp) {
	if p.Param == nil || p.Flags != nil || p.Excl || p.Width || p.IsSet || p.NestedParam != nil || len(p.Modifiers) > 0 ||
		p.Names != 0 || p.Split != 0 || p.GlobSubst != 0 || p.RcExpand != 0 {
		r.opaque("an indirect variable")
		return
	}
	if p.Param.Value == "TERM" {
		// The contractor's ssh names it with every terminal, so one approved line would stand for many.
		r.opaque("a variable that the client sets")
	}
	if p.Index != nil && !r.element(p.Index) {
		r.opaque("arithmetic on variables")
	}
	if p.Slice != nil {
		r.arithmetic(p.Slice.Offset)
		r.arithmetic(p.Slice.Length)
	}
	if p.Repl != nil {
		r.pattern(p.Repl.Orig)
		r.pattern(p.Repl.With)
	}
	if p.Exp != nil {
		r.operator(p)
	}
}

// operator reads what follows the name in ${name:-word}: a word that takes the variable's place, or a pattern.
func (r *reader) operator(p *syntax.ParamExp) {
	switch p.Exp.Op {
	case syntax.OtherParamOps:
		r.opaque("a variable that is evaluated")
	case syntax.AssignUnset, syntax.AssignUnsetOrNull:
		r.assigned(p.Param.Value, unknown)
	case syntax.AlternateUnset, syntax.AlternateUnsetOrNull, syntax.DefaultUnset, syntax.DefaultUnsetOrNull,
		syntax.ErrorUnset, syntax.ErrorUnsetOrNull:
	default:
		r.pattern(p.Exp.Word)
		return
	}
	if p.Exp.Word == nil {
		return
	}
	for _, part := range p.Exp.Word.Parts {
		// The parser leaves *(e:rm x:) as it stands, zsh runs it.
		if lit, ok := part.(*syntax.Lit); ok && strings.Contains(lit.Value, "(") {
			r.opaque("an extended wildcard")
		}
	}
	r.word(p.Exp.Word)
}

// element says that an index is a number, @ or *.
func (r *reader) element(index syntax.ArithmExpr) bool {
	if w, ok := index.(*syntax.Word); ok && (w.Lit() == "@" || w.Lit() == "*") {
		return true
	}
	return r.number(index)
}
