package policy

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// Functions of Rego that make much out of little, or take long over it, are replaced for this process by ones that ask first
// what a call will make and refuse to go beyond an evaluation's budget.

// price is how many bytes a call will make, and over how many it will go.
type price func(operands []*ast.Term) (makes, reads int)

var prices = map[string]price{
	"concat":                   priceOfConcat,
	"internal.template_string": priceOfText,
	"split":                    priceOfSplit,
	"substring":                priceOfCopy,
	"lower":                    priceOfCopy,
	"upper":                    priceOfCopy,
	"trim":                     priceOfTrim,
	"trim_left":                priceOfTrim,
	"trim_right":               priceOfTrim,
	"trim_prefix":              priceOfCopy,
	"trim_suffix":              priceOfCopy,
	"trim_space":               priceOfCopy,
	"indexof":                  priceOfCopy,
	"contains":                 priceOfReading,
	"array.concat":             priceOfCopy,
	"array.slice":              priceOfCopy,
	"object.union":             priceOfCopy,
	"object.union_n":           priceOfCopy,
	"object.filter":            priceOfCopy,
	"object.remove":            priceOfCopy,
	"object.keys":              priceOfCopy,
	"object.subset":            priceOfProduct,
	"union":                    priceOfCopy,
	"intersection":             priceOfCopy,
	"and":                      priceOfCopy,
	"or":                       priceOfCopy,
	"set_diff":                 priceOfCopy,
	"sort":                     priceOfCopy,
	"sum":                      priceOfReading,
	"max":                      priceOfReading,
	"min":                      priceOfReading,
	"count":                    priceOfReading,
	"strings.any_prefix_match": priceOfProduct,
	"strings.any_suffix_match": priceOfProduct,
}

// arithmetic may make numbers longer with each call.
var arithmetic = []string{"plus", "minus", "mul", "div", "rem", "abs", "round", "ceil", "floor", "sum"}

func init() {
	for name, p := range prices {
		replace(name, priced(p, topdown.GetBuiltin(name)))
	}
	for _, name := range arithmetic {
		replace(name, short(topdown.GetBuiltin(name)))
	}
	replace("regex.match", regexMatch)
	replace("glob.match", globMatch)
}

// replace has a function of OPA's, and one that is told which evaluation calls it.
func replace(name string, f topdown.BuiltinFunc) {
	ast.BuiltinMap[name].CanSkipBctx = false
	topdown.RegisterBuiltinFunc(name, f)
}

// priced asks the budget before a call.
func priced(p price, f topdown.BuiltinFunc) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		makes, reads := p(operands)
		if err := pay(bctx, makes, reads); err != nil {
			return err
		}
		return f(bctx, operands, iter)
	}
}

func weightOfAll(operands []*ast.Term) int {
	weight := 0
	for _, o := range operands {
		if _, output := o.Value.(ast.Var); !output {
			weight += weightOf(o.Value, maxMade)
		}
	}
	return weight
}

func textOf(t *ast.Term) string {
	s, _ := t.Value.(ast.String)
	return string(s)
}

// priceOfCopy is that of a function whose result is no larger than its operands together.
func priceOfCopy(operands []*ast.Term) (makes, reads int) {
	weight := weightOfAll(operands)
	return weight, weight
}

func priceOfReading(operands []*ast.Term) (makes, reads int) { return 0, weightOfAll(operands) }

// priceOfProduct is that of a function that may go over one operand for each part of another.
func priceOfProduct(operands []*ast.Term) (makes, reads int) {
	reads = 1
	for _, o := range operands[:min(2, len(operands))] {
		reads = min(reads*(1+weightOf(o.Value, maxMade)/weightOfTerm), maxMade*bytesPerStep)
	}
	return 0, reads
}

// priceOfTrim looks each character up in the cut set.
func priceOfTrim(operands []*ast.Term) (makes, reads int) {
	text, cut := textOf(operands[0]), textOf(operands[1])
	return len(text), len(text) * min(len(cut)+1, 64<<10)
}

// priceOfConcat is the length of all texts with the separator between them.
func priceOfConcat(operands []*ast.Term) (makes, reads int) {
	between := len(textOf(operands[0]))
	add := func(t *ast.Term) bool {
		makes += between + len(textOf(t))
		return makes > maxMade
	}
	switch list := operands[1].Value.(type) {
	case *ast.Array:
		list.Until(add)
	case ast.Set:
		list.Until(add)
	}
	return makes, makes
}

// priceOfText is what a template writes: quoting can make six characters of one.
func priceOfText(operands []*ast.Term) (makes, reads int) {
	list, ok := operands[0].Value.(*ast.Array)
	if !ok {
		return 0, 0
	}
	list.Until(func(t *ast.Term) bool {
		switch value := t.Value.(type) {
		case ast.String:
			makes += len(value)
		case ast.Set:
			makes += weightOfText(value)
		default:
			makes += 6 * weightOf(value, maxMade)
		}
		return makes > maxMade
	})
	return makes, makes
}

// weightOfText is what the one element of a template's set takes when it is written.
func weightOfText(set ast.Set) (weight int) {
	set.Until(func(t *ast.Term) bool {
		if s, ok := t.Value.(ast.String); ok {
			weight += len(s)
		} else {
			weight += 6 * weightOf(t.Value, maxMade)
		}
		return weight > maxMade
	})
	return weight
}

func priceOfSplit(operands []*ast.Term) (makes, reads int) {
	text, by := textOf(operands[0]), textOf(operands[1])
	return (strings.Count(text, by) + 1) * (weightOfTerm + 16), len(text)
}

// Numbers are exact, so that a product is as long as both factors.
const (
	maxDigits   = 128
	maxExponent = 400
)

// short refuses numbers that could only come from making them longer again and again.
func short(f topdown.BuiltinFunc) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		for _, o := range operands {
			if n, ok := o.Value.(ast.Number); ok && !shortNumber(string(n)) {
				return topdown.Halt{Err: fmt.Errorf("%w: a number of more than %d digits", errTooBig, maxDigits)}
			}
		}
		return f(bctx, operands, iter)
	}
}

func shortNumber(n string) bool {
	if len(n) > maxDigits {
		return false
	}
	_, exponent, found := strings.Cut(strings.ToLower(n), "e")
	if !found {
		return true
	}
	size := 0
	if _, err := fmt.Sscan(exponent, &size); err != nil {
		return false
	}
	return -maxExponent <= size && size <= maxExponent
}

func regexMatch(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
	pattern, err := builtins.StringOperand(operands[0].Value, 1)
	if err != nil {
		return err
	}
	text, err := builtins.StringOperand(operands[1].Value, 2)
	if err != nil {
		return err
	}
	return matchExpression(bctx, string(pattern), string(text), iter)
}

func globMatch(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
	pattern, err := builtins.StringOperand(operands[0].Value, 1)
	if err != nil {
		return err
	}
	var delimiters []rune
	if _, none := operands[1].Value.(ast.Null); !none {
		if delimiters, err = builtins.RuneSliceOperand(operands[1].Value, 2); err != nil {
			return err
		}
		if len(delimiters) == 0 {
			delimiters = []rune{'.'}
		}
	}
	text, err := builtins.StringOperand(operands[2].Value, 3)
	if err != nil {
		return err
	}
	expression, err := globExpression(string(pattern), delimiters)
	if err != nil {
		return err
	}
	return matchExpression(bctx, expression, string(text), iter)
}

// matchExpression matches in time that grows with the product of the lengths of expression and text, and pays for it first.
func matchExpression(bctx topdown.BuiltinContext, expression, text string, iter func(*ast.Term) error) error {
	e, err := expressions.get(expression)
	if err != nil {
		return err
	}
	if err := pay(bctx, 0, (len(text)+1)*e.size*4); err != nil { // an instruction takes a few ns for each byte
		return err
	}
	return iter(ast.InternedTerm(e.MatchString(text)))
}

// Bounds on regular expressions.
const (
	maxExpression  = 4096 // bytes
	maxProgram     = 2000 // instructions, repetitions written out
	maxExpressions = 256  // kept compiled
)

// expression is a compiled regular expression and about how many instructions it has.
type expression struct {
	*regexp.Regexp
	size int
}

// expressionCache keeps expressions compiled.
type expressionCache struct {
	mu       sync.Mutex
	compiled map[string]*expression
}

var expressions = &expressionCache{compiled: map[string]*expression{}}

func (c *expressionCache) get(text string) (*expression, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.compiled[text]; e != nil {
		return e, nil
	}
	e, err := newExpression(text)
	if err != nil {
		return nil, err
	}
	if len(c.compiled) >= maxExpressions {
		clear(c.compiled)
	}
	c.compiled[text] = e
	return e, nil
}

func newExpression(text string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("a regular expression of more than %d bytes", maxExpression)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	size := sizeOf(parsed)
	if size > maxProgram {
		return nil, fmt.Errorf("the regular expression %.64q is too large: repetitions make it %d parts", text, size)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &expression{re, size}, nil
}

// sizeOf is about how many instructions an expression compiles to.
func sizeOf(re *syntax.Regexp) int {
	size := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		size += sizeOf(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, 1<<20)
}
