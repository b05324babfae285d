package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowedBuiltins are the functions a policy may call. Nothing that reaches out (http.send, net.*, opa.runtime, rand, env,
// clocks); what is left and makes much out of little, or takes long, is bounded (builtin.go).
var allowedBuiltins = []string{
	"abs", "all", "and", "any", "array.concat", "array.slice", "assign", "ceil", "concat", "contains", "count", "div",
	"endswith", "eq", "equal", "floor", "glob.match", "gt", "gte", "indexof", "internal.member_2", "internal.member_3",
	"internal.print", "internal.template_string", "internal.test_case", "intersection", "is_array", "is_boolean", "is_null",
	"is_number", "is_object", "is_set", "is_string", "lower", "lt", "lte", "max", "min", "minus", "mul", "neq",
	"object.filter", "object.get", "object.keys", "object.remove", "object.subset", "object.union", "object.union_n", "or",
	"plus", "print", "regex.match", "rem", "round", "set_diff", "sort", "split", "startswith", "strings.any_prefix_match",
	"strings.any_suffix_match", "substring", "sum", "to_number", "trim", "trim_left", "trim_prefix", "trim_right",
	"trim_space", "trim_suffix", "type_name", "union", "upper",
}

// capabilities is what this version of OPA can do, cut down to builtins.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(allowedBuiltins, b.Name) })
	c.AllowNet = []string{}
	return c
}

// parseModules parses the folder's Rego files, by name.
func parseModules(files map[string][]byte) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	var errs []error
	total := 0
	for name, source := range files {
		if total += len(source); total > maxRego {
			return nil, fmt.Errorf("%s:1:1: the folder has more than %d bytes of Rego; move lists to %s", name, maxRego, matrixFile)
		}
		if err := checkSource(name, source); err != nil {
			errs = append(errs, err)
			continue
		}
		module, err := ast.ParseModuleWithOpts(name, string(source), ast.ParserOptions{
			RegoVersion: ast.RegoV1, Capabilities: capabilities(),
		})
		if err != nil {
			errs = append(errs, regoErrors(err)...)
			continue
		}
		if module == nil {
			errs = append(errs, fmt.Errorf("%s:1:1: the file is empty", name))
			continue
		}
		modules[name] = module
	}
	return modules, joinSorted(errs)
}

// newCompiler is strict: unused names, names the input does not have and functions outside builtins are errors. Values that
// rules make are weighed.
func newCompiler() *ast.Compiler {
	return ast.NewCompiler().
		WithStageAfterID(ast.StageCheckRecursion, ast.CompilerStageDefinition{Name: "CheckReach", Stage: checkReach}).
		WithStageAfterID(ast.StageCheckDeprecatedBuiltins, ast.CompilerStageDefinition{Name: "Weigh", Stage: weighAll}).
		WithCapabilities(capabilities()).
		WithSchemas(inputSchema()).
		WithStrict(true).
		WithDefaultRegoVersion(ast.RegoV1)
}

func compile(modules map[string]*ast.Module) (*ast.Compiler, error) {
	c := newCompiler()
	if c.Compile(modules); c.Failed() {
		return nil, joinSorted(regoErrors(c.Errors))
	}
	return c, nil
}

// regoErrors writes OPA's errors as file:line:column: message.
func regoErrors(err error) []error {
	var list ast.Errors
	if single := (*ast.Error)(nil); errors.As(err, &single) {
		list = ast.Errors{single}
	} else if !errors.As(err, &list) {
		return []error{err}
	}
	var errs []error
	for _, e := range list {
		errs = append(errs, regoError(e))
	}
	return errs
}

func regoError(e *ast.Error) error {
	message := e.Message
	if name, ok := strings.CutPrefix(message, "undefined function "); ok {
		message = fmt.Sprintf("%s is not a function that a policy may call", name)
	}
	if e.Location == nil {
		return errors.New(message)
	}
	return fmt.Errorf("%s:%d:%d: %s", e.Location.File, max(e.Location.Row, 1), max(e.Location.Col, 1), message)
}

func joinSorted(errs []error) error {
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
