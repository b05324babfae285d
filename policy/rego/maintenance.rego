# M-2 · Maintenance vendors · 保守委託
#
#   read ○   write △   execute ○   delete ×   admin ×
#
# The row is in matrix.yaml. Here `allow` opens, `approval` asks for a second person and `deny` refuses; deny beats
# approval, approval beats allow, and what no rule mentions is denied. Nothing here opens what guardrail.rego shuts.
package sekisho.maintenance

import data.sekisho.lib

type := {"id": "maintenance", "table": "M-2", "en": "Maintenance", "ja": "保守委託"}

allow if input.cell == "always"

approval contains lib.approval(type) if input.cell == "approval"

deny contains lib.never(type) if input.cell == "never"

# Rules of your own go below; a reason is a sentence or lib.reason(id, table, en, ja). Try them with
# `sekisho policy check` and `simulate`; `sekisho policy apply` puts them in force. For example:
#
#   deny contains "Dumps leave through the export page only." if lib.runs("pg_dump")
