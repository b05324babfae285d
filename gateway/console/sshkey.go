package console

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/recorder"
)

// freshFor is how long a login's WebAuthn stands for acts that otherwise want a new one.
const freshFor = 15 * time.Minute

// SSHKey is an enrolled public key.
type SSHKey struct {
	Fingerprint string    `json:"fingerprint"` // SHA256:…
	PublicKey   string    `json:"public_key"`
	CreatedAt   time.Time `json:"created_at"`
}

// SSHCertificate is one that was issued.
type SSHCertificate struct {
	Certificate string    `json:"certificate"` // authorized_keys form, the content of a -cert.pub file
	Serial      uint64    `json:"serial"`
	Principal   string    `json:"principal"`
	Source      string    `json:"source"` // the only address it works from
	ValidBefore time.Time `json:"valid_before"`
}

func sshKey(k identity.SSHKey) SSHKey {
	return SSHKey{Fingerprint: k.Fingerprint, PublicKey: k.PublicKey, CreatedAt: k.CreatedAt.UTC()}
}

// freshMFA is the second factor of an act: the proof given with it, else that of a session so young that it counts.
func (c *Console) freshMFA(r *http.Request, v *visitor, proof Proof, what Confirmation) (identity.MFA, error) {
	if proof.Ceremony != "" {
		return c.finish(r.Context(), v, proof, what)
	}
	if !v.loggedIn || v.web.MFA.At.IsZero() || c.cfg.Now().Sub(v.web.MFA.At) > freshFor {
		return identity.MFA{}, identity.ErrStale
	}
	return v.web.MFA, nil
}

// apiAddSSHKey enrols a key: freely while the enrolment waits for its release, with a fresh confirmation afterwards.
func (c *Console) apiAddSSHKey(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Proof
		PublicKey string `json:"public_key"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	by := v.principal()
	if v.credential.State == identity.StateActive {
		mfa, err := c.freshMFA(r, v, body.Proof, Confirmation{Purpose: PurposeAddKey, PublicKey: body.PublicKey})
		if err != nil {
			return err
		}
		by = v.proved(mfa)
		if err := c.cfg.Door.Act(r.Context(), by, "gateway.self.add-key", ""); err != nil {
			return err
		}
	}
	key, err := c.cfg.Registry.AddSSHKey(r.Context(), v.credential, body.PublicKey)
	if err != nil {
		return err
	}
	attempt := access.Attempt{Kind: "credential.ssh-key", Outcome: recorder.OK, Principal: by, Method: "certificate",
		Detail: map[string]any{"fingerprint": key.Fingerprint}}
	if err := c.cfg.Door.Login(r.Context(), attempt); err != nil {
		return err
	}
	return answer(w, http.StatusCreated, sshKey(key))
}

func (c *Console) apiIssueSSH(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		Proof
		Fingerprint string `json:"fingerprint"`
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	ctx := r.Context()
	mfa, err := c.freshMFA(r, v, body.Proof, Confirmation{Purpose: PurposeCertificate, Fingerprint: body.Fingerprint})
	if err != nil {
		return err
	}
	by := v.proved(mfa)
	if err := c.cfg.Door.Act(ctx, by, "gateway.self.issue-certificate", body.Fingerprint); err != nil {
		return err
	}
	cert, err := c.cfg.Registry.IssueSSH(ctx, v.credential, body.Fingerprint, mfa, v.source.Addr())
	if err != nil {
		return err
	}
	issued := SSHCertificate{Certificate: string(ssh.MarshalAuthorizedKey(cert)), Serial: cert.Serial,
		Principal: strings.Join(cert.ValidPrincipals, ","), Source: cert.CriticalOptions["source-address"],
		ValidBefore: time.Unix(int64(cert.ValidBefore), 0).UTC()}
	attempt := access.Attempt{Kind: "credential.ssh-certificate", Outcome: recorder.OK, Principal: by, Method: loginMethod,
		Detail: map[string]any{"fingerprint": body.Fingerprint, "serial": fmt.Sprint(cert.Serial),
			"valid_before": issued.ValidBefore}}
	if err := c.cfg.Door.Login(ctx, attempt); err != nil {
		return err
	}
	return answer(w, http.StatusCreated, issued)
}

// sshView is the page with a person's keys.
type sshView struct {
	Keys       []keyView
	Config     string
	KnownHosts string
}

type keyView struct {
	Fingerprint, Type string
	CreatedAt         time.Time
}

func (c *Console) showSSH(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.self.show", ""); err != nil {
		return err
	}
	keys, err := c.cfg.Registry.SSHKeys(r.Context(), v.person.ID)
	if err != nil {
		return err
	}
	setup := c.sshSetup(v.person)
	data := sshView{Config: setup.Config("~/.ssh/id_ed25519", "~/.ssh/sekisho-cert.pub", ""), KnownHosts: setup.KnownHosts}
	for _, k := range keys {
		kind, _, _ := strings.Cut(k.PublicKey, " ")
		data.Keys = append(data.Keys, keyView{Fingerprint: k.Fingerprint, Type: kind, CreatedAt: k.CreatedAt})
	}
	p := c.newPage(r, v, "ssh.title", data)
	p.Scripts = []string{"certificate.js"}
	c.render(w, http.StatusOK, "certificate", p)
	return nil
}

// sshAddress is where contractors' ssh connects to; port is "" for 22.
func (c *Console) sshAddress() (host, port string) {
	host, port, err := net.SplitHostPort(c.cfg.SSH)
	if err != nil {
		return c.cfg.SSH, ""
	}
	if port == "22" {
		port = ""
	}
	return host, port
}
