package console

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
)

// Vendor is a contractor company as staff see it.
type Vendor struct {
	ID        string          `json:"id"`
	Name      directory.Name  `json:"name"`
	Type      string          `json:"type"`
	Parent    string          `json:"parent,omitempty"`
	Chain     []string        `json:"chain"` // its own id, then its parents'
	Contract  policy.Contract `json:"contract"`
	Networks  []netip.Prefix  `json:"networks,omitempty"`
	Windows   []string        `json:"windows,omitempty"`
	Targets   []string        `json:"targets,omitempty"`
	Approvers []string        `json:"approvers,omitempty"`
	RiskLevel *int            `json:"risk_level,omitempty"`
	People    []string        `json:"people,omitempty"`
	CutOff    *access.CutOff  `json:"cut_off,omitempty"` // set while it is shut out, itself or by a parent
}

// vendors lists every vendor with its people and whether it is cut off.
func (c *Console) vendors(ctx context.Context, v *visitor) ([]Vendor, error) {
	cuts, err := c.cfg.Door.CutOffs(ctx, v.principal())
	if err != nil {
		return nil, err
	}
	cut := map[string]access.CutOff{}
	for _, c := range cuts {
		cut[c.Vendor] = c
	}
	dir := c.cfg.Directory.Current()
	people := map[string][]string{}
	for _, p := range dir.People() {
		people[p.Vendor] = append(people[p.Vendor], p.ID)
	}
	var list []Vendor
	for _, d := range dir.Vendors() {
		shown := Vendor{ID: d.ID, Name: d.Name, Type: d.Type, Parent: d.Parent, Contract: d.Contract, Networks: d.Networks,
			Windows: d.Windows, Targets: d.Targets, Approvers: d.Approvers, People: people[d.ID]}
		if d.Risk != nil {
			shown.RiskLevel = &d.Risk.Level
		}
		for _, link := range dir.Chain(d.ID) {
			shown.Chain = append(shown.Chain, link.ID)
			if by, ok := cut[link.ID]; ok && shown.CutOff == nil {
				shown.CutOff = &by
			}
		}
		list = append(list, shown)
	}
	return list, nil
}

func (c *Console) apiVendors(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.vendors(r.Context(), v)
	if err != nil {
		return err
	}
	return answerLines(c, w, each(list))
}

func (c *Console) apiVendor(w http.ResponseWriter, r *http.Request, v *visitor) error {
	list, err := c.vendors(r.Context(), v)
	if err != nil {
		return err
	}
	for _, vendor := range list {
		if vendor.ID == r.PathValue("id") {
			return answer(w, http.StatusOK, vendor)
		}
	}
	return fmt.Errorf("vendor %s: %w", r.PathValue("id"), access.ErrNotFound)
}

// Ended lists the sessions that an act ended.
type Ended struct {
	Sessions []string `json:"sessions"`
}

func (c *Console) apiCutOff(w http.ResponseWriter, r *http.Request, v *visitor) error {
	vendor, reason, err := c.withReason(w, r, "id")
	if err != nil {
		return err
	}
	sessions, err := c.cfg.Door.CutOff(r.Context(), v.principal(), vendor, reason)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, Ended{Sessions: append([]string{}, sessions...)})
}

func (c *Console) apiRestore(w http.ResponseWriter, r *http.Request, v *visitor) error {
	vendor, reason, err := c.withReason(w, r, "id")
	if err != nil {
		return err
	}
	if err := c.cfg.Door.Restore(r.Context(), v.principal(), vendor, reason); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
