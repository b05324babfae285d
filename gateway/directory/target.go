package directory

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Target is one system behind the gateway: exactly one of SSH, HTTPS and TCP is set.
type Target struct {
	Name   string
	SSH    *SSH
	HTTPS  *HTTPS
	TCP    *TCP
	Labels map[string]string

	// Of SSH targets.
	Logins            []string // what a contractor may log in as
	AdminLogins       []string // need the admin right; root is always one of them
	Opaque            string   // deny (default) | execute: what happens to lines that cannot be classified
	ConfigPaths       []string // patterns of files whose change is a config event
	ConfidentialPaths []string // patterns of confidential files

	// Of HTTPS apps.
	Rules  []Rule // most specific first
	Redact Redact
}

// SSH is how an SSH host is reached and recognised. One of HostKey and HostCA is set.
type SSH struct {
	Address string // host:port
	HostKey string // fingerprint of its host key, "SHA256:…"
	HostCA  string // fingerprint of the key that signs its host certificates, "SHA256:…"
}

// HTTPS is an app: where it runs and the host name it answers to at the gateway.
type HTTPS struct {
	Upstream url.URL // scheme and host only
	Host     string  // lower case
}

// TCP is a plain endpoint.
type TCP struct {
	Address string // host:port
}

// Port is the port of the address.
func (t *TCP) Port() uint16 {
	_, port, _ := net.SplitHostPort(t.Address)
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}

// Redact says what is struck out of recorded HTTP bodies.
type Redact struct {
	JSON []string // paths of members such as $.card.number or $.items[*].token
}

// The values of Target.Opaque.
const (
	OpaqueDeny    = "deny"
	OpaqueExecute = "execute"
)

// Kind is ssh, https or tcp.
func (t Target) Kind() string {
	switch {
	case t.SSH != nil:
		return "ssh"
	case t.HTTPS != nil:
		return "https"
	case t.TCP != nil:
		return "tcp"
	}
	return ""
}

// HasLogin reports whether the target knows that login. Only SSH targets have any; the others know just "".
func (t Target) HasLogin(login string) bool {
	if t.SSH == nil {
		return login == ""
	}
	return slices.Contains(t.Logins, login) || t.AdminLogin(login)
}

// AdminLogin reports whether logging in as login needs the admin right.
func (t Target) AdminLogin(login string) bool { return slices.Contains(t.AdminLogins, login) }

// ConfigPath reports whether changing the file at this absolute, resolved path is a change of configuration.
func (t Target) ConfigPath(path string) bool { return matchAny(t.ConfigPaths, path) }

// ConfidentialPath reports whether the file at this absolute, resolved path is confidential.
func (t Target) ConfidentialPath(path string) bool { return matchAny(t.ConfidentialPaths, path) }

// The lists that a target's kind allows beside its address.
var (
	sshOnly   = []string{"logins", "admin_logins", "opaque", "config_paths", "confidential_paths"}
	httpsOnly = []string{"rules", "redact"}
)

func (d *decoder) target(name string, v value, dir *Directory) Target {
	t := Target{Name: name}
	keys := map[string]value{}
	note := func(key string, read func(value)) func(value) {
		return func(v value) { keys[key] = v; read(v) }
	}
	d.fields(v, "a target", fields{
		"ssh":                note("ssh", func(v value) { t.SSH = d.ssh(v) }),
		"https":              note("https", func(v value) { t.HTTPS = d.https(v, name, dir) }),
		"tcp":                note("tcp", func(v value) { t.TCP = d.tcp(v) }),
		"labels":             func(v value) { t.Labels = d.labels(v) },
		"logins":             note("logins", func(v value) { t.Logins = d.logins(v, "logins") }),
		"admin_logins":       note("admin_logins", func(v value) { t.AdminLogins = d.logins(v, "admin_logins") }),
		"opaque":             note("opaque", func(v value) { t.Opaque = d.choice(v, OpaqueDeny, OpaqueExecute) }),
		"config_paths":       note("config_paths", func(v value) { t.ConfigPaths = d.patterns(v, "config_paths") }),
		"confidential_paths": note("confidential_paths", func(v value) { t.ConfidentialPaths = d.patterns(v, "confidential_paths") }),
		"rules":              note("rules", func(v value) { t.Rules = d.rules(v) }),
		"redact":             note("redact", func(v value) { t.Redact = d.redact(v) }),
	})
	d.oneKind(v, t, keys)
	if t.SSH != nil {
		d.sshDefaults(&t, keys)
	}
	return t
}

// oneKind checks that a target is of one kind and has only what goes with it.
func (d *decoder) oneKind(v value, t Target, keys map[string]value) {
	kinds := 0
	for _, kind := range []string{"ssh", "https", "tcp"} {
		if _, ok := keys[kind]; ok {
			kinds++
		}
	}
	if kinds != 1 {
		d.errorf(v, "target %q wants exactly one of the keys ssh, https and tcp", t.Name)
		return
	}
	d.onlyFor("ssh", sshOnly, keys)
	d.onlyFor("https", httpsOnly, keys)
}

func (d *decoder) onlyFor(kind string, list []string, keys map[string]value) {
	if _, ok := keys[kind]; ok {
		return
	}
	for _, key := range list {
		if v, ok := keys[key]; ok {
			d.errorf(v, "the key %q is only for %s targets", key, kind)
		}
	}
}

// sshDefaults fills what is not written and keeps contractors' logins apart from those that need the admin right.
func (d *decoder) sshDefaults(t *Target, keys map[string]value) {
	if !slices.Contains(t.AdminLogins, "root") {
		t.AdminLogins = append(t.AdminLogins, "root")
	}
	if t.Opaque == "" {
		t.Opaque = OpaqueDeny
	}
	for _, login := range t.Logins {
		if t.AdminLogin(login) {
			d.errorf(keys["logins"], "%q cannot be a contractor's login: it is one of the admin_logins (root always is)", login)
		}
	}
}

var loginPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

func (d *decoder) logins(v value, what string) []string {
	return d.strings(v, what, func(v value) (string, bool) {
		s, ok := d.scalar(v)
		if ok && !loginPattern.MatchString(s) {
			d.errorf(v, "%q is not a login: want a letter or _, then up to 63 letters, digits and _ . -", s)
			return "", false
		}
		return s, ok
	})
}

func (d *decoder) ssh(v value) *SSH {
	var s SSH
	keys := 0
	ok := d.fields(v, "ssh", fields{
		"address":  func(v value) { s.Address = d.address(v) },
		"host_key": func(v value) { keys++; s.HostKey = d.fingerprint(v) },
		"host_ca":  func(v value) { keys++; s.HostCA = d.fingerprint(v) },
	}, "address")
	if ok && keys != 1 {
		d.errorf(v, "ssh wants one of the keys host_key and host_ca, so that nobody can stand in for the target")
	}
	return &s
}

// fingerprint reads "SHA256:…" as ssh-keygen -l prints it.
func (d *decoder) fingerprint(v value) string {
	s, ok := d.scalar(v)
	if !ok {
		return ""
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimPrefix(s, "SHA256:"))
	if !strings.HasPrefix(s, "SHA256:") || err != nil || len(sum) != sha256.Size {
		d.errorf(v, "%q is not the fingerprint of a key: want SHA256: and 43 characters, as ssh-keygen -lf prints it", s)
		return ""
	}
	return s
}

func (d *decoder) https(v value, name string, dir *Directory) *HTTPS {
	var h HTTPS
	d.fields(v, "https", fields{
		"upstream": func(v value) { h.Upstream = d.upstream(v) },
		"host": func(v value) {
			h.Host = d.appHost(v)
			if other, taken := dir.hosts[h.Host]; taken {
				d.errorf(v, "the host %q is already that of target %q", h.Host, other)
			} else if h.Host != "" {
				dir.hosts[h.Host] = name
			}
		},
	}, "upstream", "host")
	return &h
}

// upstream reads an http or https URL of nothing but host and port.
func (d *decoder) upstream(v value) url.URL {
	s, ok := d.scalar(v)
	if !ok {
		return url.URL{}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !validHost(u.Hostname()) || !validPort(u.Port()) && u.Port() != "" ||
		strings.TrimSuffix(s, "/") != u.Scheme+"://"+u.Host || strings.HasSuffix(u.Host, ":") {
		d.errorf(v, "%q is not the address of an app: want http:// or https://, a host and perhaps a port, nothing else", s)
		return url.URL{}
	}
	u.Path = ""
	return *u
}

func (d *decoder) appHost(v value) string {
	s, ok := d.scalar(v)
	if !ok {
		return ""
	}
	if _, err := netip.ParseAddr(s); err == nil || !validName(s) || s != strings.ToLower(s) {
		d.errorf(v, "%q is not a host name: want a lower-case DNS name such as orders.apps.example.com", s)
		return ""
	}
	return s
}

func (d *decoder) tcp(v value) *TCP {
	var t TCP
	d.fields(v, "tcp", fields{"address": func(v value) { t.Address = d.address(v) }}, "address")
	return &t
}

func (d *decoder) address(v value) string {
	s, ok := d.scalar(v)
	if !ok {
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || !validHost(host) || !validPort(port) {
		d.errorf(v, "%q is not an address: want host:port, such as 10.0.0.5:22, [2001:db8::5]:22 or db1.example.com:22", s)
		return ""
	}
	return s
}

func validHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	return validName(host)
}

var labelPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// validName reports whether s is a DNS name. One whose last label is a number is refused: it is a mistyped IPv4 address.
func validName(s string) bool {
	labels := strings.Split(s, ".")
	if _, number := decimal(labels[len(labels)-1]); number || len(s) > 253 {
		return false
	}
	return !slices.ContainsFunc(labels, func(l string) bool { return !labelPattern.MatchString(l) })
}

func validPort(s string) bool {
	port, ok := decimal(s)
	return ok && port > 0 && port <= 65535
}

var labelKeyPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}$`)

func (d *decoder) labels(v value) map[string]string {
	labels := map[string]string{}
	d.mapping(v, "labels", func(key string, k, v value) {
		if !labelKeyPattern.MatchString(key) {
			d.errorf(k, "%q is not a label: want a letter or digit, then up to 62 letters, digits and _ . / -", key)
			return
		}
		labels[key] = d.text(v, 200)
	})
	return labels
}

func (d *decoder) patterns(v value, what string) []string {
	return d.strings(v, what, func(v value) (string, bool) {
		s := d.text(v, 1024)
		if s != "" && !validPattern(s) {
			d.errorf(v, "%q is not a pattern of paths: %s", s, patternShape)
			return "", false
		}
		return s, s != ""
	})
}

var redactPattern = regexp.MustCompile(`^\$(\.[A-Za-z0-9_-]+|\[\*\])+$`)

func (d *decoder) redact(v value) Redact {
	var r Redact
	d.fields(v, "redact", fields{"json": func(v value) {
		r.JSON = d.strings(v, "json", func(v value) (string, bool) {
			s := d.text(v, 256)
			if s != "" && !redactPattern.MatchString(s) {
				d.errorf(v, "%q is not a path in JSON: want $, then .member or [*] for every element, such as $.items[*].card", s)
				return "", false
			}
			return s, s != ""
		})
	}})
	return r
}
