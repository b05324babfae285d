package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// BrowserConfig is what one person's browser needs.
type BrowserConfig struct {
	Dir           string         // the browser's private HOME and profile; absolute, made when missing
	CertFile      string         // PEM: the person's client certificate, then its chain
	KeyFile       string         // PEM
	CAFile        string         // PEM: the gateway's root, trusted in this profile alone
	Hosts         []string       // host names of the gateway and its apps; what is below them counts too
	URL           string         // first page
	Authenticator *Authenticator // optional: confirms in the person's place; without it a real one does
	Headless      bool           // no window
	Log           io.Writer      // what the browser itself prints; optional
}

// Packages that hold the programs, by the commands that install them.
const (
	chromiumHint = "install it with: apt install chromium, dnf install chromium or pacman -S chromium"
	nssHint      = "install it with: apt install libnss3-tools, dnf install nss-tools or pacman -S nss"
)

// Browser opens Chromium as a person whose certificate and authenticator stand ready, and returns when it is closed or
// ctx ends. Nothing of the user's own browser is read or changed.
func Browser(ctx context.Context, cfg BrowserConfig) error {
	cmd, err := PrepareBrowser(ctx, cfg)
	if err != nil {
		return err
	}
	d, err := startBrowser(cmd)
	if err != nil {
		return err
	}
	minded := make(chan error, 1)
	go func() { minded <- (&keeper{d: d, authenticator: cfg.Authenticator, url: cfg.URL}).keep(ctx) }()
	err = cmd.Wait()
	d.out.Close()
	if kept := <-minded; kept != nil && ctx.Err() == nil {
		return kept
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
	}
	return nil
}

// PrepareBrowser makes the profile anew where certificates may have changed, keeps the rest, and returns the command
// that opens it; the page to open is not part of it. The command stops when ctx ends.
func PrepareBrowser(ctx context.Context, cfg BrowserConfig) (*exec.Cmd, error) {
	program, err := findChromium()
	if err != nil {
		return nil, err
	}
	if !cfg.Headless && os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return nil, errors.New("no display to open a browser on: neither DISPLAY nor WAYLAND_DISPLAY is set")
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("the browser's folder %q is not absolute", cfg.Dir)
	}
	if err := notOpen(cfg.profile()); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("the person's client certificate: %w", err)
	}
	if err := cfg.writeStore(ctx, pair); err != nil {
		return nil, err
	}
	if err := cfg.writePreferences(pair.Leaf.Issuer.CommonName); err != nil {
		return nil, fmt.Errorf("preparing the browser's profile: %w", err)
	}
	return cfg.command(ctx, program), nil
}

func (cfg BrowserConfig) home() string    { return filepath.Join(cfg.Dir, "home") }
func (cfg BrowserConfig) profile() string { return filepath.Join(cfg.Dir, "profile") }

// findChromium skips a snap: it sees neither another HOME nor hidden folders.
func findChromium() (string, error) {
	snap := false
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if isSnap(path) {
			snap = true
			continue
		}
		return path, nil
	}
	if snap {
		return "", errors.New("the only Chromium here is a snap, which cannot use a profile of its own; " +
			"install Google Chrome or a Chromium that is no snap")
	}
	return "", errors.New("there is no Chromium on PATH; " + chromiumHint)
}

func isSnap(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || filepath.Base(real) == "snap" {
		return true
	}
	f, err := os.Open(real)
	if err != nil {
		return false
	}
	defer f.Close()
	start, _ := io.ReadAll(io.LimitReader(f, 4096))
	return bytes.HasPrefix(start, []byte("#!")) && bytes.Contains(start, []byte("/snap/bin/"))
}

// notOpen looks at Chromium's own lock, a link to HOST-PID: two browsers in one profile would share one window.
func notOpen(profile string) error {
	link, err := os.Readlink(filepath.Join(profile, "SingletonLock"))
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(link[strings.LastIndexByte(link, '-')+1:])
	if err == nil && syscall.Kill(pid, 0) == nil {
		return fmt.Errorf("this person's browser is open already (process %d); close it first", pid)
	}
	return nil
}

// writeStore makes the NSS database that Chromium reads from its HOME: the root as trusted, the client certificate with
// its key and chain.
func (cfg BrowserConfig) writeStore(ctx context.Context, pair tls.Certificate) error {
	store := filepath.Join(cfg.home(), ".pki", "nssdb")
	if err := os.RemoveAll(store); err != nil {
		return err
	}
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	bundle, remove, err := cfg.writeBundle(pair)
	if err != nil {
		return fmt.Errorf("preparing the browser's certificate: %w", err)
	}
	defer remove()
	db := "sql:" + store
	for _, args := range [][]string{
		{"certutil", "-N", "-d", db, "--empty-password"},
		{"certutil", "-A", "-d", db, "-n", "sekisho demo root", "-t", "C,,", "-i", cfg.CAFile},
		{"pk12util", "-i", bundle, "-d", db, "-w", bundle + ".password", "-k", bundle + ".empty"},
	} {
		if err := cfg.nss(ctx, args); err != nil {
			return err
		}
	}
	return nil
}

func (cfg BrowserConfig) nss(ctx context.Context, args []string) error {
	program, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("%s is not on PATH; %s", args[0], nssHint)
	}
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Env = cfg.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("preparing the browser's certificates with %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// writeBundle puts certificate and key into a PKCS #12 file for pk12util, beside the files of its two passwords: its own,
// which is random, and the store's, which is empty.
func (cfg BrowserConfig) writeBundle(pair tls.Certificate) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp(cfg.Dir, ".import")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			remove()
		}
	}()
	var chain []*x509.Certificate
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return "", nil, err
		}
		chain = append(chain, cert)
	}
	password := rand.Text()
	bundle, err := pkcs12.Modern.Encode(pair.PrivateKey, pair.Leaf, chain, password)
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "client.p12")
	files := map[string][]byte{path: bundle, path + ".password": []byte(password), path + ".empty": []byte("\n")}
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return "", nil, err
		}
	}
	return path, remove, nil
}

// writePreferences has Chromium show the certificate of this issuer to the gateway's hosts without asking: it cannot ask
// when it has no window. What the person set in the profile stays.
func (cfg BrowserConfig) writePreferences(issuer string) error {
	path := filepath.Join(cfg.profile(), "Default", "Preferences")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	preferences := map[string]any{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && json.Unmarshal(text, &preferences) != nil {
		preferences = map[string]any{} // Chromium starts afresh from a damaged file too
	}
	certificates := map[string]any{}
	for _, host := range cfg.Hosts {
		filter := map[string]any{"ISSUER": map[string]string{"CN": issuer}}
		certificates["https://[*.]"+host+",*"] = map[string]any{"setting": map[string]any{"filters": []any{filter}}}
	}
	at := preferences
	for _, key := range []string{"profile", "content_settings", "exceptions"} {
		next, ok := at[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[key] = next
		}
		at = next
	}
	at["auto_select_certificate"] = certificates
	if text, err = json.Marshal(preferences); err != nil {
		return err
	}
	return writeFile(path, text, 0o600)
}

func (cfg BrowserConfig) command(ctx context.Context, program string) *exec.Cmd {
	args := []string{
		"--user-data-dir=" + cfg.profile(), "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
		"--hide-crash-restore-bubble", "--password-store=basic",
	}
	if rules := cfg.resolverRules(); rules != "" {
		args = append(args, "--host-resolver-rules="+rules)
	}
	if cfg.Headless {
		args = append(args, "--headless", "--disable-gpu")
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium does not start as root with one
	}
	cmd := exec.CommandContext(ctx, program, append(args, "about:blank")...)
	cmd.Env = cfg.environment()
	cmd.Stdout, cmd.Stderr = cfg.Log, cfg.Log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// resolverRules lead the gateway's names to this machine; browsers do so with localhost by themselves.
func (cfg BrowserConfig) resolverRules() string {
	var rules []string
	for _, host := range cfg.Hosts {
		if host != "localhost" && !strings.HasSuffix(host, ".localhost") {
			rules = append(rules, "MAP "+host+" 127.0.0.1", "MAP *."+host+" 127.0.0.1")
		}
	}
	return strings.Join(rules, ",")
}

// environment is the user's where a window needs it, with another HOME.
func (cfg BrowserConfig) environment() []string {
	env := []string{
		"HOME=" + cfg.home(), "XDG_CONFIG_HOME=" + filepath.Join(cfg.home(), ".config"),
		"XDG_CACHE_HOME=" + filepath.Join(cfg.home(), ".cache"), "XDG_DATA_HOME=" + filepath.Join(cfg.home(), ".local", "share"),
	}
	for _, name := range []string{
		"PATH", "LANG", "LC_ALL", "LANGUAGE", "TZ", "TMPDIR", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "XDG_SESSION_TYPE",
		"XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "GTK_IM_MODULE", "QT_IM_MODULE", "XMODIFIERS",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if own, err := os.UserHomeDir(); err == nil && os.Getenv("XAUTHORITY") == "" && os.Getenv("DISPLAY") != "" {
		env = append(env, "XAUTHORITY="+filepath.Join(own, ".Xauthority")) // the X server's key, where a moved HOME would lose it
	}
	return env
}

// startBrowser starts the command with its debugging pipe on descriptors 3 and 4.
func startBrowser(cmd *exec.Cmd) (*devtools, error) {
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		ourOut.Close()
		return nil, err
	}
	defer theirOut.Close()
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := cmd.Start(); err != nil {
		ourIn.Close()
		ourOut.Close()
		return nil, fmt.Errorf("starting the browser: %w", err)
	}
	return newDevtools(ourIn, ourOut), nil
}
