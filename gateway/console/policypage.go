package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
)

// policyView is the policy in force, what may follow it and what came before.
type policyView struct {
	Current revision.Version
	Open    []revision.Version
	History []revision.Version
	Rights  []policy.Right
	Types   []policy.Shown // the row of each vendor type, whatever the vendor and the target

	Vendors, Targets []string
	Vendor, Target   string
	Shown            *policy.Shown // of Vendor on Target
}

func (c *Console) showPolicyPage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx := r.Context()
	if err := c.cfg.Door.Act(ctx, v.principal(), "gateway.policy.show", ""); err != nil {
		return err
	}
	live, dir := c.cfg.Policy, c.cfg.Directory.Current()
	data := policyView{Current: live.Current(), Open: live.Open(), History: live.History(), Rights: policy.Rights,
		Vendor: r.URL.Query().Get("vendor"), Target: r.URL.Query().Get("target")}
	for _, kind := range policy.VendorTypes {
		row, err := c.cfg.Engine.Revision().Show(ctx, policy.Vendor{Type: kind}, nil, policy.Target{})
		if err != nil {
			return err
		}
		data.Types = append(data.Types, row)
	}
	for _, vendor := range dir.Vendors() {
		data.Vendors = append(data.Vendors, vendor.ID)
	}
	for _, target := range dir.Targets() {
		data.Targets = append(data.Targets, target.Name)
	}
	if data.Vendor != "" && data.Target != "" {
		shown, err := c.showPolicy(ctx, data.Vendor, data.Target)
		if err != nil {
			return err
		}
		data.Shown = &shown
	}
	c.render(w, http.StatusOK, "policy", c.newPage(r, v, "policy.title", data))
	return nil
}

// revisionView is one revision with what it changed.
type revisionView struct {
	Version   revision.Version
	Diff      []policy.FileDiff
	Content   PolicyFiles
	MayAnswer bool // as the second person
	Waiting   bool
	Own       bool // may be taken back by its author

	MaySimulate bool
	Spans       []string
}

func (c *Console) showRevision(w http.ResponseWriter, r *http.Request, v *visitor) error {
	number, err := revisionNumber(r)
	if err != nil {
		return err
	}
	ctx, by := r.Context(), v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.policy.show", strconv.Itoa(number)); err != nil {
		return err
	}
	version, files, err := c.cfg.Policy.Get(ctx, number)
	if err != nil {
		return err
	}
	data := revisionView{Version: version, Content: policyFiles(files), Waiting: version.Status == revision.Waiting}
	if data.Diff, err = c.revisionDiff(ctx, version, files); err != nil {
		return err
	}
	open := data.Waiting || version.Status == revision.Scheduled
	data.Own = open && version.Author == v.person.ID
	data.MayAnswer = open && !data.Own && c.may(ctx, v, "gateway.policy.reject")
	data.MaySimulate, data.Spans = open && c.may(ctx, v, "gateway.policy.simulate"), simulationSpans
	c.render(w, http.StatusOK, "policyrevision", c.newPage(r, v, "policy.title", data))
	return nil
}

// revisionDiff compares a revision with the one it was made from; the first one with nothing.
func (c *Console) revisionDiff(ctx context.Context, version revision.Version, files revision.Files) ([]policy.FileDiff, error) {
	if version.Base == 0 {
		return nil, nil
	}
	_, before, err := c.cfg.Policy.Get(ctx, version.Base)
	if err != nil {
		return nil, err
	}
	return policy.DiffFiles(before.FS(), files.FS())
}

// answerRevision is what a second person, or its author, says to a revision that is not in force yet.
func (c *Console) answerRevision(w http.ResponseWriter, r *http.Request, v *visitor) error {
	number, err := revisionNumber(r)
	if err != nil {
		return err
	}
	act, reason := formValue(w, r, "answer"), strings.TrimSpace(r.PostFormValue("reason"))
	done, ok := map[string]string{"confirm": "confirmed", "reject": "rejected", "withdraw": "withdrawn"}[act]
	if !ok {
		return badRequest("answer: want confirm, reject or withdraw")
	}
	if act != "confirm" {
		if reason, err = wantReason(reason); err != nil {
			return err
		}
	}
	ctx, by := r.Context(), v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.policy."+act, fmt.Sprintf("revision %d: %s", number, reason)); err != nil {
		return err
	}
	if err := c.actOnRevision(ctx, by, act, number, reason); err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprintf("/policy/%d?done=%s", number, done), http.StatusSeeOther)
	return nil
}

func (c *Console) actOnRevision(ctx context.Context, by identity.Principal, act string, number int, reason string) error {
	var err error
	switch act {
	case "confirm":
		_, err = c.cfg.Policy.Confirm(ctx, by, number)
	case "reject":
		_, err = c.cfg.Policy.Reject(ctx, by, number, reason)
	case "withdraw":
		_, err = c.cfg.Policy.Withdraw(ctx, by, number, reason)
	}
	return err
}

// diffLine is a line of a difference with its class of the style sheet.
type diffLine struct{ Class, Text string }

// Lines tells the lines of a unified diff apart.
func (p page) Lines(diff string) []diffLine {
	var lines []diffLine
	for text := range strings.SplitSeq(strings.TrimSuffix(diff, "\n"), "\n") {
		class := ""
		switch {
		case strings.HasPrefix(text, "+++"), strings.HasPrefix(text, "---"), strings.HasPrefix(text, "@@"):
			class = "where"
		case strings.HasPrefix(text, "+"):
			class = "plus"
		case strings.HasPrefix(text, "-"):
			class = "minus"
		}
		lines = append(lines, diffLine{class, text})
	}
	return lines
}
