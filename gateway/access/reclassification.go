package access

import (
	"fmt"
	"strings"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
)

// masked stands in a line for a secret; what was there is not kept.
const masked = "MASKED"

// Reclassify tells what kept command lines would need under rev's catalogue, for policy.SimulateOptions. A line that was not
// kept word for word, or whose target is gone, cannot be told.
func (d *Door) Reclassify(rev *policy.Revision) (func(in *policy.Input) (action policy.Action, capped, ok bool), error) {
	catalogue, err := command.ParseCatalogue("commands.yaml", rev.Commands())
	if err != nil {
		return nil, fmt.Errorf("command catalogue of policy revision %d: %w", rev.Number(), err)
	}
	return func(in *policy.Input) (policy.Action, bool, bool) {
		action := in.Action
		if action.Operation == "ssh.line" {
			return action, false, false // what it meant depended on its shell
		}
		if action.Operation != "ssh.exec" {
			return action, false, true
		}
		target, known := d.cfg.Directory.Current().Target(in.Target.Name)
		if !known || target.SSH == nil || len(action.Command) >= maxCommand || strings.Contains(action.Command, masked) {
			return action, false, false
		}
		c := classified{action: policy.Action{Protocol: action.Protocol, Operation: action.Operation}}
		d.classifyLine(&c, catalogue, action.Command)
		return c.action, c.action.Opaque && in.BreakGlass == nil && target.Opaque != directory.OpaqueExecute, true
	}, nil
}
