package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/gateway/console"
	"github.com/sekisho/sekisho/gateway/directory"
)

func applyCommand(set *settings) *cobra.Command {
	var file, reason string
	var yes bool
	cmd := &cobra.Command{
		Use:   "apply -f directory.yaml",
		Short: "put a directory in force: vendors, people, targets",
		Long: `Reads a directory strictly, shows what would change, asks, and puts it in force: all or nothing. In a folder whose
gateway has no directory yet, its owner applies the first one through the folder's socket.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("which file? sekisho apply -f directory.yaml")
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return apply(cmd, set, file, text, reason, yes)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the directory in YAML (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record (required)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func apply(cmd *cobra.Command, set *settings, file string, text []byte, reason string, yes bool) error {
	first, folder, err := set.first(cmd.Context())
	if err != nil {
		return err
	}
	if first {
		if reason == "" {
			reason = "first directory"
		}
		plan, err := folder.ApplyDirectory(cmd.Context(), text, reason)
		if err != nil {
			return placed(file, err)
		}
		return showPlan(cmd, set, plan, "in force as version %d\n")
	}
	if err := needReason(reason); err != nil {
		return err
	}
	return set.withClient(cmd, func(ctx context.Context, c *console.Client) error {
		plan, err := c.PlanDirectory(ctx, text)
		if err != nil {
			return placed(file, err)
		}
		if len(plan.Changes) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "nothing to change")
			return nil
		}
		if !yes {
			if err := showPlan(cmd, set, plan, "this would become version %d\n"); err != nil {
				return err
			}
			if !confirmed(cmd) {
				return errors.New("nothing was changed")
			}
		}
		applied, err := c.ApplyDirectory(ctx, text, reason, plan.Base)
		if err != nil {
			return placed(file, err)
		}
		if !yes {
			fmt.Fprintf(cmd.OutOrStdout(), "in force as version %d\n", applied.Number)
			return nil
		}
		return showPlan(cmd, set, applied, "in force as version %d\n")
	})
}

// placed names the file in errors that the gateway found in what it was sent, which it knows as directory.yaml.
func placed(file string, err error) error {
	var problem *console.Problem
	if !errors.As(err, &problem) || problem.Status != http.StatusUnprocessableEntity {
		return fmt.Errorf("%s: %w", file, err)
	}
	lines := strings.Split(problem.Detail, "\n")
	for i, line := range lines {
		if place, ok := strings.CutPrefix(line, "directory.yaml:"); ok {
			lines[i] = file + ":" + place
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}

func showPlan(cmd *cobra.Command, set *settings, plan console.DirectoryPlan, last string) error {
	if set.json {
		return set.printer(cmd).row(plan)
	}
	for _, change := range plan.Changes {
		fmt.Fprintln(cmd.OutOrStdout(), changeLine(change))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), last, plan.Number)
	return err
}

func changeLine(c directory.Change) string {
	switch {
	case c.Before == "":
		return fmt.Sprintf("+ %s: %s", c.Path, c.After)
	case c.After == "":
		return fmt.Sprintf("- %s: %s", c.Path, c.Before)
	}
	return fmt.Sprintf("~ %s: %s -> %s", c.Path, c.Before, c.After)
}

func confirmed(cmd *cobra.Command) bool {
	fmt.Fprint(cmd.ErrOrStderr(), "apply? [y/N] ")
	var answer string
	fmt.Fscanln(cmd.InOrStdin(), &answer)
	return answer == "y" || answer == "yes"
}
