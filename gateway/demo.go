package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/demo"
	"github.com/sekisho/sekisho/gateway/directory"
)

// Names of what stands in a demo's folder beside a gateway's own.
const (
	demoAddresses = "addresses.json"
	demoTargets   = "targets"
	demoPeople    = "people"
	demoLogin     = "app"
	demoApp       = "orders.apps.localhost"
	// demoAdmin is the first admin; commands without --as act as they.
	demoAdmin = "ren"
	// demoPassword protects the demo's PKCS#12 files, whose keys lie beside them in the clear.
	demoPassword = "demo"
	// demoRenewal is how often the people's SSH certificates are renewed: well within the 15 minutes a WebAuthn counts.
	demoRenewal = 5 * time.Minute
)

// DemoConfig is what a demo is made of.
type DemoConfig struct {
	Dir string // its folder; made when it is missing, resumed when it is a demo's
	// Browser leaves enrolment and every confirmation to the person's own browser: no contractor is enrolled for them.
	Browser bool
	Log     *zap.Logger           // optional
	Ready   func(DemoReady) error // called once everybody can connect
}

// DemoReady is what somebody needs to use a running demo.
type DemoReady struct {
	Dir        string       `json:"dir"`
	SSHAddr    string       `json:"ssh_addr"`
	HTTPSAddr  string       `json:"https_addr"`
	SSHConfig  string       `json:"ssh_config"`
	ConsoleURL string       `json:"console_url"`
	OrdersURL  string       `json:"orders_url"`
	CAFile     string       `json:"ca_file"`
	People     []DemoPerson `json:"people"`
	Targets    []DemoTarget `json:"targets"`
	Confined   bool         `json:"confined"` // the kernel keeps the targets' shells in their folders
	Invites    []string     `json:"invites,omitempty"`
	Problems   []string     `json:"problems,omitempty"` // whose SSH certificate could not be renewed, and why
}

// DemoPerson is one of the people with the files that prove them.
type DemoPerson struct {
	ID       string `json:"id"`
	Vendor   string `json:"vendor"`
	Type     string `json:"type"`
	CertFile string `json:"cert_file"`
	KeyFile  string `json:"key_file"`
	P12File  string `json:"p12_file"`
}

// DemoTarget is one of the targets.
type DemoTarget struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	URL  string `json:"url,omitempty"`
}

// demoAddressBook is where a demo's servers listen, the same after a restart.
type demoAddressBook struct {
	SSH    string `json:"ssh"`
	HTTPS  string `json:"https"`
	DB1    string `json:"db1"`
	Build1 string `json:"build1"`
	Orders string `json:"orders"`
}

// trial is a running demo.
type trial struct {
	cfg       DemoConfig
	gateway   *Gateway
	listeners map[string]net.Listener // by the address book's names
	targets   map[string]*demo.Target
	orders    *demo.Orders
	profiles  []*console.Profile
	invites   []string
}

// RunDemo runs a whole gateway on loopback, with people, targets and an app, until ctx ends.
func RunDemo(ctx context.Context, cfg DemoConfig) error {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	t := &trial{cfg: cfg, listeners: map[string]net.Listener{}, targets: map[string]*demo.Target{}}
	if err := t.open(ctx); err != nil {
		t.close()
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.gateway.Serve(ctx) })
	for name, target := range t.targets {
		group.Go(func() error { return target.Serve(ctx, t.listeners[name]) })
	}
	group.Go(func() error {
		return serveHTTP(ctx, &http.Server{Handler: t.orders, ReadHeaderTimeout: 10 * time.Second}, t.listeners["orders"], false)
	})
	group.Go(func() error { return t.populate(ctx) })
	err := group.Wait()
	t.close()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (t *trial) close() {
	for _, l := range t.listeners {
		l.Close()
	}
	if t.gateway != nil {
		t.gateway.Close()
	}
}

func (t *trial) path(names ...string) string {
	return filepath.Join(append([]string{t.cfg.Dir}, names...)...)
}

// open listens, makes or opens the folder and puts the targets into the directory.
func (t *trial) open(ctx context.Context) error {
	book, err := t.listen()
	if err != nil {
		return err
	}
	cfg, err := t.folder(book)
	if err != nil {
		return err
	}
	if t.gateway, err = New(ctx, cfg, Options{Log: t.cfg.Log}); err != nil {
		return err
	}
	t.gateway.SSH, t.gateway.HTTPS = t.listeners["ssh"], t.listeners["https"]
	if err := t.gateway.listenSocket(); err != nil {
		return err
	}
	if err := t.openTargets(); err != nil {
		return err
	}
	return t.applyDirectory(ctx, book)
}

// listen opens every listener: on the addresses of the last run, or on free ports the first time.
func (t *trial) listen() (demoAddressBook, error) {
	var book demoAddressBook
	if err := os.MkdirAll(t.cfg.Dir, 0o700); err != nil {
		return book, err
	}
	data, err := os.ReadFile(t.path(demoAddresses))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return book, err
	}
	if err == nil {
		if err := json.Unmarshal(data, &book); err != nil {
			return book, fmt.Errorf("%s is damaged; delete %s to start anew: %w", t.path(demoAddresses), t.cfg.Dir, err)
		}
	}
	for name, address := range map[string]*string{"ssh": &book.SSH, "https": &book.HTTPS, "db1": &book.DB1, "build1": &book.Build1, "orders": &book.Orders} {
		if *address == "" {
			*address = "127.0.0.1:0"
		}
		l, err := net.Listen("tcp", *address)
		if err != nil {
			return book, fmt.Errorf("%w; end what uses the port (another demo on %s?), or delete %s to take new ones", err, t.cfg.Dir, t.path(demoAddresses))
		}
		t.listeners[name], *address = l, l.Addr().String()
	}
	if data, err = json.MarshalIndent(book, "", "  "); err != nil {
		return book, err
	}
	return book, os.WriteFile(t.path(demoAddresses), append(data, '\n'), 0o600)
}

// folder makes the gateway's folder the first time and refuses one that guards real systems.
func (t *trial) folder(book demoAddressBook) (Config, error) {
	file := t.path(ConfigFile)
	if !exists(file) {
		cfg := Config{Dir: t.cfg.Dir, Demo: true, ListenSSH: book.SSH, ListenHTTPS: book.HTTPS}
		if err := Init(cfg, time.Now); err != nil {
			return Config{}, err
		}
		if err := t.nameForEmergencies(); err != nil {
			return Config{}, err
		}
	}
	cfg, err := LoadConfig(file)
	if err != nil {
		return cfg, err
	}
	if !cfg.Demo {
		return cfg, fmt.Errorf("%s is a real gateway's folder; give the demo one of its own", t.cfg.Dir)
	}
	if cfg.ListenSSH == book.SSH && cfg.ListenHTTPS == book.HTTPS {
		return cfg, nil
	}
	cfg.ListenSSH, cfg.ListenHTTPS = book.SSH, book.HTTPS
	return cfg, cfg.Save()
}

// nameForEmergencies lets the policy of a new demo name whoever has a hardware key.
func (t *trial) nameForEmergencies() error {
	const nobody = "break_glass: {people: [], minutes: 60, targets: []}"
	file := t.path(policyDir, "approvals.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var people []string
	for _, p := range demo.People() {
		if p.HardwareKey {
			people = append(people, p.ID)
		}
	}
	named := fmt.Sprintf(`break_glass: {people: [%s], minutes: 60, targets: ["*"]}`, strings.Join(people, ", "))
	if !strings.Contains(string(text), "\n"+nobody+"\n") {
		return fmt.Errorf("%s names somebody for emergencies already", file)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(text), "\n"+nobody+"\n", "\n"+named+"\n", 1)), 0o600)
}

func (t *trial) openTargets() error {
	for _, name := range []string{"db1", "build1"} {
		target, err := demo.NewTarget(demo.TargetConfig{
			Name: name, Dir: t.path(demoTargets, name), HostKeyFile: t.path(name + "_host_key"),
			UserCA: t.gateway.authority.UpstreamCA(), Logins: []string{demoLogin}, Hidden: []string{t.cfg.Dir}, Log: t.cfg.Log.Named(name)})
		if err != nil {
			return err
		}
		t.targets[name] = target
	}
	var err error
	t.orders, err = demo.NewOrders(demo.OrdersConfig{JWKS: t.gateway.authority.JWKS, Audience: demoApp})
	return err
}

// applyDirectory puts the demo's directory in force the first time, and again when ports have changed. What somebody has
// applied since is theirs and stays.
func (t *trial) applyDirectory(ctx context.Context, book demoAddressBook) error {
	live := t.gateway.directory
	home := func(name string) string { return t.path(demoTargets, name) }
	seed := demo.Seeds{Now: time.Now(), Zone: t.gateway.zone,
		DB1:    demo.SSHSeed{Address: book.DB1, HostKey: t.targets["db1"].HostKey(), Home: home("db1")},
		Build1: demo.SSHSeed{Address: book.Build1, HostKey: t.targets["build1"].HostKey(), Home: home("build1")},
		Orders: demo.HTTPSSeed{Upstream: "http://" + book.Orders, Host: demoApp}}
	if current := live.Current(); current.Number() > 0 && reachable(current, seed) {
		return nil
	}
	text := demo.Directory(seed)
	if err := os.WriteFile(t.path("directory.yaml"), text, 0o600); err != nil {
		return err
	}
	_, _, err := live.Apply(ctx, text, "@demo", "the demo's people and targets", live.Current().Number())
	return err
}

// reachable tells whether the directory in force leads to the targets that run now.
func reachable(d *directory.Directory, seed demo.Seeds) bool {
	db1, ok1 := d.Target("db1")
	build1, ok2 := d.Target("build1")
	orders, ok3 := d.Target("orders")
	return ok1 && ok2 && ok3 && db1.SSH != nil && build1.SSH != nil && orders.HTTPS != nil &&
		db1.SSH.Address == seed.DB1.Address && db1.SSH.HostKey == seed.DB1.HostKey &&
		build1.SSH.Address == seed.Build1.Address && build1.SSH.HostKey == seed.Build1.HostKey &&
		orders.HTTPS.Upstream.String() == seed.Orders.Upstream
}

// populate enrols whoever is not yet, by the very endpoints real people use, says that the demo is ready, and keeps the
// SSH certificates fresh.
func (t *trial) populate(ctx context.Context) error {
	if err := t.enrolAll(ctx); err != nil {
		return fmt.Errorf("enrolling the demo's people: %w", err)
	}
	// Somebody may have been revoked or cut off on purpose: the others go on.
	problem := t.renewAll(ctx)
	if ctx.Err() != nil {
		return nil
	}
	sshConfig, err := t.writeSSHConfig()
	if err != nil {
		return err
	}
	ready := t.ready(sshConfig)
	if problem != nil {
		ready.Problems = strings.Split(problem.Error(), "\n")
	}
	if err := t.cfg.Ready(ready); err != nil {
		return err
	}
	return t.keepFresh(ctx)
}

func (t *trial) keepFresh(ctx context.Context) error {
	tick := time.NewTicker(demoRenewal)
	defer tick.Stop()
	look := time.NewTicker(2 * time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			if err := t.adopt(); err != nil {
				return err
			}
		case <-tick.C:
			if err := t.renewAll(ctx); err != nil && ctx.Err() == nil {
				t.cfg.Log.Warn("renewing SSH certificates", zap.Error(err))
			}
		}
	}
}

// enrolAll lets the first admin in through the folder's socket and everybody else through that admin.
func (t *trial) enrolAll(ctx context.Context) error {
	folder := console.NewBootstrapClient(t.path(socketFile))
	admin, err := t.person(ctx, demoAdmin, inviterOf(folder.Invite), folder.Release)
	if err != nil {
		return err
	}
	t.profiles = []*console.Profile{admin}
	client, err := t.login(ctx, admin)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, p := range demo.People() {
		if p.ID == demoAdmin {
			continue
		}
		if t.cfg.Browser && p.Vendor != "@staff" {
			if err := t.inviteOnly(ctx, client, p.ID); err != nil {
				return err
			}
			continue
		}
		profile, err := t.person(ctx, p.ID, client.Invite, client.Release)
		if err != nil {
			return err
		}
		t.profiles = append(t.profiles, profile)
	}
	return os.WriteFile(t.path(demoPeople, "default"), []byte(demoAdmin+"\n"), 0o600)
}

// adopt takes in profiles that people have made by enrolling themselves, so that ssh_config knows them.
func (t *trial) adopt() error {
	if !t.cfg.Browser {
		return nil
	}
	found := false
	for _, p := range demo.People() {
		known := slices.ContainsFunc(t.profiles, func(have *console.Profile) bool { return have.Person == p.ID })
		profile, err := console.OpenProfile(t.path(demoPeople, p.ID))
		if known || err != nil {
			continue // not enrolled yet
		}
		t.profiles, found = append(t.profiles, profile), true
	}
	if !found {
		return nil
	}
	_, err := t.writeSSHConfig()
	return err
}

func inviterOf(f func(context.Context, string) (console.Invitation, error)) inviter { return f }

type (
	inviter  = func(ctx context.Context, person string) (console.Invitation, error)
	releaser = func(ctx context.Context, person, code string) error
)

// inviteOnly leaves the enrolment to the person and their browser.
func (t *trial) inviteOnly(ctx context.Context, client *console.Client, person string) error {
	if exists(t.path(demoPeople, person, "profile.json")) {
		profile, err := console.OpenProfile(t.path(demoPeople, person))
		if err == nil {
			t.profiles = append(t.profiles, profile)
		}
		return err
	}
	invitation, err := client.Invite(ctx, person)
	if err != nil {
		return err
	}
	t.invites = append(t.invites, person+": "+invitation.URL)
	return nil
}

// person opens a profile, or makes it: invite, enrol, register, release.
func (t *trial) person(ctx context.Context, id string, invite inviter, release releaser) (*console.Profile, error) {
	dir := t.path(demoPeople, id)
	if profile, err := console.OpenProfile(dir); err == nil {
		return profile, nil
	}
	if err := os.RemoveAll(dir); err != nil { // an enrolment cut short leaves nothing of use
		return nil, err
	}
	invitation, err := invite(ctx, id)
	if err != nil {
		return nil, err
	}
	profile, err := console.Enrol(ctx, invitation.URL, t.gateway.authority.RootPEM(), func(string) string { return dir })
	if err != nil {
		return nil, err
	}
	client, err := profile.Client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	authenticator, err := demo.NewAuthenticator(profile.Path("authenticator.json"))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(demo.People(), func(p demo.Person) bool { return p.ID == id && p.HardwareKey }) {
		if err := authenticator.Become(demo.Hardware); err != nil {
			return nil, err
		}
	}
	code, err := profile.Register(ctx, client, authenticator)
	if err != nil {
		return nil, err
	}
	if err := release(ctx, id, code); err != nil {
		return nil, err
	}
	return profile, profile.WritePKCS12(demoPassword)
}

func (t *trial) login(ctx context.Context, p *console.Profile) (*console.Client, error) {
	client, err := p.Client()
	if err != nil {
		return nil, err
	}
	authenticator, err := demo.NewAuthenticator(p.Path("authenticator.json"))
	if err != nil {
		return nil, err
	}
	return client, p.Login(ctx, client, authenticator)
}

// renewAll renews the SSH certificate of everybody who may have one.
func (t *trial) renewAll(ctx context.Context) error {
	var errs []error
	for _, p := range t.profiles {
		if p.Vendor == "@staff" || !exists(p.Path("authenticator.json")) {
			continue
		}
		errs = append(errs, t.renew(ctx, p))
	}
	return errors.Join(errs...)
}

func (t *trial) renew(ctx context.Context, p *console.Profile) error {
	client, err := t.login(ctx, p)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Person, err)
	}
	defer client.Close()
	if _, err := p.RenewSSH(ctx, client); err != nil {
		return fmt.Errorf("%s: %w", p.Person, err)
	}
	return nil
}

func (t *trial) writeSSHConfig() (string, error) {
	cfg := demo.SSHConfig{Dir: t.cfg.Dir, Gateway: t.listeners["ssh"].Addr().String(), HostCA: t.gateway.authority.HostCA(),
		Default: "hanako", Targets: []demo.SSHTarget{{Name: "db1", Login: demoLogin}, {Name: "build1", Login: demoLogin}}}
	for _, p := range t.profiles {
		named := slices.ContainsFunc(demo.People(), func(d demo.Person) bool { return d.ID == p.Person && d.HardwareKey })
		if p.Vendor != "@staff" || named {
			cfg.People = append(cfg.People, demo.SSHPerson{ID: p.Person, IdentityFile: p.SSHKeyFile(), CertificateFile: p.SSHCertFile()})
		}
	}
	return demo.WriteSSHConfig(cfg)
}

func (t *trial) ready(sshConfig string) DemoReady {
	_, port, _ := net.SplitHostPort(t.listeners["https"].Addr().String())
	ordersURL := "https://" + net.JoinHostPort(demoApp, port) + "/"
	r := DemoReady{Dir: t.cfg.Dir, SSHAddr: t.listeners["ssh"].Addr().String(), HTTPSAddr: t.listeners["https"].Addr().String(),
		SSHConfig: sshConfig, ConsoleURL: t.gateway.cfg.URL(t.gateway.cfg.ConsoleHost), OrdersURL: ordersURL, CAFile: t.path("ca.pem"),
		Targets:  []DemoTarget{{Name: "db1", Kind: "ssh"}, {Name: "build1", Kind: "ssh"}, {Name: "orders", Kind: "https", URL: ordersURL}},
		Confined: t.targets["db1"].Confined(), Invites: t.invites}
	people := demo.People()
	for _, p := range t.profiles {
		i := slices.IndexFunc(people, func(known demo.Person) bool { return known.ID == p.Person })
		r.People = append(r.People, DemoPerson{ID: p.Person, Vendor: p.Vendor, Type: people[i].Type, CertFile: p.CertFile(),
			KeyFile: p.KeyFile(), P12File: p.PKCS12File()})
	}
	return r
}

// DemoBrowser opens Chromium as one of a running demo's people and returns when it is closed. person's confirmations are
// answered by their software authenticator, where they have one.
func DemoBrowser(ctx context.Context, dir, person string, headless bool, log io.Writer) error {
	cfg, err := LoadConfig(filepath.Join(dir, ConfigFile))
	if err != nil {
		return err
	}
	if !cfg.Demo {
		return fmt.Errorf("%s is a real gateway's folder, not a demo's", dir)
	}
	profile, err := console.OpenProfile(filepath.Join(dir, demoPeople, person))
	if err != nil {
		return fmt.Errorf("no profile of %s in this demo: %w", person, err)
	}
	b := demo.BrowserConfig{Dir: filepath.Join(dir, "browsers", person), CertFile: profile.CertFile(), KeyFile: profile.KeyFile(),
		CAFile: filepath.Join(dir, "ca.pem"), Hosts: []string{cfg.ConsoleHost, cfg.EnrolHost, demoApp}, URL: profile.ConsoleURL + "/",
		Headless: headless, Log: log}
	if exists(profile.Path("authenticator.json")) {
		if b.Authenticator, err = demo.NewAuthenticator(profile.Path("authenticator.json")); err != nil {
			return err
		}
	}
	return demo.Browser(ctx, b)
}
