package sekisho.temporary_test

import data.sekisho.lib_test
import data.sekisho.temporary

# M-5
test_the_row_of_the_matrix if {
	every right, answer in {"read": "approval", "write": "deny", "execute": "approval", "delete": "deny", "admin": "deny"} {
		asked := lib_test.contractor("temporary", right)
		lib_test.answer(temporary) == answer with input as asked
	}
}

test_a_refusal_names_row_and_right if {
	some reason in temporary.deny with input as lib_test.contractor("temporary", "delete")
	reason.table == "M-5"
	reason.id == "temporary-delete-never"
}

test_an_exception_in_the_matrix_counts if {
	asked := lib_test.but(lib_test.contractor("temporary", "delete"), {"cell": "approval", "override": "cleanup"})
	lib_test.answer(temporary) == "approval" with input as asked
}

test_an_unknown_cell_is_refused if {
	asked := lib_test.but(lib_test.contractor("temporary", "read"), {"cell": "sometimes"})
	lib_test.answer(temporary) == "deny" with input as asked
}

test_every_cell_is_answered_as_it_says if {
	every cell, answer in {"always": "allow", "approval": "approval", "never": "deny"} {
		asked := lib_test.but(lib_test.contractor("temporary", "read"), {"cell": cell})
		lib_test.answer(temporary) == answer with input as asked
	}
}
