package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sekisho/sekisho/gateway/identity"
)

// ConfigFile is the name of the configuration in a gateway's folder.
const ConfigFile = "sekisho.yaml"

// Config is a gateway's configuration, sekisho.yaml in its folder. A key that is not listed here is an error.
type Config struct {
	// Dir is the gateway's folder: configuration, keys, policy, state, recordings and audit log. Not a key: it is where the
	// file stands.
	Dir string `yaml:"-"`
	// ListenSSH is where contractors' ssh arrives, host:port. Default 127.0.0.1:2222.
	ListenSSH string `yaml:"listen_ssh"`
	// ListenHTTPS is where browsers and API clients arrive, host:port. Default 127.0.0.1:8443.
	ListenHTTPS string `yaml:"listen_https"`
	// ConsoleHost is the console's host name, without port. Default localhost.
	ConsoleHost string `yaml:"console_host"`
	// EnrolHost is the host name where invites are redeemed; no client certificate is asked for there. It differs from the
	// console's. Default enrol.localhost.
	EnrolHost string `yaml:"enrol_host"`
	// RPID is the WebAuthn relying party id: the console's host or a parent domain of it. Default: console_host. It cannot
	// be changed without registering every authenticator again.
	RPID string `yaml:"rp_id"`
	// PublicHTTPSPort is the port browsers see when it differs from ListenHTTPS's, for instance 443 behind a balancer.
	// Optional.
	PublicHTTPSPort int `yaml:"public_https_port"`
	// SSHNames are further host names under which contractors' ssh reaches the gateway; its host certificate covers them
	// beside console_host. Optional.
	SSHNames []string `yaml:"ssh_names,omitempty"`
	// Zone is the IANA time zone of contract dates and of input.time.zone. Default Asia/Tokyo.
	Zone string `yaml:"zone"`
	// Idle is how long an SSH session may stand without input and output before it is ended: whole minutes such as 15m, at
	// least 2m; 0 is never. Default 15m.
	Idle string `yaml:"idle"`
	// Recording says how sessions are written down.
	Recording RecordingConfig `yaml:"recording"`
	// Policy says how the policy is changed.
	Policy PolicyConfig `yaml:"policy,omitempty"`
	// KeySource is where the master key that protects the private keys comes from: file (keys/master.key) or
	// systemd-credential (LoadCredential=sekisho-master-key). Default file.
	KeySource string `yaml:"key_source"`
	// Demo marks a folder made by `sekisho demo`; serve refuses it.
	Demo bool `yaml:"demo,omitempty"`
}

// RecordingConfig says how sessions are written down.
type RecordingConfig struct {
	// Commit is interval (synced within a second, the default) or before-show (synced before anything is shown).
	Commit string `yaml:"commit"`
	// Files is how much of each file that goes through SFTP or scp a recording keeps: capped (its first 16 MiB, the default),
	// full, or hash (size and SHA-256 alone, which are on record in any case).
	Files string `yaml:"files"`
}

// PolicyConfig says how the policy is changed.
type PolicyConfig struct {
	// SecondPerson has every change of the policy wait until somebody other than its author has confirmed it. Default false.
	SecondPerson bool `yaml:"second_person"`
}

// LoadConfig reads and checks a configuration file.
func LoadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("%s: no gateway here; make one with: sekisho init --dir %s", path, filepath.Dir(path))
	}
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	var cfg Config
	if err := yaml.UnmarshalWithOptions(data, &cfg, yaml.Strict()); err != nil {
		return Config{}, fmt.Errorf("%s:%s", path, strings.TrimPrefix(yaml.FormatError(err, false, true), "["))
	}
	if cfg.Dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return Config{}, err
	}
	cfg.fill()
	if err := cfg.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

// fill sets every default.
func (c *Config) fill() {
	for field, value := range map[*string]string{
		&c.ListenSSH: "127.0.0.1:2222", &c.ListenHTTPS: "127.0.0.1:8443", &c.ConsoleHost: "localhost",
		&c.EnrolHost: "enrol.localhost", &c.Zone: "Asia/Tokyo", &c.Recording.Commit: "interval", &c.Recording.Files: "capped", &c.KeySource: "file",
		&c.Idle: "15m",
	} {
		if *field == "" {
			*field = value
		}
	}
	if c.RPID == "" {
		c.RPID = c.ConsoleHost
	}
}

func (c Config) check() error {
	var errs []error
	for name, address := range map[string]string{"listen_ssh": c.ListenSSH, "listen_https": c.ListenHTTPS} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not host:port", name, address))
		}
	}
	if c.ConsoleHost == c.EnrolHost {
		errs = append(errs, errors.New("enrol_host: must differ from console_host, which asks for certificates"))
	}
	if c.RPID != c.ConsoleHost && !strings.HasSuffix(c.ConsoleHost, "."+c.RPID) {
		errs = append(errs, fmt.Errorf("rp_id: %q is neither console_host %q nor a parent domain of it", c.RPID, c.ConsoleHost))
	}
	if _, err := time.LoadLocation(c.Zone); err != nil {
		errs = append(errs, fmt.Errorf("zone: %q is not an IANA time zone such as Asia/Tokyo", c.Zone))
	}
	if _, err := c.idle(); err != nil {
		errs = append(errs, err)
	}
	if !slices.Contains([]string{"capped", "full", "hash"}, c.Recording.Files) {
		errs = append(errs, fmt.Errorf("recording.files: %q, want capped, full or hash", c.Recording.Files))
	}
	if c.Recording.Commit != "interval" && c.Recording.Commit != "before-show" {
		errs = append(errs, fmt.Errorf("recording.commit: %q, want interval or before-show", c.Recording.Commit))
	}
	if c.KeySource != "file" && c.KeySource != "systemd-credential" {
		errs = append(errs, fmt.Errorf("key_source: %q, want file or systemd-credential", c.KeySource))
	}
	return errors.Join(errs...)
}

// idle is Idle as a duration.
func (c Config) idle() (time.Duration, error) {
	d, err := time.ParseDuration(c.Idle)
	if err != nil || d != 0 && d < 2*time.Minute || d%time.Minute != 0 {
		return 0, fmt.Errorf("idle: %q, want whole minutes from 2m on, such as 15m, or 0 for never", c.Idle)
	}
	return d, nil
}

func (c Config) keySource() identity.KeySource { return identity.KeySource{Kind: c.KeySource} }

// Save writes the configuration into its folder.
func (c Config) Save() error {
	data, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, ConfigFile), data, 0o600)
}

// port is the port of ListenHTTPS as browsers see it.
func (c Config) port() string {
	if c.PublicHTTPSPort != 0 {
		return fmt.Sprint(c.PublicHTTPSPort)
	}
	_, port, _ := net.SplitHostPort(c.ListenHTTPS)
	return port
}

// sshAddress is where contractors' ssh connects, as the console shows it.
func (c Config) sshAddress() string {
	_, port, _ := net.SplitHostPort(c.ListenSSH)
	return net.JoinHostPort(c.ConsoleHost, port)
}

// URL is the address of one of the gateway's host names, without a trailing slash.
func (c Config) URL(host string) string {
	if port := c.port(); port != "443" {
		host = net.JoinHostPort(host, port)
	}
	return "https://" + host
}
