package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// tables are the YAML files as Rego reads them, held in one read transaction for good: nothing ever writes.
type tables struct {
	store storage.Store
	txn   storage.Transaction
}

func newTables(data map[string]any) (*tables, error) {
	store := inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
	txn, err := store.NewTransaction(context.Background())
	if err != nil {
		return nil, fmt.Errorf("opening the policy's tables: %w", err)
	}
	return &tables{store: store, txn: txn}, nil
}

// program is the compiled query to one package of rules, and how to run it. It is safe for concurrent use.
type program struct {
	name     string // of the package below sekisho
	compiler *ast.Compiler
	query    ast.Body
	tables   *tables
	reads    fields // what its rules read of the input
	number   byte   // of no other program of the revision
}

const guardrailPackage = "guardrail"

// The variables that a program's query binds.
const (
	allowVar    = ast.Var("allow_answer")
	approvalVar = ast.Var("approval_answer")
	denyVar     = ast.Var("deny_answer")
)

// newProgram compiles the query that asks the guardrail, staff's rules or those of a vendor type.
func newProgram(c *ast.Compiler, tables *tables, name string) (*program, error) {
	p := &program{name: name, compiler: c, tables: tables}
	for _, answer := range answers {
		p.reads |= fieldsRead(c, c.GetRulesDynamicWithOpts(answerRef(name, answer), ast.RulesOptions{IncludeHiddenModules: true}))
	}
	body, err := ast.ParseBody(strings.Join(questions(c, name), "; "))
	if err != nil {
		return nil, fmt.Errorf("query of %s: %w", name, err)
	}
	if p.query, err = c.QueryCompiler().Compile(body); err != nil {
		return nil, joinSorted(regoErrors(err))
	}
	return p, nil
}

// questions asks a package for allow, approval and deny. A rule that nobody wrote binds nothing; one that may be undefined
// is asked inside a comprehension and binds an array of at most one answer, so that silence does not fail the query.
func questions(c *ast.Compiler, name string) []string {
	var query []string
	for answer, variable := range map[string]ast.Var{"allow": allowVar, "approval": approvalVar, "deny": denyVar} {
		ref := answerRef(name, answer)
		switch rules := c.GetRulesExact(ref); {
		case len(rules) == 0:
		case rules[0].Head.RuleKind() == ast.MultiValue:
			query = append(query, fmt.Sprintf("%s = %s", variable, ref))
		default:
			query = append(query, fmt.Sprintf("%s = [answer | answer = %s]", variable, ref))
		}
	}
	slices.Sort(query)
	return query
}

func hasRule(c *ast.Compiler, name, rule string) bool {
	return len(c.GetRulesExact(answerRef(name, rule))) > 0
}

// checkPackages makes sure that everybody who may be asked can answer.
func checkPackages(c *ast.Compiler) error {
	var errs []error
	for _, name := range append([]string{guardrailPackage, staffType}, VendorTypes...) {
		if !hasRule(c, name, "allow") {
			errs = append(errs, fmt.Errorf("%s.rego:1:1: package sekisho.%s needs a rule named allow", name, name))
		}
	}
	return errors.Join(errs...)
}

// run evaluates the query once, by itself.
func (p *program) run(ctx context.Context, input *ast.Term) (opinion, error) {
	return p.answer(newBudget(ctx), input)
}

// answer evaluates the query once. Strict errors: a builtin that fails stops the evaluation instead of a rule being undefined.
func (p *program) answer(b *budget, input *ast.Term) (opinion, error) {
	var said opinion
	results := 0
	b.next()
	err := topdown.NewQuery(p.query).
		WithCompiler(p.compiler).
		WithStore(p.tables.store).
		WithTransaction(p.tables.txn).
		WithInput(input).
		WithMetrics(metrics.NoOp()).
		WithStrictBuiltinErrors(true).
		WithCancel(b).
		Iter(b.ctx, func(answer topdown.QueryResult) error {
			results++
			if err := said.read(answer); err != nil {
				return fmt.Errorf("%s.%w", p.name, err)
			}
			return nil
		})
	if topdown.IsCancel(err) {
		return opinion{}, errTooLong
	}
	if err == nil && results != 1 {
		err = fmt.Errorf("%d results instead of one", results)
	}
	if err != nil {
		return opinion{}, err
	}
	return said, nil
}
