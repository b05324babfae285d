package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sekisho/sekisho/policy"
	"github.com/sekisho/sekisho/policy/command"
)

// What is decided is what can be kept: secrets masked, text that JSON holds, no more of it than an event has room for. What
// this changes in a resource is made good by a hash, so that no lease covers what it was not given for.
const (
	maxLine     = 64 << 10 // bytes of a command line; a longer one is refused
	maxCommand  = 16 << 10 // bytes of it that are decided and kept; what is longer is opaque
	maxAction   = 64 << 10 // bytes of an action as JSON
	maxResource = 4 << 10  // bytes of what an act on the gateway is about
)

// classifyLine turns a command line into the rights it needs.
func (d *Door) classifyLine(c *classified, catalogue *command.Catalogue, line string) {
	d.take(c, catalogue.Classify(line), line)
}

// take puts what a line was found to need into c.
func (d *Door) take(c *classified, res command.Result, line string) {
	hash := d.hash(line)
	c.line = legible(command.Mask(line), len(line)+1)
	c.label, c.why = LabelParsed, res.Why
	c.action.Command, c.action.Opaque, c.action.Needs = legible(c.line, maxCommand), res.Opaque, maskNeeds(res.Needs, line, hash)
	if len(line) > maxLine {
		c.shut = &lineTooLong
	}
	if !keepable(c.action) {
		c.action.Opaque, c.why = true, "it needs more than can be kept"
		c.action.Needs = []policy.Need{{Right: policy.Execute, Resource: hash}}
	}
	if c.action.Opaque {
		c.label = LabelRecorded
	}
}

// maskNeeds keeps secrets out of what is decided and recorded. A resource with a part of it changed would be another one, so
// the line's hash stands for it; for what is run it stands beside it.
func maskNeeds(needs []policy.Need, line, hash string) []policy.Need {
	out := make([]policy.Need, 0, len(needs)+1)
	bind := false
	for _, n := range needs {
		shown := legible(command.Mask(n.Resource), len(n.Resource)+1)
		switch {
		case n.Resource == command.Hash(line):
			shown = hash
		case shown != n.Resource && n.Right == policy.Execute:
			bind = true
		case shown != n.Resource:
			shown = hash
		}
		out = append(out, policy.Need{Right: n.Right, Resource: shown})
	}
	if last := (policy.Need{Right: policy.Execute, Resource: hash}); bind && !slices.Contains(out, last) {
		out = append(out, last)
	}
	return out
}

// hash names a line by its content. One that holds a secret is named by a keyed hash: nobody who reads it can try secrets
// on it.
func (d *Door) hash(line string) string {
	if command.Mask(line) == line {
		return command.Hash(line)
	}
	key := hmac.New(sha256.New, d.cfg.Recording.Signer.Seed())
	key.Write([]byte("sekisho command hash v1"))
	mac := hmac.New(sha256.New, key.Sum(nil))
	mac.Write([]byte(line))
	return "sha256:" + hex.EncodeToString(mac.Sum(nil))
}

// bound makes the action of a request that is too large for an event one that needs nothing, which policy denies.
func (c *classified) bound() {
	if !utf8.ValidString(c.action.Command) || !keepable(c.action) {
		c.action.Command, c.action.Needs = legible(c.action.Command, maxCommand), nil
	}
}

func keepable(action policy.Action) bool {
	object, err := compactJSON(action)
	return err == nil && len(object) <= maxAction
}

// legible is s as JSON can hold it, at most about n bytes of it.
func legible(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// What one decision may hold of leases.
const (
	maxLeases     = 64
	maxLeaseBytes = 32 << 10 // of their patterns
)

// pertinent are the leases that cover one of the input's needs, now or once they begin; of very many those that last
// longest.
func pertinent(all []policy.Lease, in *policy.Input) []policy.Lease {
	var mine []policy.Lease
	for _, l := range all {
		if l.Person == in.Person.ID && l.Target == in.Target.Name && in.Time.Now.Before(l.Until) && covers(l, in.Action.Needs) {
			mine = append(mine, l)
		}
	}
	if len(mine) <= 1 {
		return mine
	}
	slices.SortStableFunc(mine, func(a, b policy.Lease) int { return b.Until.Compare(a.Until) })
	size := 0
	for i, l := range mine {
		if size += len(l.Pattern); i == maxLeases || size > maxLeaseBytes {
			return mine[:i]
		}
	}
	return mine
}

func covers(l policy.Lease, needs []policy.Need) bool {
	return slices.ContainsFunc(needs, func(n policy.Need) bool { return policy.MatchLease(l, n) })
}

var lineNotShown = policy.Reason{ID: "line_not_shown",
	EN: "A command line longer than 16 KiB cannot be shown to an approver; put it into a script on the target.",
	JA: "16 KiB を超えるコマンド行は承認者に表示できません。対象上のスクリプトにしてください。"}

var lineTooLong = policy.Reason{ID: "line_too_long",
	EN: "The command line is longer than 64 KiB; put it into a script on the target.",
	JA: "コマンド行が 64 KiB を超えています。対象上のスクリプトにしてください。"}
