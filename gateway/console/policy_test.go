package console_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/recorder"
)

// noReports is what is in force with a rule that refuses maintenance vendors their reports.
func noReports(t *testing.T, m *member) revision.Files {
	t.Helper()
	files := must(m.PolicyRevision(t.Context(), 0))(t).Folder()
	files["maintenance.rego"] = append(files["maintenance.rego"], "\ndeny contains \"No reports.\" if lib.runs(\"report\")\n"...)
	return files
}

func TestAnAdminChangesThePolicyThroughTheAPI(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	files := noReports(t, admin)
	plan := must(admin.PlanPolicy(t.Context(), files))(t)
	if plan.Base != 1 || plan.Number != 2 || len(plan.Diff) != 1 || plan.Problem != "" {
		t.Fatalf("planned %+v", plan)
	}
	change := revision.Change{Files: files, Base: plan.Base, Reason: "reports are for operators", Ticket: "CHG-1", Source: "folder x"}
	applied := must(admin.ApplyPolicy(t.Context(), change))(t)
	if applied.Number != 2 || applied.Status != revision.Active || applied.Author != "aya" || g.engine.Revision().Number() != 2 {
		t.Errorf("applied %+v", applied)
	}
	if _, err := admin.ApplyPolicy(t.Context(), change); true {
		wantProblem(t, err, http.StatusConflict, "from policy revision 1", "2 is in force")
	}
	back := must(admin.RollbackPolicy(t.Context(), 1, "they are needed", "CHG-2"))(t)
	if back.Number != 3 || back.RollbackOf != 1 {
		t.Errorf("rolled back %+v", back)
	}
	history := collect(t, admin.PolicyHistory(t.Context()))
	if len(history) != 3 || history[0].Number != 3 || history[2].Author != "@folder" {
		t.Errorf("history %+v", history)
	}
	status := must(admin.Policy(t.Context()))(t)
	if status.InForce.Number != 3 || len(status.Open) != 0 {
		t.Errorf("status %+v", status)
	}
	_, err := admin.ConfirmPolicy(t.Context(), 3)
	wantProblem(t, err, http.StatusForbidden, "other than its author")
}

func TestAScheduledRevisionIsWithdrawnOrRejectedThroughTheAPI(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	change := revision.Change{Files: noReports(t, admin), Base: 1, Reason: "tonight", Ticket: "CHG-1", ActivateAt: time.Now().Add(time.Hour)}
	made := must(admin.ApplyPolicy(t.Context(), change))(t)
	if made.Status != revision.Scheduled || made.ActivateAt.Unix() != change.ActivateAt.Unix() {
		t.Fatalf("made %+v", made)
	}
	if open := must(admin.Policy(t.Context()))(t).Open; len(open) != 1 {
		t.Errorf("%d revisions wait", len(open))
	}
	_, err := admin.RejectPolicy(t.Context(), made.Number, "mine")
	wantProblem(t, err, http.StatusForbidden)
	gone := must(admin.WithdrawPolicy(t.Context(), made.Number, "not tonight"))(t)
	if gone.Status != revision.Withdrawn {
		t.Errorf("withdrawn as %+v", gone)
	}
}

func TestThePolicyIsForThoseWhoMay(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	files := noReports(t, admin)
	investigator, approver, contractor := g.login("ken"), g.login("mika"), g.login("hanako")
	acts := map[string]func(ctx context.Context, m *member) error{
		"show":     func(ctx context.Context, m *member) error { _, err := m.Policy(ctx); return err },
		"revision": func(ctx context.Context, m *member) error { _, err := m.PolicyRevision(ctx, 1); return err },
		"matrix":   func(ctx context.Context, m *member) error { _, err := m.ShowPolicy(ctx, "acme", "db1"); return err },
		"history": func(ctx context.Context, m *member) error {
			for _, err := range m.PolicyHistory(ctx) {
				return err
			}
			return nil
		},
		"check": func(ctx context.Context, m *member) error { _, err := m.CheckPolicy(ctx, files); return err },
		"plan":  func(ctx context.Context, m *member) error { _, err := m.PlanPolicy(ctx, files); return err },
		"apply": func(ctx context.Context, m *member) error {
			_, err := m.ApplyPolicy(ctx, revision.Change{Files: files, Base: 1, Reason: "x", Ticket: "x"})
			return err
		},
		"confirm":  func(ctx context.Context, m *member) error { _, err := m.ConfirmPolicy(ctx, 1); return err },
		"reject":   func(ctx context.Context, m *member) error { _, err := m.RejectPolicy(ctx, 1, "x"); return err },
		"withdraw": func(ctx context.Context, m *member) error { _, err := m.WithdrawPolicy(ctx, 1, "x"); return err },
		"rollback": func(ctx context.Context, m *member) error { _, err := m.RollbackPolicy(ctx, 1, "x", "x"); return err },
		"simulate": func(ctx context.Context, m *member) error {
			_, err := m.SimulatePolicy(ctx, console.AskSimulation(files), nil)
			return err
		},
	}
	looks := []string{"show", "revision", "matrix", "history"}
	for name, act := range acts {
		for _, m := range []*member{investigator, approver, contractor} {
			err := act(t.Context(), m)
			if m == investigator && slices.Contains(looks, name) {
				if err != nil {
					t.Errorf("%s may not %s: %v", m.name, name, err)
				}
				continue
			}
			if problem := wantProblem(t, err, http.StatusForbidden); problem.Decision == "" {
				t.Errorf("%s by %s was refused without a decision: %v", name, m.name, problem)
			}
		}
	}
	if g.engine.Revision().Number() != 1 {
		t.Error("somebody changed the policy")
	}
}

func TestMistakesInAPolicyAreToldByTheirPlace(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	files := noReports(t, admin)
	files["operations.rego"] = []byte("package sekisho.operations\nallow if {")
	report := must(admin.CheckPolicy(t.Context(), files))(t)
	if report.Errors() == 0 || report.Findings[0].File != "operations.rego" || report.Findings[0].Line != 2 {
		t.Errorf("checked %+v", report)
	}
	_, err := admin.ApplyPolicy(t.Context(), revision.Change{Files: files, Base: 1, Reason: "x", Ticket: "x"})
	wantProblem(t, err, http.StatusUnprocessableEntity, "operations.rego:2:")
	_, err = admin.SimulatePolicy(t.Context(), console.AskSimulation(files), nil)
	wantProblem(t, err, http.StatusUnprocessableEntity, "operations.rego:2:")
	for _, vendor := range []string{"nobody", policy.StaffVendor} {
		_, err = admin.ShowPolicy(t.Context(), vendor, "db1")
		wantProblem(t, err, http.StatusNotFound)
	}
	_, err = admin.ShowPolicy(t.Context(), "acme", "db9")
	wantProblem(t, err, http.StatusNotFound)
	_, err = admin.ExplainDecision(t.Context(), "d-01ARZ3NDEKTSV4RRFFQ69G5FAV")
	wantProblem(t, err, http.StatusNotFound)
}

// raw sends a body of the test's own, as a page of the console does.
func (m *member) raw(method, path, body string) (int, string) {
	t := m.g.t
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), method, m.g.url(consoleHost)+path, strings.NewReader(body)))(t)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", m.g.url(consoleHost))
	resp := must(m.browser().Do(r))(t)
	defer resp.Body.Close()
	text := must(io.ReadAll(resp.Body))(t)
	return resp.StatusCode, string(text)
}

func TestBodiesAboutThePolicyAreStrictAndBounded(t *testing.T) {
	g := newGateway(t)
	admin := g.login("aya")
	huge := `{"files": {"a.rego": "` + string(bytes.Repeat([]byte("x"), 2*revision.MaxBytes+64<<10)) + `"}}`
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"too much":             {"POST", "/api/v1/policy/check", huge, http.StatusRequestEntityTooLarge},
		"an unknown key":       {"POST", "/api/v1/policy/plan", `{"files": {}, "force": true}`, http.StatusBadRequest},
		"an empty folder":      {"POST", "/api/v1/policy/plan", `{"files": {}}`, http.StatusBadRequest},
		"a path":               {"POST", "/api/v1/policy/plan", `{"files": {"../../etc/x.rego": "package x"}}`, http.StatusBadRequest},
		"a number that is not": {"POST", "/api/v1/policy/revisions/one/rollback", `{}`, http.StatusBadRequest},
		"a negative number":    {"GET", "/api/v1/policy/revisions/-1", ``, http.StatusBadRequest},
		"a number too far":     {"GET", "/api/v1/policy/revisions/99", ``, http.StatusNotFound},
		"an unknown act":       {"POST", "/api/v1/policy/revisions/1/erase", `{}`, http.StatusNotFound},
		"no reason":            {"POST", "/api/v1/policy/revisions/1/rollback", `{"ticket": "x"}`, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if got, text := admin.raw(c.method, c.path, c.body); got != c.want {
				t.Errorf("status %d, want %d: %.300s", got, c.want, text)
			}
		})
	}
}

func TestWhoMayDoNothingWithAPolicyIsRefusedBeforeItIsRead(t *testing.T) {
	g := newGateway(t)
	contractor := g.login("hanako")
	for _, verb := range []string{"check", "plan", "apply", "simulate"} {
		if got, text := contractor.raw("POST", "/api/v1/policy/"+verb, `{"files": {"a.rego": `); got != http.StatusForbidden {
			t.Errorf("%s: status %d: %s", verb, got, text)
		}
		if events := g.events("gateway.policy." + verb); len(events) != 1 || events[0].Outcome != recorder.Refused {
			t.Errorf("%s: on record is %+v", verb, events)
		}
	}
}

func TestASimulationNamesTheSessionsAndTellsItsProgress(t *testing.T) {
	g := newGateway(t)
	admin, hanako := g.login("aya"), g.login("hanako")
	s := hanako.visit()
	grant := must(s.Authorize(t.Context(), access.Operation{Kind: "ssh.exec", Command: "report --all"}))(t)
	grant.End(recorder.OK, nil)
	var lines []console.SimulationLine
	result := must(admin.SimulatePolicy(t.Context(), console.AskSimulation(noReports(t, admin)), func(l console.SimulationLine) { lines = append(lines, l) }))(t)
	if len(lines) == 0 || lines[0].Total == 0 {
		t.Errorf("progress %+v", lines)
	}
	if result.Changed != 1 || len(result.Changes) != 1 || fmt.Sprint(result.Changes[0].Sessions) != "["+s.ID()+"]" {
		t.Fatalf("simulated %+v", result)
	}
	why := must(admin.ExplainDecision(t.Context(), result.Changes[0].Example))(t)
	if why.Effect != policy.Allow || why.Input.Action.Command != "report --all" || why.Session != s.ID() || len(why.Explanation.Needs) == 0 {
		t.Errorf("explained %+v", why)
	}
}
