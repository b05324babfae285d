package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway"
	"github.com/sekisho/sekisho/gateway/console"
)

func inviteCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "invite PERSON",
		Short: "print a one-time link with which a person of the directory enrols",
		Long: `Prints a one-time link, good for a day, with which a person of the directory enrols. The very first admin is
invited through the folder's socket, by whoever owns the folder; everybody after that by an admin.`,
		Args: exactly("PERSON"),
		RunE: func(cmd *cobra.Command, args []string) error {
			show := func(inv console.Invitation) error {
				p := set.printer(cmd)
				if err := p.row(inv, inv.URL); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "give this link to %s; it works once, until %s\n", inv.Person, local(inv.Expires))
				return p.flush()
			}
			if first, client, err := set.first(cmd.Context()); err != nil {
				return err
			} else if first {
				inv, err := client.Invite(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return show(inv)
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				inv, err := c.Invite(ctx, args[0])
				if err != nil {
					return err
				}
				return show(inv)
			})
		},
	}
}

// first tells whether the folder's gateway runs and nobody is enrolled yet, so that its socket still invites.
func (s *settings) first(ctx context.Context) (bool, *console.BootstrapClient, error) {
	dir, err := s.folder()
	if err != nil {
		return false, nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, socketFile)); errors.Is(err, fs.ErrNotExist) && !untouched(dir) {
		return false, nil, nil
	}
	client, err := bootstrap(dir)
	if err != nil {
		return false, nil, err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return false, nil, err
	}
	return !status.Bootstrapped, client, nil
}

// untouched tells whether the folder is a gateway's in which nobody is enrolled: only its running gateway can help there.
func untouched(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, gateway.ConfigFile))
	return err == nil && len(profiles(dir)) == 0
}

func enrolCommand(set *settings) *cobra.Command {
	var caFile string
	cmd := &cobra.Command{
		Use:   "enrol URL",
		Short: "redeem an invitation: make keys here, get the client certificate",
		Long: `Redeems an invitation. The keys are made here and stay here; the gateway signs their public halves. Afterwards import
the PKCS#12 file into your browser, register your security key or passkey on the page this prints, and read the code to
the person who releases you.`,
		Args: exactly("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return enrol(cmd, set, args[0], caFile)
		},
	}
	cmd.Flags().StringVar(&caFile, "ca", "", "the gateway's root certificate in PEM (default: ca.pem in --dir)")
	return cmd
}

func enrol(cmd *cobra.Command, set *settings, link, caFile string) error {
	dir, err := set.folder()
	if err != nil {
		return err
	}
	ca, err := readRoot(dir, caFile)
	if err != nil {
		return err
	}
	p, err := console.Enrol(cmd.Context(), link, ca, func(person string) string { return filepath.Join(dir, peopleDir, person) })
	if err != nil {
		return err
	}
	password := rand.Text()[:12]
	if err := p.WritePKCS12(password); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "enrolled %s of %s; profile in %s\n", p.Person, p.Vendor, p.Dir)
	fmt.Fprintf(out, "1. import %s into your browser, password %s\n", p.PKCS12File(), password)
	fmt.Fprintf(out, "2. open %s/welcome there and register your security key or passkey\n", p.ConsoleURL)
	c, err := p.Client()
	if err != nil {
		return err
	}
	defer c.Close()
	code, err := awaitRegistration(cmd.Context(), p, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "3. read this code to the person who releases you: %s\n", code)
	return nil
}

// awaitRegistration waits until the person has registered an authenticator in the browser, then enrols the SSH key.
func awaitRegistration(ctx context.Context, p *console.Profile, c *console.Client) (string, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		status, err := c.Status(ctx)
		if err != nil {
			return "", err
		}
		if status.Code != "" {
			return p.AddSSHKey(ctx, c)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", errors.New("stopped before a security key was registered; the profile is kept, register in the browser and add the SSH key there")
		}
	}
}

// readRoot finds the certificate that the gateway's own is checked with.
func readRoot(dir, file string) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "ca.pem")); err == nil {
		return data, nil
	}
	return nil, usagef("which root certificate does the gateway's own come from? Give it with --ca FILE (staff have it as ca.pem)")
}

func releaseCommand(set *settings) *cobra.Command {
	var code string
	cmd := &cobra.Command{
		Use:   "release PERSON",
		Short: "let a person in whose enrolment waits, after comparing their code",
		Args:  exactly("PERSON"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if code == "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "the code that %s reads to you: ", args[0])
				if _, err := fmt.Fscanln(cmd.InOrStdin(), &code); err != nil {
					return usagef("no code given; ask %s for it, or pass --code", args[0])
				}
			}
			code = strings.TrimSpace(code)
			if first, client, err := set.first(cmd.Context()); err != nil {
				return err
			} else if first {
				if err := client.Release(cmd.Context(), args[0], code); err != nil {
					return err
				}
			} else if err := set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				return c.Release(ctx, args[0], code)
			}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s may log in now\n", args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&code, "code", "", "the code the person reads to you (asked for when absent)")
	return cmd
}

func revokeCommand(set *settings) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke PERSON",
		Short: "end all that a person holds, at once: certificates, keys, sessions",
		Args:  exactly("PERSON"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			if err := set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				return c.RevokePerson(ctx, args[0], reason)
			}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is out; a new invite and release bring them back\n", args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record (required)")
	return cmd
}

func needReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return usagef("say why with --reason; it goes on record")
	}
	return nil
}

func loginCommand(set *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "login",
		Short: "log in and renew the SSH certificate",
		Long: `Logs in and has the gateway issue a new SSH certificate, which stands in the profile's folder beside its key, with an
ssh_config and a known_hosts for it: ssh -F FOLDER/ssh_config gateway lists the targets. Where an ssh-agent runs
(SSH_AUTH_SOCK), key and certificate are put there too, for as long as the certificate holds.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := set.profile()
			if err != nil {
				return err
			}
			c, err := p.Client()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := login(cmd.Context(), p, c, cmd.ErrOrStderr()); err != nil {
				return err
			}
			until, err := p.RenewSSH(cmd.Context(), c)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "logged in as %s of %s; SSH certificate %s until %s\n", p.Person, p.Vendor, p.SSHCertFile(), local(until))
			config, err := p.WriteSSHConfig(cmd.Context(), c)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "next: ssh -F %s gateway\n", config)
			lent, err := lendToAgent(p, until)
			if err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "the certificate stands in its file alone: %v\n", err)
			}
			if lent {
				fmt.Fprintf(cmd.OutOrStdout(), "it is in your ssh-agent until then, too\n")
			}
			return nil
		},
	}
}

func vendorCommand(set *settings) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list the vendors", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			return printAll(set, cmd, []string{"VENDOR", "TYPE", "PARENT", "CONTRACT UNTIL", "PEOPLE", "STATE"}, c.Vendors(ctx), func(v console.Vendor) []string {
				return []string{v.ID, v.Type, v.Parent, lastDay(v.Contract.Until), strings.Join(v.People, " "), vendorState(v)}
			})
		})
	}}
	show := &cobra.Command{Use: "show VENDOR", Short: "show one vendor", Args: exactly("VENDOR"), RunE: func(cmd *cobra.Command, args []string) error {
		return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
			v, err := c.Vendor(ctx, args[0])
			if err != nil {
				return err
			}
			return showVendor(set, cmd, v)
		})
	}}
	return parent("vendor", "vendors: list, show, cut off, restore", list, show, cutOffCommand(set), restoreCommand(set))
}

// lastDay is the last day of a contract that ends at this instant.
func lastDay(until time.Time) string { return until.Add(-time.Second).Local().Format("2006-01-02") }

func vendorState(v console.Vendor) string {
	if v.CutOff != nil {
		return "cut off: " + v.CutOff.Reason
	}
	return "open"
}

func showVendor(set *settings, cmd *cobra.Command, v console.Vendor) error {
	p := set.printer(cmd)
	if p.json {
		return p.row(v)
	}
	networks := make([]string, 0, len(v.Networks))
	for _, n := range v.Networks {
		networks = append(networks, n.String())
	}
	for _, line := range [][]string{
		{"vendor", v.ID}, {"name", strings.Trim(v.Name.EN+" "+v.Name.JA, " ")}, {"type", v.Type}, {"chain", strings.Join(v.Chain, " < ")},
		{"contract", v.Contract.From.Local().Format("2006-01-02") + " – " + lastDay(v.Contract.Until)},
		{"networks", strings.Join(networks, " ")}, {"windows", strings.Join(v.Windows, " ")}, {"targets", strings.Join(v.Targets, " ")},
		{"approvers", strings.Join(v.Approvers, " ")}, {"people", strings.Join(v.People, " ")}, {"state", vendorState(v)},
	} {
		if err := p.row(nil, line...); err != nil {
			return err
		}
	}
	return p.flush()
}

func cutOffCommand(set *settings) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "cut-off VENDOR",
		Short: "shut a vendor and its sub-contractors out now (I-1)",
		Args:  exactly("VENDOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				ended, err := c.CutOff(ctx, args[0], reason)
				if err != nil {
					return err
				}
				p := set.printer(cmd)
				if p.json {
					return p.row(map[string]any{"vendor": args[0], "sessions": ended})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is cut off; %d live session(s) ended %s\n", args[0], len(ended), strings.Join(ended, " "))
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; the people see it on screen and it goes on record (required)")
	return cmd
}

func restoreCommand(set *settings) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "restore VENDOR",
		Short: "let a vendor that was cut off back in",
		Args:  exactly("VENDOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needReason(reason); err != nil {
				return err
			}
			if err := set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
				return c.Restore(ctx, args[0], reason)
			}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s may come in again\n", args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record (required)")
	return cmd
}
