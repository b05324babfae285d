package sekisho.development_test

import data.sekisho.development
import data.sekisho.lib_test

# M-1
test_the_row_of_the_matrix if {
	every right, answer in {"read": "allow", "write": "allow", "execute": "approval", "delete": "deny", "admin": "deny"} {
		asked := lib_test.contractor("development", right)
		lib_test.answer(development) == answer with input as asked
	}
}

test_a_refusal_names_row_and_right if {
	some reason in development.deny with input as lib_test.contractor("development", "delete")
	reason.table == "M-1"
	reason.id == "development-delete-never"
}

test_an_exception_in_the_matrix_counts if {
	asked := lib_test.but(lib_test.contractor("development", "delete"), {"cell": "approval", "override": "cleanup"})
	lib_test.answer(development) == "approval" with input as asked
}

test_an_unknown_cell_is_refused if {
	asked := lib_test.but(lib_test.contractor("development", "read"), {"cell": "sometimes"})
	lib_test.answer(development) == "deny" with input as asked
}

test_every_cell_is_answered_as_it_says if {
	every cell, answer in {"always": "allow", "approval": "approval", "never": "deny"} {
		asked := lib_test.but(lib_test.contractor("development", "read"), {"cell": cell})
		lib_test.answer(development) == answer with input as asked
	}
}
