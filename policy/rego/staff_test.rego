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
