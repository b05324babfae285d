package policy

import (
	"fmt"
	"slices"
)

// Reasons that Go itself gives; all others come from the rules.
var (
	reasonNoPolicy = Reason{ID: "no-policy",
		EN: "No policy is loaded, so nothing is allowed; ask an administrator.",
		JA: "ポリシーが読み込まれていないため、すべて拒否されます。管理者に連絡してください。"}
	reasonError = Reason{ID: "policy-error",
		EN: "The policy could not be evaluated; give the decision id to an administrator.",
		JA: "ポリシーを評価できませんでした。判定IDを管理者に伝えてください。"}
	reasonTooLarge = Reason{ID: "too-large",
		EN: "The request is too large to be decided; split it up.",
		JA: "要求が大きすぎて判定できません。分割してください。"}
	reasonMalformed = Reason{ID: "malformed",
		EN: "The request is incomplete or contradicts itself; give the decision id to an administrator.",
		JA: "要求に不備または矛盾があります。判定IDを管理者に伝えてください。"}
	reasonNoNeeds = Reason{ID: "no-needs",
		EN: "It is not known which rights this operation needs, so it is not allowed.",
		JA: "この操作に必要な権限が分からないため、許可されません。"}
	reasonSilent = Reason{ID: "not-allowed",
		EN: "No rule allows this.",
		JA: "これを許可する規則がありません。"}
)

func reasonUnknownRight(r Right) Reason {
	return Reason{ID: "unknown-right",
		EN: fmt.Sprintf("There is no right named %.32q.", string(r)),
		JA: fmt.Sprintf("%.32q という権限はありません。", string(r))}
}

func reasonUnknownType(v *Vendor) Reason {
	return Reason{ID: "unknown-vendor-type",
		EN: fmt.Sprintf("The vendor %.64s is of the unknown type %.32q.", v.ID, v.Type),
		JA: fmt.Sprintf("委託先 %.64s の種別 %.32q は登録されていません。", v.ID, v.Type)}
}

// reasonAdmin is the × in the admin column of every row, whatever a policy says.
func reasonAdmin(vendorType string) Reason {
	r := Reason{ID: "admin-never",
		EN: "Contractors never get the admin right.",
		JA: "委託先に管理者権限は付与されません。"}
	if i := slices.Index(VendorTypes, vendorType); i >= 0 {
		r.Table = fmt.Sprintf("M-%d", i+1)
		r.EN = fmt.Sprintf("Contractors never get the admin right (%s).", r.Table)
		r.JA = fmt.Sprintf("委託先に管理者権限は付与されません（%s）。", r.Table)
	}
	return r
}

// ofParent says that a reason is a parent vendor's (V-6).
func (r Reason) ofParent(id string) Reason {
	r.EN = fmt.Sprintf("%s This limit comes from the parent vendor %s (V-6).", r.EN, id)
	r.JA = fmt.Sprintf("%s再委託元 %s の制限です（V-6）。", r.JA, id)
	return r
}

// addReason appends a reason unless it is there.
func addReason(list []Reason, r Reason) []Reason {
	if slices.Contains(list, r) {
		return list
	}
	return append(list, r)
}
