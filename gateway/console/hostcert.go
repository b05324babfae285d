package console

import (
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// HostCertificate is a target's host key signed by the gateway's host CA.
type HostCertificate struct {
	Target      string    `json:"target"`
	Certificate string    `json:"certificate"` // the content of a -cert.pub file
	HostCA      string    `json:"host_ca"`     // SHA256:…, for the target's host_ca in the directory
	ValidBefore time.Time `json:"valid_before"`
}

// apiCertifyHost signs a target's own host key. The target need not be in the directory yet: it is bootstrapped first.
func (c *Console) apiCertifyHost(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var body struct {
		PublicKey string   `json:"public_key"` // authorized_keys form
		Names     []string `json:"names"`      // host names beside the target's own
	}
	if err := decode(w, r, bodyLimit, &body); err != nil {
		return err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(body.PublicKey))
	if err != nil {
		return badRequest("public_key: not an SSH public key; give the content of the target's /etc/ssh/ssh_host_ed25519_key.pub")
	}
	target := r.PathValue("target")
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.target.certify", target+" "+ssh.FingerprintSHA256(key)); err != nil {
		return err
	}
	cert, err := c.cfg.Authority.SignTargetHostKey(key, append([]string{target}, body.Names...))
	if err != nil {
		return badRequest("%v", err)
	}
	return answer(w, http.StatusCreated, HostCertificate{Target: target, HostCA: ssh.FingerprintSHA256(c.cfg.Authority.HostCA()),
		Certificate: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(cert))), ValidBefore: time.Unix(int64(cert.ValidBefore), 0).UTC()})
}
