package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
)

// bootstrapper stands for whoever owns the gateway's folder, in what is on record.
const bootstrapper = "@folder"

// FolderStatus is what the folder's owner may see through its socket.
type FolderStatus struct {
	ConsoleURL   string `json:"console_url"`
	EnrolURL     string `json:"enrol_url"`
	Bootstrapped bool   `json:"bootstrapped"` // somebody's enrolment is active; the socket invites no more
	Directory    int    `json:"directory"`    // version in force, 0 for none
	People       int    `json:"people"`
	Revision     int    `json:"revision"` // of the policy
}

// BootstrapHandler serves the folder's unix socket. Whoever can open it owns the gateway's files already, so it asks no
// credentials; and so it can do next to nothing: read the status, and let the very first admin in, with the directory that
// names them.
func (c *Console) BootstrapHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", c.stranger(c.folderStatus))
	mux.HandleFunc("GET /emergencies", c.stranger(c.folderEmergencies))
	mux.HandleFunc("POST /directory", c.stranger(c.folderApply))
	mux.HandleFunc("POST /invite", c.stranger(c.folderInvite))
	mux.HandleFunc("POST /release", c.stranger(c.folderRelease))
	mux.HandleFunc("/", c.stranger(func(http.ResponseWriter, *http.Request, *visitor) error { return errNoRoute }))
	return mux
}

func (c *Console) folderStatus(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	bootstrapped, err := c.bootstrapped(r.Context())
	if err != nil {
		return err
	}
	dir := c.cfg.Directory.Current()
	return answer(w, http.StatusOK, FolderStatus{ConsoleURL: c.cfg.BaseURL, EnrolURL: c.cfg.EnrolURL, Bootstrapped: bootstrapped,
		Directory: dir.Number(), People: len(dir.People()), Revision: c.cfg.Engine.Revision().Number()})
}

// folderApply puts a directory in force while nobody is in who could.
func (c *Console) folderApply(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		YAML   string `json:"yaml"`
		Reason string `json:"reason"`
	}
	if err := decode(w, r, directoryLimit, &body); err != nil {
		return err
	}
	if err := c.unattended(r.Context()); err != nil {
		return err
	}
	if _, _, err := c.cfg.Directory.Plan([]byte(body.YAML)); err != nil {
		return badDirectory(err)
	}
	plan, err := c.apply(r.Context(), v.principal(), bootstrapper, body.YAML, body.Reason, c.cfg.Directory.Current().Number())
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, plan)
}

func (c *Console) folderInvite(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Person string `json:"person"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	if err := c.firstAdmin(r.Context(), body.Person); err != nil {
		return err
	}
	invitation, err := c.invite(r.Context(), v.principal(), body.Person, bootstrapper)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, invitation)
}

func (c *Console) folderRelease(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Person string `json:"person"`
		Code   string `json:"code"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	if err := c.firstAdmin(r.Context(), body.Person); err != nil {
		return err
	}
	if err := c.release(r.Context(), v.principal(), body.Person, body.Code, bootstrapper); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// unattended refuses everything once somebody's enrolment is active.
func (c *Console) unattended(ctx context.Context) error {
	bootstrapped, err := c.bootstrapped(ctx)
	if err != nil {
		return err
	}
	if bootstrapped {
		return &Problem{Status: http.StatusForbidden, Title: "Refused",
			Detail: "The first admin is in; from now on the directory, invitations and releases are the work of people who are logged in."}
	}
	return nil
}

// firstAdmin refuses everybody but an admin of the directory, and those too once somebody is in.
func (c *Console) firstAdmin(ctx context.Context, person string) error {
	if err := c.unattended(ctx); err != nil {
		return err
	}
	listed, ok := c.cfg.Directory.Current().Person(person)
	if !ok {
		return fmt.Errorf("person %s: %w", person, access.ErrNotFound)
	}
	if !listed.Staff() || !slices.Contains(listed.Roles, directory.RoleAdmin) {
		return &Problem{Status: http.StatusForbidden, Title: "Refused",
			Detail: fmt.Sprintf("%s is not an admin of @staff; only the first admin comes in this way.", person)}
	}
	return nil
}

// bootstrapped tells whether anybody's enrolment is active. When the last one is revoked the socket invites again: without
// that, a company whose only admin lost the key would be locked out of its own gateway.
func (c *Console) bootstrapped(ctx context.Context) (bool, error) {
	all, err := c.cfg.Registry.Enrolments(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(all, func(e identity.Enrolment) bool { return e.State == identity.StateActive }), nil
}
