package console

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/sekisho/sekisho/gateway/directory"
)

// SSHSetup is what somebody's own ssh needs to know to come here.
type SSHSetup struct {
	Person     string      `json:"person"`
	Host       string      `json:"host"`
	Port       string      `json:"port,omitempty"` // "" for 22
	KnownHosts string      `json:"known_hosts"`    // a line for the file of that name
	Targets    []SSHTarget `json:"targets,omitempty"`
}

// SSHTarget is an SSH target and the account that ssh uses there unless told otherwise.
type SSHTarget struct {
	Name  string `json:"name"`
	Login string `json:"login"`
}

// Config is a configuration for ssh: `ssh gateway` and `ssh TARGET` then work. The files are named as ssh_config wants them;
// knownHosts may be "", where the line goes into the person's own.
func (s SSHSetup) Config(identity, certificate, knownHosts string) string {
	var b strings.Builder
	own := "  IdentityFile " + identity + "\n  CertificateFile " + certificate + "\n  IdentitiesOnly yes\n"
	if knownHosts != "" {
		own += "  UserKnownHostsFile " + knownHosts + "\n"
	}
	fmt.Fprintf(&b, "Host gateway\n  HostName %s\n", s.Host)
	if s.Port != "" {
		fmt.Fprintf(&b, "  Port %s\n", s.Port)
	}
	fmt.Fprintf(&b, "  User %s\n%s", s.Person, own)
	for _, t := range s.Targets {
		fmt.Fprintf(&b, "\nHost %s\n  User %s\n  ProxyJump gateway\n%s", t.Name, t.Login, own)
	}
	return b.String()
}

// sshSetup is a person's.
func (c *Console) sshSetup(person directory.Person) SSHSetup {
	s := SSHSetup{Person: person.ID}
	s.Host, s.Port = c.sshAddress()
	if ca := c.cfg.Authority.HostCA(); ca != nil {
		s.KnownHosts = "@cert-authority * " + string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(ca)))
	}
	dir := c.cfg.Directory.Current()
	vendor, _ := dir.Vendor(person.Vendor)
	for _, name := range vendor.Targets {
		if t, ok := dir.Target(name); ok && t.SSH != nil && len(t.Logins) > 0 {
			s.Targets = append(s.Targets, SSHTarget{Name: name, Login: t.Logins[0]})
		}
	}
	return s
}
