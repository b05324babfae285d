package console

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/policy"
)

// Me is what somebody may know about themselves.
type Me struct {
	Person   string          `json:"person"`
	Name     directory.Name  `json:"name"`
	Vendor   string          `json:"vendor"`
	Roles    []string        `json:"roles,omitempty"`
	MFA      identity.MFA    `json:"mfa"`
	Expires  time.Time       `json:"expires"` // of the session
	Source   netip.Addr      `json:"source"`
	Targets  []Target        `json:"targets,omitempty"`
	Windows  []string        `json:"windows,omitempty"`
	Networks []netip.Prefix  `json:"networks,omitempty"`
	Contract policy.Contract `json:"contract,omitzero"`
	Keys     []SSHKey        `json:"ssh_keys,omitempty"`
	Pending  *PendingSSH     `json:"pending_ssh,omitempty"`
	SSH      SSHSetup        `json:"ssh"`
}

// Target is one that a contractor's vendor may reach, and how it stands right now.
type Target struct {
	Name    string          `json:"name"`
	Kind    string          `json:"kind"` // ssh | https | tcp
	Logins  []string        `json:"logins,omitempty"`
	URL     string          `json:"url,omitempty"` // of an app
	Open    bool            `json:"open"`
	Reasons []policy.Reason `json:"reasons,omitempty"`
	Rights  []Cell          `json:"rights,omitempty"` // the matrix, while it is open

	Lines []string `json:"-"` // ssh command lines
}

// Cell is one cell of the permission matrix as it applies to somebody.
type Cell struct {
	Right  policy.Right  `json:"right"`
	Effect policy.Effect `json:"effect"`
}

// Mark is the cell as the matrix writes it: ○ always, △ needs approval, × never.
func (c Cell) Mark() string {
	switch c.Effect {
	case policy.Allow:
		return "○"
	case policy.Approval:
		return "△"
	}
	return "×"
}

func (c *Console) me(ctx context.Context, v *visitor) (Me, error) {
	if err := c.cfg.Door.Act(ctx, v.principal(), "gateway.self.show", ""); err != nil {
		return Me{}, err
	}
	me := Me{Person: v.person.ID, Name: v.person.Name, Vendor: v.person.Vendor, Roles: v.person.Roles, MFA: v.web.MFA,
		Expires: v.web.Expires.UTC(), Source: v.source.Addr().Unmap(), SSH: c.sshSetup(v.person)}
	keys, err := c.cfg.Registry.SSHKeys(ctx, v.person.ID)
	if err != nil {
		return Me{}, err
	}
	for _, k := range keys {
		me.Keys = append(me.Keys, sshKey(k))
	}
	if pending, ok := c.cfg.Registry.PendingFor(v.person.ID); ok {
		view := pendingSSH(pending)
		me.Pending = &view
	}
	if v.person.Staff() {
		return me, nil
	}
	dir := c.cfg.Directory.Current()
	vendor, _ := dir.Vendor(v.person.Vendor)
	me.Windows, me.Networks, me.Contract = vendor.Windows, vendor.Networks, vendor.Contract
	for _, name := range vendor.Targets {
		if t, ok := dir.Target(name); ok {
			me.Targets = append(me.Targets, c.target(ctx, v, t))
		}
	}
	return me, nil
}

// target asks policy how a target stands for a visitor now.
func (c *Console) target(ctx context.Context, v *visitor, t directory.Target) Target {
	shown := Target{Name: t.Name, Kind: t.Kind()}
	protocol, connect, operate, login := "https", "http.connect", "http.request", ""
	switch shown.Kind {
	case "ssh":
		protocol, connect, operate = "ssh", "ssh.connect", "ssh.exec"
		shown.Logins = t.Logins
		if len(t.Logins) > 0 {
			login = t.Logins[0]
		}
		shown.Lines = c.sshLines(t)
	case "https":
		shown.URL = c.appURL(t.HTTPS.Host)
	}
	decision := c.look(ctx, v, t.Name, login, policy.Action{Protocol: protocol, Operation: connect})
	shown.Open, shown.Reasons = decision.Effect == policy.Allow, decision.Reasons
	if !shown.Open {
		return shown
	}
	for _, right := range policy.Rights {
		action := policy.Action{Protocol: protocol, Operation: operate, Needs: []policy.Need{{Right: right, Resource: "/"}}}
		shown.Rights = append(shown.Rights, Cell{Right: right, Effect: c.look(ctx, v, t.Name, login, action).Effect})
	}
	return shown
}

// sshLines are the command lines that reach a target, both ways of addressing it.
func (c *Console) sshLines(t directory.Target) []string {
	host, port := c.sshAddress()
	jump, option := host, ""
	if port != "" {
		jump, option = host+":"+port, "-p "+port+" "
	}
	var lines []string
	for _, login := range t.Logins {
		lines = append(lines, fmt.Sprintf("ssh -J %s %s@%s", jump, login, t.Name),
			fmt.Sprintf("ssh %s%s+%s@%s", option, login, t.Name, host))
	}
	return lines
}

func (c *Console) apiMe(w http.ResponseWriter, r *http.Request, v *visitor) error {
	me, err := c.me(r.Context(), v)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, me)
}

// showStart leads everybody to the page they most likely came for.
func (c *Console) showStart(w http.ResponseWriter, r *http.Request, v *visitor) error {
	first := "/targets"
	if items := c.nav(r.Context(), v, ""); len(items) > 0 {
		first = items[0].Path
	}
	http.Redirect(w, r, first, http.StatusSeeOther)
	return nil
}

// targetsView is a contractor's first page.
type targetsView struct {
	Me
	Vendor string
}

func (c *Console) showTargets(w http.ResponseWriter, r *http.Request, v *visitor) error {
	me, err := c.me(r.Context(), v)
	if err != nil {
		return err
	}
	vendor, _ := c.cfg.Directory.Current().Vendor(v.person.Vendor)
	p := c.newPage(r, v, "targets.title", targetsView{Me: me, Vendor: vendorName(vendor, v.lang)})
	p.Scripts = []string{"copy.js"}
	c.render(w, http.StatusOK, "targets", p)
	return nil
}

// vendorName is a vendor's name in a language, or its id.
func vendorName(v directory.Vendor, lang string) string {
	if name := v.Name.In(lang); name != "" {
		return name
	}
	return v.ID
}
