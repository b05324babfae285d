package sekisho.operations_test

import data.sekisho.lib_test
import data.sekisho.operations

# M-3
test_the_row_of_the_matrix if {
	every right, answer in {"read": "allow", "write": "deny", "execute": "allow", "delete": "deny", "admin": "deny"} {
		asked := lib_test.contractor("operations", right)
		lib_test.answer(operations) == answer with input as asked
	}
}

test_a_refusal_names_row_and_right if {
	some reason in operations.deny with input as lib_test.contractor("operations", "delete")
	reason.table == "M-3"
	reason.id == "operations-delete-never"
}

test_an_exception_in_the_matrix_counts if {
	asked := lib_test.but(lib_test.contractor("operations", "delete"), {"cell": "approval", "override": "cleanup"})
	lib_test.answer(operations) == "approval" with input as asked
}

test_an_unknown_cell_is_refused if {
	asked := lib_test.but(lib_test.contractor("operations", "read"), {"cell": "sometimes"})
	lib_test.answer(operations) == "deny" with input as asked
}

test_every_cell_is_answered_as_it_says if {
	every cell, answer in {"always": "allow", "approval": "approval", "never": "deny"} {
		asked := lib_test.but(lib_test.contractor("operations", "read"), {"cell": cell})
		lib_test.answer(operations) == answer with input as asked
	}
}
