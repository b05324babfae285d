package console

import (
	"context"
	"net/http"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// DirectoryVersion is the directory in force; Number 0 means none was applied.
type DirectoryVersion struct {
	Number int       `json:"number"`
	YAML   string    `json:"yaml,omitempty"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// DirectoryPlan is what applying a document would change, or did. Base is the version it is compared with; Apply wants it
// back, so that nobody overwrites what they have not seen.
type DirectoryPlan struct {
	Base    int                `json:"base"`
	Number  int                `json:"number"` // the version it becomes
	Changes []directory.Change `json:"changes"`
}

func (c *Console) apiDirectory(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.directory.get", ""); err != nil {
		return err
	}
	now := c.cfg.Directory.Version()
	return answer(w, http.StatusOK, DirectoryVersion{Number: now.Number, YAML: string(now.YAML), By: now.By,
		Reason: now.Reason, At: now.At})
}

func (c *Console) apiPlan(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		YAML string `json:"yaml"`
	}
	if err := decode(w, r, directoryLimit, &body); err != nil {
		return err
	}
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.directory.plan", ""); err != nil {
		return err
	}
	planned, changes, err := c.cfg.Directory.Plan([]byte(body.YAML))
	if err != nil {
		return badDirectory(err)
	}
	return answer(w, http.StatusOK, DirectoryPlan{Base: planned.Number() - 1, Number: planned.Number(),
		Changes: append([]directory.Change{}, changes...)})
}

func (c *Console) apiApply(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		YAML   string `json:"yaml"`
		Reason string `json:"reason"`
		Base   int    `json:"base"`
	}
	if err := decode(w, r, directoryLimit, &body); err != nil {
		return err
	}
	reason, err := wantReason(body.Reason)
	if err != nil {
		return err
	}
	ctx, by := r.Context(), v.principal()
	if err := c.cfg.Door.Act(ctx, by, "gateway.directory.apply", reason); err != nil {
		return err
	}
	if _, _, err := c.cfg.Directory.Plan([]byte(body.YAML)); err != nil {
		return badDirectory(err)
	}
	plan, err := c.apply(ctx, by, v.person.ID, body.YAML, reason, body.Base)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, plan)
}

// apply puts a valid document in force and the change on record.
func (c *Console) apply(
	ctx context.Context, by identity.Principal, author, yaml, reason string, base int,
) (DirectoryPlan, error) {
	version, changes, err := c.cfg.Directory.Apply(ctx, []byte(yaml), author, reason, base)
	if err != nil {
		return DirectoryPlan{}, err
	}
	detail := map[string]any{"what": "directory", "number": version.Number, "author": author, "reason": reason, "diff": changes}
	if err := c.cfg.Door.Event(ctx, by, recorder.ClassConfig, "directory.applied", recorder.OK, detail); err != nil {
		return DirectoryPlan{}, err
	}
	return DirectoryPlan{Base: base, Number: version.Number, Changes: append([]directory.Change{}, changes...)}, nil
}

// badDirectory hands the errors of a document on, each with its file:line:column.
func badDirectory(err error) error {
	return &Problem{Status: http.StatusUnprocessableEntity, Title: "The directory is not valid", Detail: err.Error()}
}
