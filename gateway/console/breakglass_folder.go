package console

import (
	"context"
	"net/http"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
)

// FolderEmergencies is what the folder's owner sees of emergency access, from memory.
type FolderEmergencies struct {
	Open  []access.Emergency         `json:"open"`  // live or unreviewed
	Named []identity.EmergencyHolder `json:"named"` // by the policy in force
}

func (c *Console) folderEmergencies(w http.ResponseWriter, _ *http.Request, _ *visitor) error {
	return answer(w, http.StatusOK, FolderEmergencies{Open: c.cfg.Door.OpenEmergencies(),
		Named: c.cfg.Registry.EmergencyHolders(c.cfg.Engine.Revision().BreakGlass().People)})
}

// Emergencies tells of the running gateway's.
func (c *BootstrapClient) Emergencies(ctx context.Context) (FolderEmergencies, error) {
	var found FolderEmergencies
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://folder/emergencies", nil)
	if err != nil {
		return found, err
	}
	resp, err := answered(c.http, r)
	if err != nil {
		return found, err
	}
	return found, read(resp, &found)
}
