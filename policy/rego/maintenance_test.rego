package sekisho.maintenance_test

import data.sekisho.lib_test
import data.sekisho.maintenance

# M-2
test_the_row_of_the_matrix if {
	every right, answer in {"read": "allow", "write": "approval", "execute": "allow", "delete": "deny", "admin": "deny"} {
		asked := lib_test.contractor("maintenance", right)
		lib_test.answer(maintenance) == answer with input as asked
	}
}

test_a_refusal_names_row_and_right if {
	some reason in maintenance.deny with input as lib_test.contractor("maintenance", "delete")
	reason.table == "M-2"
	reason.id == "maintenance-delete-never"
}

test_an_exception_in_the_matrix_counts if {
	asked := lib_test.but(lib_test.contractor("maintenance", "delete"), {"cell": "approval", "override": "cleanup"})
	lib_test.answer(maintenance) == "approval" with input as asked
}

test_an_unknown_cell_is_refused if {
	asked := lib_test.but(lib_test.contractor("maintenance", "read"), {"cell": "sometimes"})
	lib_test.answer(maintenance) == "deny" with input as asked
}

test_every_cell_is_answered_as_it_says if {
	every cell, answer in {"always": "allow", "approval": "approval", "never": "deny"} {
		asked := lib_test.but(lib_test.contractor("maintenance", "read"), {"cell": cell})
		lib_test.answer(maintenance) == answer with input as asked
	}
}
