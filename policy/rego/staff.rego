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
	},
	"approver": {
		"gateway.request.list",
		"gateway.request.approve",
		"gateway.request.deny",
		"gateway.lease.list",
		"gateway.lease.revoke",
		"gateway.session.list",
		"gateway.session.show",
	},
	"investigator": {
		"gateway.session.list",
		"gateway.session.show",
		"gateway.session.end",
		"gateway.recording.read",
		"gateway.audit.search",
		"gateway.evidence.export",
	},
	"auditor": {
		"gateway.audit.search",
		"gateway.session.list",
		"gateway.session.show",
		"gateway.recording.read",
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
