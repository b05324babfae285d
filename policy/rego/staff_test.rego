package sekisho.staff_test

import data.sekisho.lib_test
import data.sekisho.staff

may(role, operation) if lib_test.answer(staff) == "allow" with input as lib_test.employee([role], operation)

test_an_admin_runs_the_gateway if {
	every operation in [
		"gateway.directory.apply", "gateway.invite.create", "gateway.enrolment.release", "gateway.enrolment.revoke",
		"gateway.vendor.cut-off", "gateway.vendor.restore", "gateway.session.end", "gateway.policy.apply", "gateway.request.list",
		"gateway.target.certify",
	] {
		may("admin", operation)
	}
}

test_an_admin_neither_approves_nor_reads_recordings if {
	not may("admin", "gateway.request.approve")
	not may("admin", "gateway.recording.read")
	not may("admin", "gateway.audit.search")
}

test_an_approver_answers_requests_and_ends_leases if {
	may("approver", "gateway.request.approve")
	may("approver", "gateway.request.deny")
	may("approver", "gateway.lease.revoke")
	not may("approver", "gateway.directory.apply")
	not may("approver", "gateway.session.end")
}

test_admins_and_investigators_watch_sessions_and_nobody_else if {
	every role in ["admin", "investigator"] {
		may(role, "gateway.session.watch")
	}
	every role in ["approver", "auditor"] {
		not may(role, "gateway.session.watch")
	}
}

test_an_investigator_finds_replays_and_exports if {
	may("investigator", "gateway.recording.read")
	may("investigator", "gateway.audit.search")
	may("investigator", "gateway.evidence.export")
	may("investigator", "gateway.session.end")
	not may("investigator", "gateway.vendor.cut-off")
}

test_an_auditor_only_looks if {
	may("auditor", "gateway.audit.search")
	may("auditor", "gateway.recording.read")
	not may("auditor", "gateway.evidence.export")
	not may("auditor", "gateway.session.end")
}

test_who_looks_into_things_reads_the_policy_and_never_changes_it if {
	every role in ["investigator", "auditor"] {
		every verb in ["explain", "history", "show"] {
			may(role, concat(".", ["gateway.policy", verb]))
		}
		every verb in ["plan", "apply", "confirm", "reject", "withdraw", "rollback", "simulate"] {
			not may(role, concat(".", ["gateway.policy", verb]))
		}
	}
	not may("approver", "gateway.policy.show")
}

test_a_star_stands_for_verbs_of_one_noun if {
	may("admin", "gateway.session.watch")
	not may("admin", "gateway.sessions.end")
	not may("admin", "gateway.session")
}

test_somebody_without_a_role_sees_their_own_pages_only if {
	asked := lib_test.employee([], "gateway.self.sessions")
	lib_test.answer(staff) == "allow" with input as asked
	lib_test.answer(staff) == "deny" with input as lib_test.employee([], "gateway.session.list")
	lib_test.answer(staff) == "deny" with input as lib_test.employee(["janitor"], "gateway.session.list")
}

test_several_roles_add_up if {
	asked := lib_test.employee(["auditor", "approver"], "gateway.request.approve")
	lib_test.answer(staff) == "allow" with input as asked
}

test_nobody_answers_their_own_request if {
	asked := lib_test.employee(["approver"], "gateway.request.approve")
	own := lib_test.but(asked, {"target": {"labels": {"requester": "mika"}}})
	lib_test.answer(staff) == "deny" with input as own
	other := lib_test.but(asked, {"target": {"labels": {"requester": "hanako", "vendor": "acme"}}})
	lib_test.answer(staff) == "allow" with input as other
	same := lib_test.but(asked, {"target": {"labels": {"requester": "hanako", "vendor": "@staff"}}})
	lib_test.answer(staff) == "deny" with input as same
}

# in_emergency is an operation of somebody with every role whose emergency lasts.
in_emergency(operation) := lib_test.but(
	lib_test.employee(["admin", "approver", "investigator", "auditor"], operation),
	{"facts": {"break_glass": "declared"}},
)

test_in_an_emergency_every_right_on_a_target if {
	every right in ["read", "write", "execute", "delete", "admin"] {
		asked := lib_test.but(in_emergency("ssh.exec"), {"right": right, "facts": {"target": "unlisted"}})
		lib_test.answer(staff) == "allow" with input as asked
		undeclared := lib_test.but(asked, {"facts": {"break_glass": "none"}})
		lib_test.answer(staff) == "deny" with input as undeclared
	}
}

test_an_emergency_never_enlarges_itself if {
	every operation in [
		"gateway.policy.apply", "gateway.policy.rollback", "gateway.policy.show", "gateway.request.approve",
		"gateway.request.deny", "gateway.request.list", "gateway.lease.revoke", "gateway.lease.list", "gateway.hold.add",
		"gateway.hold.remove", "gateway.retention.apply", "gateway.directory.apply", "gateway.directory.plan",
		"gateway.invite.create", "gateway.enrolment.release", "gateway.enrolment.revoke", "gateway.vendor.restore",
		"gateway.target.certify", "gateway.evidence.export", "gateway.break-glass.declare", "gateway.break-glass.review",
	] {
		lib_test.answer(staff) == "deny" with input as in_emergency(operation)
	}
}

test_in_an_emergency_one_looks_ends_and_shuts_out if {
	every operation in [
		"gateway.session.list", "gateway.session.end", "gateway.vendor.cut-off", "gateway.recording.read",
		"gateway.audit.search", "gateway.break-glass.show", "gateway.break-glass.end", "gateway.self.login",
	] {
		lib_test.answer(staff) == "allow" with input as in_emergency(operation)
	}
	asked := lib_test.but(in_emergency("gateway.session.end"), {"person": {"roles": []}})
	lib_test.answer(staff) == "deny" with input as asked
}

test_two_of_any_role_review_an_emergency if {
	every role in ["admin", "approver", "investigator", "auditor"] {
		may(role, "gateway.break-glass.list")
		may(role, "gateway.break-glass.show")
		may(role, "gateway.break-glass.review")
	}
	not may("approver", "gateway.break-glass.end")
	not may("auditor", "gateway.break-glass.end")
	may("admin", "gateway.break-glass.end")
	may("investigator", "gateway.break-glass.end")
	not may("janitor", "gateway.break-glass.review")
	may("janitor", "gateway.break-glass.declare")
}

test_only_a_star_stands_for_more_than_itself if {
	may("approver", "gateway.request.list")
	not may("approver", "gateway.request.listing")
	not may("approver", "gateway.request.list.all")
}

reasons := {reason.id: reason.table | some reason in staff.deny}

test_each_refusal_says_which_it_is if {
	every operation in ["gateway.request.approve", "gateway.request.deny"] {
		asked := lib_test.employee(["approver"], operation)
		own := lib_test.but(asked, {"target": {"labels": {"requester": "mika", "vendor": "acme"}}})
		reasons == {"own-request": ""} with input as own
		same := lib_test.but(asked, {"target": {"labels": {"requester": "hanako", "vendor": "@staff"}}})
		reasons == {"own-vendor-request": ""} with input as same
	}
	reasons == {"emergency-changes-nothing": ""} with input as in_emergency("gateway.policy.apply")
}

test_one_looks_at_requests_of_ones_own if {
	asked := lib_test.employee(["approver"], "gateway.request.list")
	own := lib_test.but(asked, {"target": {"labels": {"requester": "mika", "vendor": "@staff"}}})
	lib_test.answer(staff) == "allow" with input as own
}
