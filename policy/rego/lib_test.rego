# Inputs for the tests of every policy file, and the tests of lib.rego.
package sekisho.lib_test

import data.sekisho.lib

# contractor is somebody of this vendor type who asks for one right on their own target, with every control met. The cell is
# the one of matrix.yaml.
contractor(type, right) := {
	"person": {"id": "hanako", "vendor": "acme", "roles": [], "staff": false},
	"vendor": {"id": "acme", "type": type, "own": true, "risk": null},
	"chain": ["acme"],
	"auth": {"kind": "human", "mfa": {"method": "webauthn", "uv": true}},
	"source": {"ip": "203.0.113.9"},
	"target": {"name": "db1", "kind": "ssh", "login": "app", "labels": {}, "sensitivity": "", "enforcement": "parsed"},
	"action": {"protocol": "ssh", "operation": "ssh.exec", "command": "", "opaque": false},
	"facts": {
		"certificate": "valid", "mfa": "fresh", "contract": "running", "window": "open", "network": "inside",
		"target": "listed", "break_glass": "none", "cut_off": false,
	},
	"windows": ["office-hours"],
	"right": right,
	"resource": "/srv/app/file",
	"path": "/srv/app/file",
	"cell": data.matrix[type][right],
	"override": "",
}

# employee is somebody of the company with these roles who asks for an operation on the gateway.
employee(roles, operation) := object.union(contractor("consulting", "read"), {
	"person": {"id": "mika", "vendor": "@staff", "roles": roles, "staff": true},
	"vendor": {"id": "@staff", "type": "staff", "own": true, "risk": null},
	"target": {"name": "@gateway", "kind": "gateway", "login": "", "labels": {}, "sensitivity": "", "enforcement": ""},
	"action": {"protocol": "gateway", "operation": operation, "command": "", "opaque": false},
	"facts": {"target": "gateway", "contract": "exempt", "window": "exempt", "network": "exempt"},
	"right": "admin",
	"cell": "never",
})

# but changes an input.
but(asked, change) := object.union(asked, change)

# answer is what a vendor type's rules make of an input: the way the gateway reads them.
answer(package_rules) := "deny" if count(package_rules.deny) > 0

else := "approval" if count(package_rules.approval) > 0

else := "allow" if package_rules.allow

else := "deny"

test_reasons_are_in_both_languages if {
	reason := lib.never({"id": "t", "table": "M-9", "en": "Test", "ja": "試験"}) with input as contractor("consulting", "delete")
	reason == {
		"id": "t-delete-never", "table": "M-9",
		"en": "Test vendors may never delete (M-9).",
		"ja": "試験は削除できません（M-9）。",
	}
}

test_a_reason_names_the_exception_that_set_the_cell if {
	asked := but(contractor("development", "write"), {"override": "no-friday"})
	reason := lib.approval({"id": "t", "table": "M-9", "en": "Test", "ja": "試験"}) with input as asked
	reason.en == "Test vendors need an approval to write (M-9, override no-friday)."
}

test_touches_a_folder_and_what_is_below if {
	lib.touches("/srv/app") with input as contractor("consulting", "read")
	lib.touches("/srv/app/file") with input as contractor("consulting", "read")
	not lib.touches("/srv/ap") with input as contractor("consulting", "read")
}

test_touches_what_cannot_be_told if {
	lib.touches("/etc") with input as but(contractor("consulting", "read"), {"path": "?"})
}

test_runs_a_program_with_any_arguments if {
	asked := contractor("maintenance", "execute")
	lib.runs("pg_dump") with input as but(asked, {"resource": "pg_dump"})
	lib.runs("pg_dump") with input as but(asked, {"resource": "pg_dump shop"})
	lib.runs("pg_dump") with input as but(asked, {"resource": "/usr/bin/pg_dump shop"})
	lib.runs("pg_dump") with input as but(asked, {"resource": "./pg_dump"})
	lib.runs("systemctl restart") with input as but(asked, {"resource": "/bin/systemctl restart app"})
	not lib.runs("pg_dump") with input as but(asked, {"resource": "pg_dumpall"})
	not lib.runs("pg_dump") with input as but(asked, {"resource": "echo /usr/bin/pg_dump"})
	every right in ["read", "write", "delete", "admin"] {
		not lib.runs("pg_dump") with input as but(contractor("maintenance", right), {"resource": "pg_dump"})
		not lib.runs("pg_dump") with input as but(contractor("maintenance", right), {"resource": "pg_dump shop"})
	}
}
