package policy

import (
	"context"
	"errors"
	"fmt"
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

// program is one compiled query and how to run it. It is safe for concurrent use.
type program struct {
	compiler *ast.Compiler
	query    ast.Body
	tables   *tables
	reads    fields // what its rules read of the input
	number   byte   // of no other program of the revision
}

// The variables that a program's query binds: what the guardrail says and, unless only it is asked, what the vendor type
// or staff says.
const (
	guardAllow, guardApproval, guardDeny = ast.Var("guard_allow"), ast.Var("guard_approval"), ast.Var("guard_deny")
	typeAllow, typeApproval, typeDeny    = ast.Var("type_allow"), ast.Var("type_approval"), ast.Var("type_deny")
)

const guardrailPackage = "guardrail"

// newProgram compiles the query that asks the guardrail or the package of a vendor type or, with both names, both.
func newProgram(c *ast.Compiler, tables *tables, names ...string) (*program, error) {
	p := &program{compiler: c, tables: tables}
	var query []string
	for _, name := range names {
		if name == guardrailPackage {
			query = append(query, questions(c, name, guardAllow, guardApproval, guardDeny)...)
		} else {
			query = append(query, questions(c, name, typeAllow, typeApproval, typeDeny)...)
		}
		for _, answer := range answers {
			p.reads |= fieldsRead(c, c.GetRulesDynamicWithOpts(answerRef(name, answer), ast.RulesOptions{IncludeHiddenModules: true}))
		}
	}
	body, err := ast.ParseBody(strings.Join(query, "; "))
	if err != nil {
		return nil, fmt.Errorf("query of %v: %w", names, err)
	}
	if p.query, err = c.QueryCompiler().Compile(body); err != nil {
		return nil, joinSorted(regoErrors(err))
	}
	return p, nil
}

// questions asks a package for allow, approval and deny. A rule that nobody wrote binds nothing; one that may be undefined
// is asked inside a comprehension and binds an array of at most one answer, so that silence does not fail the query.
func questions(c *ast.Compiler, name string, allow, approval, deny ast.Var) []string {
	var query []string
	for _, q := range []struct {
		variable ast.Var
		rule     string
	}{{allow, "allow"}, {approval, "approval"}, {deny, "deny"}} {
		ref := fmt.Sprintf("data.sekisho.%s.%s", name, q.rule)
		switch rules := c.GetRulesExact(ast.MustParseRef(ref)); {
		case len(rules) == 0:
		case rules[0].Head.RuleKind() == ast.MultiValue:
			query = append(query, fmt.Sprintf("%s = %s", q.variable, ref))
		default:
			query = append(query, fmt.Sprintf("%s = [answer | answer = %s]", q.variable, ref))
		}
	}
	return query
}

func hasRule(c *ast.Compiler, name, rule string) bool {
	return len(c.GetRulesExact(ast.MustParseRef(fmt.Sprintf("data.sekisho.%s.%s", name, rule)))) > 0
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

// run evaluates the query once.
func (p *program) run(ctx context.Context, input *ast.Term) (verdict, error) {
	return p.answer(newBudget(ctx), input)
}

// answer evaluates the query once. Strict errors: a builtin that fails stops the evaluation instead of a rule being undefined.
func (p *program) answer(b *budget, input *ast.Term) (verdict, error) {
	var v verdict
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
			return v.read(answer)
		})
	if topdown.IsCancel(err) {
		return verdict{}, errTooLong
	}
	if err == nil && results != 1 {
		err = fmt.Errorf("%d results instead of one", results)
	}
	if err != nil {
		return verdict{}, err
	}
	return v, nil
}
