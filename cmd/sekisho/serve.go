package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/sekisho/sekisho/gateway"
	"github.com/sekisho/sekisho/gateway/console"
)

func initCommand(set *settings) *cobra.Command {
	var cfg gateway.Config
	cmd := &cobra.Command{
		Use:   "init",
		Short: "make a gateway's folder: certificate authorities, policy, configuration",
		Long: `Makes a gateway's folder: its certificate authorities (X.509 root, SSH user, host and upstream CA)
with private keys encrypted at rest, a copy of the shipped policy and sekisho.yaml.

Next: sekisho serve, then in another terminal sekisho apply -f directory.yaml and sekisho invite ADMIN.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Dir, err = set.folder(); err != nil {
				return err
			}
			if err := gateway.Init(cfg, time.Now); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "made a gateway in %s\n  configuration  %s\n  policy         %s\n  evidence key   %s\nnext: sekisho serve --dir %s\n",
				cfg.Dir, filepath.Join(cfg.Dir, gateway.ConfigFile), filepath.Join(cfg.Dir, "policy"), filepath.Join(cfg.Dir, "evidence.pub"), set.dir)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.ListenSSH, "listen-ssh", "", "where ssh arrives (default 127.0.0.1:2222)")
	f.StringVar(&cfg.ListenHTTPS, "listen-https", "", "where browsers arrive (default 127.0.0.1:8443)")
	f.StringVar(&cfg.ConsoleHost, "console-host", "", "the console's host name (default localhost)")
	f.StringVar(&cfg.EnrolHost, "enrol-host", "", "the host name invites are redeemed at (default enrol.localhost)")
	f.StringVar(&cfg.RPID, "rp-id", "", "WebAuthn relying party id (default: the console's host)")
	f.StringVar(&cfg.Zone, "zone", "", "time zone of contract dates (default Asia/Tokyo)")
	f.StringVar(&cfg.KeySource, "key-source", "", "where the master key comes from: file or systemd-credential (default file)")
	return cmd
}

func serveCommand(set *settings) *cobra.Command {
	var file string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run the gateway",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := file
			if path == "" {
				path = filepath.Join(set.dir, gateway.ConfigFile)
			}
			cfg, err := gateway.LoadConfig(path)
			if err != nil {
				return err
			}
			if cfg.Demo {
				return fmt.Errorf("%s is a demo's folder, whose people hold software authenticators; run: sekisho demo --dir %s", cfg.Dir, cfg.Dir)
			}
			log, err := newLogger(verbose)
			if err != nil {
				return err
			}
			defer log.Sync()
			g, err := gateway.New(cmd.Context(), cfg, gateway.Options{Log: log})
			if err != nil {
				return err
			}
			if err := g.Listen(); err != nil {
				return errors.Join(err, g.Close())
			}
			log.Info("serving", zap.String("ssh", g.SSH.Addr().String()), zap.String("https", g.HTTPS.Addr().String()),
				zap.String("console", cfg.URL(cfg.ConsoleHost)))
			// A terminal that closes ends no sessions; and a policy comes into force with sekisho policy apply alone.
			defer onHangup(func() { g.ReloadHostKey(cmd.Context()) })()
			return g.Serve(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default: sekisho.yaml in --dir)")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

// onHangup has do called at each SIGHUP, one at a time, until stop is.
func onHangup(do func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			do()
		}
	}()
	return func() {
		signal.Ignore(syscall.SIGHUP)
		signal.Stop(hangups)
		close(hangups)
	}
}

func hostKeyCommand(set *settings) *cobra.Command {
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "make a new SSH host key for the gateway; no session is dropped",
		Long: `Makes a new SSH host key in the gateway's folder. A gateway that runs shows it to new connections after SIGHUP, and
sessions go on. The host certificate is made anew for each connection. Clients that trust the host CA (the @cert-authority
line of known_hosts) notice nothing; whoever pinned the plain key has to be told its new fingerprint.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := gateway.LoadConfig(filepath.Join(set.dir, gateway.ConfigFile))
			if err != nil {
				return err
			}
			fingerprint, err := gateway.RotateHostKey(cfg)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the host key of %s is now %s\nnext: send SIGHUP to the gateway, if it runs\n", cfg.Dir, fingerprint)
			return nil
		},
	}
	return parent("host-key", "the gateway's SSH host key: rotate", rotate)
}

// newLogger writes structured lines to stderr.
func newLogger(verbose bool) (*zap.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.Encoding = "console"
	cfg.DisableStacktrace, cfg.DisableCaller = true, true
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339TimeEncoder
	if verbose {
		cfg.Level.SetLevel(zap.DebugLevel)
	}
	return cfg.Build()
}

func doctorCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "look whether the folder and the running gateway are well",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := set.folder()
			if err != nil {
				return err
			}
			findings := gateway.Examine(cmd.Context(), dir)
			bad := 0
			for _, f := range findings {
				if f.Problem != "" {
					bad++
				}
				if err := printFinding(cmd, set, f); err != nil {
					return err
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d problem(s) found", bad)
			}
			return nil
		},
	}
}

func printFinding(cmd *cobra.Command, set *settings, f gateway.Finding) error {
	if set.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(f)
	}
	if f.Problem == "" {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "ok    %-14s %s\n", f.What, f.Detail)
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "FAIL  %-14s %s\n", f.What, f.Problem)
	return err
}

// bootstrap is the client of the folder's socket, for the few acts that come before anybody can log in.
func bootstrap(dir string) (*console.BootstrapClient, error) {
	path := filepath.Join(dir, socketFile)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no gateway is running in %s (no %s); start it with: sekisho serve --dir %s", dir, filepath.Base(path), dir)
	}
	return console.NewBootstrapClient(path), nil
}

// socketFile is the folder's socket.
const socketFile = "sekisho.sock"

func targetCommand(set *settings) *cobra.Command {
	var keyFile string
	var names []string
	certify := &cobra.Command{
		Use:   "certify TARGET --key FILE",
		Short: "sign a target's SSH host key",
		Long: `Signs a target's SSH host key with the gateway's host CA and prints the certificate, for target-bootstrap.sh
--host-certificate. What the directory then wants as the target's host_ca is printed on standard error.`,
		Args: exactly("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keyFile == "" {
				return usagef("which key? Give the target's public host key with --key ssh_host_ed25519_key.pub")
			}
			key, err := os.ReadFile(keyFile)
			if err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				cert, err := c.CertifyHost(ctx, args[0], string(key), names)
				if err != nil {
					return err
				}
				if set.json {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(cert)
				}
				fmt.Fprintln(cmd.OutOrStdout(), cert.Certificate)
				fmt.Fprintf(cmd.ErrOrStderr(), "valid until %s; in directory.yaml: host_ca: %q\n", local(cert.ValidBefore), cert.HostCA)
				return nil
			})
		},
	}
	certify.Flags().StringVar(&keyFile, "key", "", "the target's public host key (required)")
	certify.Flags().StringSliceVar(&names, "name", nil, "another host name of the target")
	return parent("target", "targets: certify a host key", certify)
}
