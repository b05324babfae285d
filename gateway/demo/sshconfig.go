package demo

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSHConfig is what the demo's people need to type `ssh -F DIR/ssh_config db1`.
type SSHConfig struct {
	Dir     string        // gets ssh_config and known_hosts; absolute
	Gateway string        // host:port of the gateway's SSH side
	HostCA  ssh.PublicKey // signs the host keys of the gateway and of what it stands for
	People  []SSHPerson
	Targets []SSHTarget
	Default string // whose Host entries also go without -PERSON: db1, gateway
}

// SSHPerson is where a person's key and its short-lived certificate stand; the certificate may be written later.
type SSHPerson struct{ ID, IdentityFile, CertificateFile string }

// SSHTarget is a target and the login to use there.
type SSHTarget struct{ Name, Login string }

// gatewayAlias is a name that the gateway's own host certificate always carries.
const gatewayAlias = "gateway"

// WriteSSHConfig writes ssh_config and known_hosts into Dir and returns the path of the first. With it stock ssh sees
// none of the user's own settings, keys and known hosts, and changes none.
func WriteSSHConfig(c SSHConfig) (path string, err error) {
	path = filepath.Join(c.Dir, "ssh_config")
	text, err := c.text(path)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	known := "@cert-authority * " + string(ssh.MarshalAuthorizedKey(c.HostCA))
	if err := writeFile(filepath.Join(c.Dir, "known_hosts"), []byte(known), 0o644); err != nil {
		return "", err
	}
	return path, writeFile(path, text, 0o644)
}

func (c SSHConfig) text(path string) ([]byte, error) {
	host, port, err := net.SplitHostPort(c.Gateway)
	if err != nil {
		return nil, err
	}
	known, err := sshPath(filepath.Join(c.Dir, "known_hosts"))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Written by sekisho demo, again at each start. Use it as: ssh -F %s db1\n", path)
	for _, p := range c.People {
		identity, err := p.identity()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\nHost %s\n  HostName %s\n  Port %s\n  User %s\n  HostKeyAlias %s\n%s",
			c.names(gatewayAlias, p.ID), host, port, p.ID, gatewayAlias, identity)
		for _, t := range c.Targets {
			fmt.Fprintf(&b, "\nHost %s\n  HostName %s\n  User %s\n  %s\n%s",
				c.names(t.Name, p.ID), t.Name, t.Login, jump(path, gatewayAlias+"-"+p.ID), identity)
		}
	}
	fmt.Fprintf(&b, `
Host *
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  CheckHostIP no
  UpdateHostKeys no
  ForwardAgent no
  ControlPath none
  SendEnv LANG LC_*
`, known)
	return b.Bytes(), nil
}

// names are what stands after Host: name-PERSON, and for the default person the bare name too.
func (c SSHConfig) names(name, person string) string {
	long := name + "-" + person
	if person == c.Default {
		return name + " " + long
	}
	return long
}

func (p SSHPerson) identity() (string, error) {
	key, err := sshPath(p.IdentityFile)
	if err != nil {
		return "", err
	}
	cert, err := sshPath(p.CertificateFile)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("  IdentityFile %s\n  CertificateFile %s\n", key, cert), nil
}

// jump leads through the gateway. ProxyJump passes ssh's -F on without quoting it, so a folder whose name a shell would
// take apart gets the same command written out.
func jump(config, gateway string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=@:,"
	if strings.Trim(config, plain) == "" {
		return "ProxyJump " + gateway
	}
	quoted := "'" + strings.ReplaceAll(config, "'", `'\''`) + "'"
	return fmt.Sprintf("ProxyCommand ssh -F %s -W '[%%h]:%%p' %s", strings.ReplaceAll(quoted, "%", "%%"), gateway)
}

// sshPath quotes a path for ssh_config, which expands % and ${ and knows no way to write some characters.
func sshPath(path string) (string, error) {
	switch {
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("path %q is not absolute", path)
	case strings.ContainsAny(path, "\"\\\n\r\x00") || strings.Contains(path, "${"):
		return "", errors.New("ssh_config cannot name " + path + ": choose a folder without quotes, backslashes and ${")
	}
	return `"` + strings.ReplaceAll(path, "%", "%%") + `"`, nil
}
