package access

import (
	"fmt"
	"strings"

	"github.com/sekisho/sekisho/policy"
)

// Refusal is the answer to somebody who may not do what they asked. It says why, and with an approval cell which request
// was filed.
type Refusal struct {
	Effect   policy.Effect // Deny or Approval
	Reasons  []policy.Reason
	Needs    []policy.NeedEffect
	Decision string // d-…
	Request  string // r-…, "" unless a request waits for an approver
	Watch    string // s-…, "" unless this session has to be watched and is not
	Waits    bool   // what was asked waits for the answer by itself
}

func (r *Refusal) Error() string {
	why := make([]string, 0, len(r.Reasons))
	for _, reason := range r.Reasons {
		why = append(why, reason.EN)
	}
	return fmt.Sprintf("%s: %s (decision %s)", r.verb("en"), strings.Join(why, " "), r.Decision)
}

// Message is the text for the person who was refused, several lines without a trailing newline: what, why with the table
// ids, the right that was missing, the decision and what to do. lang is "ja" or anything else for English.
func (r *Refusal) Message(lang string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sekisho: %s", r.verb(lang))
	for _, reason := range r.Reasons {
		text := reason.EN
		if lang == "ja" && reason.JA != "" {
			text = reason.JA
		}
		fmt.Fprintf(&b, "\n  %s", text)
		if reason.Table != "" && !strings.Contains(text, reason.Table) {
			fmt.Fprintf(&b, " (%s)", reason.Table)
		}
	}
	for _, need := range r.Needs {
		if need.Effect == policy.Allow {
			continue
		}
		fmt.Fprintf(&b, "\n  %s: %s  %s", word(lang, "right", "権限"), need.Right, need.Resource)
	}
	if r.Request != "" {
		fmt.Fprintf(&b, "\n  %s: %s", word(lang, "request", "申請"), r.Request)
		next := word(lang, "Waiting for an approver; run it again once it is approved.",
			"承認待ちです。承認されたらもう一度実行してください。")
		if r.Waits {
			next = word(lang, "Waiting for an approver; it goes on once it is approved. Ctrl-C cancels.",
				"承認待ちです。承認されると続行します。Ctrl-C で取り消せます。")
		}
		fmt.Fprintf(&b, "\n  %s", next)
	}
	if r.Watch != "" {
		fmt.Fprintf(&b, "\n  %s", word(lang, "Ask the company to watch: sekisho session watch ", "担当者に監視を依頼してください: sekisho session watch ")+r.Watch)
		if r.Waits {
			fmt.Fprintf(&b, "\n  %s", word(lang, "Waiting for somebody of the company; it goes on once they watch. Ctrl-C cancels.",
				"担当者の監視を待っています。監視が始まると続行します。Ctrl-C で取り消せます。"))
		}
	}
	if r.Decision != "" {
		fmt.Fprintf(&b, "\n  %s: %s", word(lang, "decision", "判定"), r.Decision)
	}
	return b.String()
}

func (r *Refusal) verb(lang string) string {
	switch {
	case r.Request != "":
		return word(lang, "needs approval", "承認が必要です")
	case r.Watch != "":
		return word(lang, "has to be watched", "監視が必要です")
	}
	return word(lang, "refused", "拒否されました")
}

func word(lang, en, ja string) string {
	if lang == "ja" {
		return ja
	}
	return en
}

// Ended is the cause of a session's context: why the door ended it, in both languages.
type Ended struct {
	Reason string // short and stable, for events and lists
	EN, JA string // for the person

	ruling *ruling // the decision that ended it, if one did
}

func (e *Ended) Error() string { return "session ended: " + e.EN }

// Message is the line shown to the person whose session ends.
func (e *Ended) Message(lang string) string {
	if lang == "ja" {
		return "sekisho: セッションを終了します: " + e.JA
	}
	return "sekisho: session ended: " + e.EN
}

// notYours is the one answer for a target that does not exist, is not this vendor's or has no such login, so that nobody
// can list targets by asking.
var notYours = policy.Reason{
	ID: "target_not_yours", Table: "C-5",
	EN: "There is no such target, or it is not yours (C-5).",
	JA: "対象が存在しないか、許可されていません（C-5）。",
}

var ownRequest = policy.Reason{
	ID: "own_request",
	EN: "Nobody answers a request of their own or of their own vendor.",
	JA: "自分または自社の申請には回答できません。",
}

// notApprover and notVendorApprover tell approvers that policy or the directory names others.
func notApprover(routes []string) policy.Reason {
	named := strings.Join(routes, ", ")
	return policy.Reason{ID: "not_approver",
		EN: fmt.Sprintf("Others are named to answer this request (approvals.yaml: %s).", named),
		JA: fmt.Sprintf("この申請の承認者ではありません（approvals.yaml: %s）。", named)}
}

func notVendorApprover(vendor string) policy.Reason {
	return policy.Reason{ID: "not_approver",
		EN: fmt.Sprintf("You are not an approver of vendor %s.", vendor),
		JA: fmt.Sprintf("委託先 %s の承認者ではありません。", vendor)}
}

func noApprovers(need, able int) policy.Reason {
	return policy.Reason{ID: "no_approvers",
		EN: fmt.Sprintf("%d people have to approve this and only %d may; ask an administrator.", need, able),
		JA: fmt.Sprintf("%d名の承認が必要ですが、承認できる担当者は%d名です。管理者に連絡してください。", need, able)}
}

var allowedAnyway = policy.Reason{
	ID: "allowed_anyway",
	EN: "This is allowed without an approval.",
	JA: "承認なしで実行できます。",
}

var revokedReason = policy.Reason{
	ID: "revoked", Table: "C-1",
	EN: "Your access was revoked; ask for a new invitation (C-1).",
	JA: "アクセス権が取り消されました。新しい招待を依頼してください（C-1）。",
}

var notOpen = policy.Reason{
	ID: "session_over",
	EN: "The session is over.",
	JA: "セッションは終了しています。",
}
