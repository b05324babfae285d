package sekisho.consulting_test

import data.sekisho.consulting
import data.sekisho.lib_test

# M-4
test_the_row_of_the_matrix if {
	every right, answer in {"read": "allow", "write": "deny", "execute": "deny", "delete": "deny", "admin": "deny"} {
		asked := lib_test.contractor("consulting", right)
		lib_test.answer(consulting) == answer with input as asked
	}
}

test_a_refusal_names_row_and_right if {
	some reason in consulting.deny with input as lib_test.contractor("consulting", "delete")
	reason.table == "M-4"
	reason.id == "consulting-delete-never"
}

test_an_exception_in_the_matrix_counts if {
	asked := lib_test.but(lib_test.contractor("consulting", "delete"), {"cell": "approval", "override": "cleanup"})
	lib_test.answer(consulting) == "approval" with input as asked
}

test_an_unknown_cell_is_refused if {
	asked := lib_test.but(lib_test.contractor("consulting", "read"), {"cell": "sometimes"})
	lib_test.answer(consulting) == "deny" with input as asked
}

test_every_cell_is_answered_as_it_says if {
	every cell, answer in {"always": "allow", "approval": "approval", "never": "deny"} {
		asked := lib_test.but(lib_test.contractor("consulting", "read"), {"cell": cell})
		lib_test.answer(consulting) == answer with input as asked
	}
}
