package sekisho.guardrail_test

import data.sekisho.guardrail
import data.sekisho.lib_test

asked := lib_test.contractor("maintenance", "read")

ids := {reason.id | some reason in guardrail.deny}

test_a_contractor_with_every_control_met_passes if {
	guardrail.allow with input as asked
	count(guardrail.deny) == 0 with input as asked
}

test_every_unmet_control_refuses_and_says_why if {
	every unmet in [
		{"fact": {"certificate": "missing"}, "reason": "certificate-missing"},
		{"fact": {"certificate": "expired"}, "reason": "certificate-expired"},
		{"fact": {"window": "closed"}, "reason": "outside-hours"},
		{"fact": {"window": "missing"}, "reason": "no-window"},
		{"fact": {"network": "outside"}, "reason": "outside-network"},
		{"fact": {"network": "missing"}, "reason": "no-network"},
		{"fact": {"mfa": "missing"}, "reason": "mfa-missing"},
		{"fact": {"mfa": "expired"}, "reason": "mfa-expired"},
		{"fact": {"mfa": "unverified"}, "reason": "mfa-unverified"},
		{"fact": {"target": "unlisted"}, "reason": "target-not-yours"},
		{"fact": {"contract": "ended"}, "reason": "contract-ended"},
		{"fact": {"contract": "future"}, "reason": "contract-not-begun"},
		{"fact": {"contract": "missing"}, "reason": "contract-missing"},
		{"fact": {"cut_off": true}, "reason": "cut-off"},
	] {
		changed := lib_test.but(asked, {"facts": unmet.fact})
		not guardrail.allow with input as changed
		unmet.reason in ids with input as changed
	}
}

test_a_fact_nobody_has_heard_of_refuses if {
	every fact in ["certificate", "mfa", "contract", "window", "network", "target"] {
		not guardrail.allow with input as lib_test.but(asked, {"facts": {fact: "surprise"}})
	}
}

test_a_machine_is_refused if {
	not guardrail.allow with input as lib_test.but(asked, {"auth": {"kind": "machine"}})
}

test_a_one_time_password_is_not_enough if {
	not guardrail.allow with input as lib_test.but(asked, {"auth": {"mfa": {"method": "totp"}}})
}

test_an_unknown_operation_is_refused if {
	not guardrail.allow with input as lib_test.but(asked, {"action": {"operation": "ssh.teleport"}})
}

test_an_operation_on_another_kind_of_target_is_refused if {
	not guardrail.allow with input as lib_test.but(asked, {"action": {"operation": "http.request"}})
}

test_the_admin_right_is_never_for_a_contractor if {
	changed := lib_test.but(asked, {"right": "admin", "cell": "always"})
	"admin-never" in ids with input as changed
}

test_own_pages_open_at_any_hour if {
	changed := lib_test.but(asked, {
		"action": {"operation": "gateway.self.sessions"},
		"target": {"name": "@gateway", "kind": "gateway"},
		"facts": {"target": "gateway", "window": "closed"},
	})
	guardrail.allow with input as changed
	count(guardrail.deny) == 0 with input as changed
}

test_staff_operations_are_not_for_contractors if {
	changed := lib_test.but(asked, {
		"action": {"operation": "gateway.request.approve"},
		"target": {"name": "@gateway", "kind": "gateway"},
		"facts": {"target": "gateway"},
	})
	not guardrail.allow with input as changed
}

test_staff_reach_the_gateway_and_nothing_else if {
	staff := lib_test.employee(["admin"], "gateway.directory.apply")
	guardrail.allow with input as staff
	count(guardrail.deny) == 0 with input as staff
	elsewhere := lib_test.but(staff, {
		"target": {"name": "db1", "kind": "ssh"},
		"action": {"operation": "ssh.exec"},
		"facts": {"target": "unlisted"},
	})
	not guardrail.allow with input as elsewhere
	"staff-gateway-only" in ids with input as elsewhere
}

# in_emergency is a member of staff on a target, with an emergency declared.
in_emergency := lib_test.but(lib_test.employee(["admin"], "ssh.exec"), {
	"target": {"name": "db1", "kind": "ssh", "login": "root"},
	"facts": {"target": "unlisted", "break_glass": "declared"},
})

test_staff_reach_a_target_in_an_emergency_they_declared if {
	guardrail.allow with input as in_emergency
	count(guardrail.deny) == 0 with input as in_emergency
	guardrail.allow with input as lib_test.but(in_emergency, {"action": {"operation": "ssh.connect"}})
	https := lib_test.but(in_emergency, {"action": {"operation": "http.request"}, "target": {"kind": "https"}})
	guardrail.allow with input as https
}

test_an_emergency_needs_every_proof_of_who_it_is if {
	every lost in [
		{"facts": {"certificate": "expired"}},
		{"facts": {"certificate": "missing"}},
		{"facts": {"mfa": "expired"}},
		{"facts": {"mfa": "missing"}},
		{"facts": {"mfa": "unverified"}},
		{"facts": {"cut_off": true}},
		{"facts": {"break_glass": "none"}},
		{"facts": {"break_glass": "surprise"}},
		{"auth": {"mfa": {"method": "totp"}}},
		{"auth": {"kind": "machine"}},
		{"target": {"kind": "https"}},
		{"action": {"operation": "ssh.teleport"}},
	] {
		not guardrail.allow with input as lib_test.but(in_emergency, lost)
	}
}

test_an_emergency_is_not_for_contractors if {
	unlisted := lib_test.but(asked, {"facts": {"target": "unlisted", "break_glass": "declared"}})
	not guardrail.allow with input as unlisted
	"target-not-yours" in ids with input as unlisted
	root := lib_test.but(asked, {"right": "admin", "facts": {"break_glass": "declared"}})
	"admin-never" in ids with input as root
	closed := lib_test.but(asked, {"facts": {"window": "closed", "break_glass": "declared"}})
	not guardrail.allow with input as closed
}

test_every_operation_of_a_contractor_has_its_kind_of_target if {
	every operation, kind in {
		"ssh.connect": "ssh", "ssh.exec": "ssh", "ssh.shell": "ssh", "ssh.line": "ssh",
		"sftp.open": "ssh", "sftp.stat": "ssh", "sftp.realpath": "ssh", "sftp.readlink": "ssh", "sftp.list": "ssh",
		"sftp.setstat": "ssh", "sftp.mkdir": "ssh", "sftp.remove": "ssh", "sftp.rmdir": "ssh", "sftp.rename": "ssh",
		"sftp.symlink": "ssh", "sftp.hardlink": "ssh",
		"tcp.connect": "tcp", "tcp.forward": "tcp",
		"http.connect": "https", "http.request": "https",
	} {
		changed := lib_test.but(asked, {"action": {"operation": operation}, "target": {"kind": kind}})
		lets_in(changed)
		every other in {"ssh", "https", "tcp", "gateway", ""} - {kind} {
			not lets_in(lib_test.but(changed, {"target": {"kind": other}}))
		}
	}
}

lets_in(changed) if guardrail.allow with input as changed

test_staff_never_pass_for_contractors if {
	not guardrail.allow with input as lib_test.but(asked, {"person": {"staff": true}})
}

# own_pages is a contractor at the gateway itself.
own_pages := lib_test.but(asked, {
	"action": {"protocol": "gateway", "operation": "gateway.self.login"},
	"target": {"name": "@gateway", "kind": "gateway"},
	"facts": {"target": "gateway"},
})

test_own_pages_need_every_control_but_the_hours if {
	lets_in(own_pages)
	every lost in [
		{"auth": {"kind": "machine"}},
		{"auth": {"mfa": {"method": "totp"}}},
		{"facts": {"certificate": "expired"}},
		{"facts": {"mfa": "expired"}},
		{"facts": {"contract": "ended"}},
		{"facts": {"network": "outside"}},
		{"facts": {"target": "unlisted"}},
		{"facts": {"cut_off": true}},
		{"action": {"operation": "gateway.selfish.login"}},
	] {
		not lets_in(lib_test.but(own_pages, lost))
	}
}

test_staff_need_every_control if {
	at_work := lib_test.employee(["admin"], "gateway.directory.apply")
	lets_in(at_work)
	every lost in [
		{"auth": {"kind": "machine"}},
		{"auth": {"mfa": {"method": "totp"}}},
		{"facts": {"certificate": "expired"}},
		{"facts": {"mfa": "expired"}},
		{"facts": {"target": "unlisted"}},
		{"action": {"operation": "ssh.exec"}},
	] {
		not lets_in(lib_test.but(at_work, lost))
	}
}

test_a_missing_second_factor_is_not_also_of_the_wrong_kind if {
	changed := lib_test.but(asked, {"facts": {"mfa": "missing"}, "auth": {"mfa": {"method": ""}}})
	ids == {"mfa-missing"} with input as changed
}

tables := {reason.id: reason.table | some reason in guardrail.deny}

test_refusals_of_staff_and_of_admin_name_their_tables if {
	elsewhere := lib_test.but(lib_test.employee(["admin"], "ssh.exec"), {"facts": {"target": "unlisted"}})
	tables["staff-gateway-only"] == "C-5" with input as elsewhere
	tables["admin-never"] == "" with input as lib_test.but(asked, {"right": "admin"})
}
