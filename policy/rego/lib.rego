# Words and questions that the policy files share.
#
# What a rule may look at, all of it computed by the gateway before the rules run:
#
#   input.right      read | write | execute | delete | admin, "" when somebody only connects
#   input.resource   what it is on: a path as written, a quoted command, "METHOD /path", or sha256:HEX of a whole line
#   input.path       the cleaned path of read, write and delete, "?" when it cannot be told (variables, wildcards, ..)
#   input.cell       always | approval | never: the cell of matrix.yaml for this vendor, target and path
#   input.override   the name of the exception in matrix.yaml that set the cell, "" for the matrix itself
#   input.person     {id, vendor, roles, staff}        staff is true for the company's own people
#   input.vendor     {id, type, risk, own}             own is false while a parent vendor is asked (V-6)
#   input.chain      vendor ids from the person's own to the head of the chain
#   input.auth       {kind, mfa: {method, uv}}
#   input.source     {ip}
#   input.target     {name, kind, login, labels, sensitivity, enforcement}
#   input.action     {protocol, operation, command, opaque}
#   input.facts      certificate, mfa, contract, window, network, target, break_glass, cut_off: see guardrail.rego
#   input.windows    names of the windows of windows.yaml that are open now, sorted
#
# There is no clock and no network here: time comes as open windows, addresses as a fact. A misspelt name is an error
# when the policy is loaded.
package sekisho.lib

# reason is what somebody who is refused gets to read, in both languages. Table is the requirement's id, or "".
reason(id, table, en, ja) := {"id": id, "table": table, "en": en, "ja": ja}

# never says that a cell is ×.
never(type) := reason(
	$"{type.id}-{input.right}-never", type.table,
	$"{type.en} vendors may never {verb.en} ({source(type)}).",
	$"{type.ja}は{verb.ja}できません（{source(type)}）。",
)

# approval says that a cell is △.
approval(type) := reason(
	$"{type.id}-{input.right}-approval", type.table,
	$"{type.en} vendors need an approval to {verb.en} ({source(type)}).",
	$"{type.ja}の{verb.ja}には承認が必要です（{source(type)}）。",
)

# source names where a cell came from: the matrix's row, or an exception.
source(type) := type.table if input.override == ""

source(type) := $"{type.table}, override {input.override}" if input.override != ""

verb := verbs[input.right]

verbs := {
	"read": {"en": "read", "ja": "読取"},
	"write": {"en": "write", "ja": "書込"},
	"execute": {"en": "execute", "ja": "実行"},
	"delete": {"en": "delete", "ja": "削除"},
	"admin": {"en": "administer", "ja": "管理者操作"},
}

# touches is true for a folder or file and everything below it, and for a path that cannot be told. For refusing.
touches(_) if input.path == "?"

touches(folder) if input.path == folder

touches(folder) if startswith(input.path, concat("", [folder, "/"]))

# runs is true when the command is this program, from whichever folder, with any arguments.
runs(program) if {
	input.right == "execute"
	bare == program
}

runs(program) if {
	input.right == "execute"
	startswith(bare, concat("", [program, " "]))
}

# bare is the command without its program's folder.
bare := concat(" ", array.concat([folders[count(folders) - 1]], array.slice(words, 1, count(words)))) if {
	words := split(input.resource, " ")
	folders := split(words[0], "/")
}
