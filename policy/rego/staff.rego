# Staff: what each role may do on the gateway itself.
#
# Operations are named gateway.NOUN.VERB; a * at the end stands for every verb. A person with several roles may do what any
# of them may. `deny` beats `allow`, and what no rule mentions is denied.
package sekisho.staff

import data.sekisho.lib

roles := {
	"admin": {
		"gateway.directory.apply",
		"gateway.directory.get",
		"gateway.directory.plan",
		"gateway.enrolment.list",
		"gateway.invite.create",
		"gateway.enrolment.release",
		"gateway.enrolment.revoke",
		"gateway.vendor.list",
		"gateway.vendor.show",
		"gateway.vendor.cut-off",
		"gateway.vendor.restore",
		"gateway.session.*",
		"gateway.policy.*",
		"gateway.request.list",
		"gateway.target.certify",
		"gateway.break-glass.list",
		"gateway.break-glass.show",
		"gateway.break-glass.end",
		"gateway.break-glass.review",
	},
	"approver": {
		"gateway.request.list",
		"gateway.request.approve",
		"gateway.request.deny",
		"gateway.lease.list",
		"gateway.lease.revoke",
		"gateway.session.list",
		"gateway.session.show",
		"gateway.break-glass.list",
		"gateway.break-glass.show",
		"gateway.break-glass.review",
	},
	"investigator": {
		"gateway.session.list",
		"gateway.session.show",
		"gateway.session.end",
		"gateway.session.watch",
		"gateway.recording.read",
		"gateway.audit.search",
		"gateway.evidence.export",
		"gateway.break-glass.list",
		"gateway.break-glass.show",
		"gateway.break-glass.end",
		"gateway.break-glass.review",
		"gateway.policy.explain",
		"gateway.policy.history",
		"gateway.policy.show",
	},
	"auditor": {
		"gateway.audit.search",
		"gateway.session.list",
		"gateway.session.show",
		"gateway.recording.read",
		"gateway.break-glass.list",
		"gateway.break-glass.show",
		"gateway.break-glass.review",
		"gateway.policy.explain",
		"gateway.policy.history",
		"gateway.policy.show",
	},
}

allow if {
	some role in input.person.roles
	input.action.operation in roles[role]
}

allow if {
	some role in input.person.roles
	some operation in roles[role]
	endswith(operation, ".*")
	startswith(input.action.operation, trim_suffix(operation, "*"))
}

# Everybody has their own pages and keys.
allow if startswith(input.action.operation, "gateway.self.")

# Whom approvals.yaml names may declare an emergency; the gateway looks that up.
allow if input.action.operation == "gateway.break-glass.declare"

# In an emergency that they have declared, people of the company work on targets with every right, fully recorded.
allow if {
	input.facts.break_glass == "declared"
	input.facts.target == "unlisted"
}

# What somebody may do on the gateway itself while their emergency lasts, as far as their roles go: look, end and shut out.
# Policy, approvals, leases, holds, retention, the directory and enrolments are for others, so that an emergency never
# enlarges itself. The gateway holds this by itself, too.
in_an_emergency := {
	"gateway.audit.search",
	"gateway.break-glass.end",
	"gateway.break-glass.list",
	"gateway.break-glass.show",
	"gateway.directory.get",
	"gateway.recording.read",
	"gateway.session.end",
	"gateway.session.list",
	"gateway.session.show",
	"gateway.session.watch",
	"gateway.vendor.cut-off",
	"gateway.vendor.list",
	"gateway.vendor.show",
}

deny contains lib.reason(
	"emergency-changes-nothing", "",
	"While your emergency access lasts you cannot do this; end it first, or ask a colleague.",
	"緊急アクセスの間はこの操作を行えません。先に終了するか、別の担当者に依頼してください。",
) if {
	input.facts.break_glass == "declared"
	input.facts.target == "gateway"
	not input.action.operation in in_an_emergency
	not startswith(input.action.operation, "gateway.self.")
}

# Nobody answers a request of their own or of their own vendor. The gateway puts who asked into the target's labels.
deny contains lib.reason(
	"own-request", "",
	"Somebody else has to answer a request of your own.",
	"自分の申請は別の人が承認する必要があります。",
) if {
	input.action.operation in {"gateway.request.approve", "gateway.request.deny"}
	input.target.labels.requester == input.person.id
}

deny contains lib.reason(
	"own-vendor-request", "",
	"Somebody of another vendor has to answer this request.",
	"この申請は別の委託先の人が承認する必要があります。",
) if {
	input.action.operation in {"gateway.request.approve", "gateway.request.deny"}
	input.target.labels.vendor == input.person.vendor
}
