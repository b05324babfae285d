# The guardrail: the controls that hold for everybody (C-1…C-5, V-6, I-1). It is asked first and for every vendor of a
# chain. A vendor type's file can narrow what it lets through and never open what it shuts.
#
# Each fact is one word, computed by the gateway:
#
#   certificate  valid | missing | expired                         C-1
#   mfa          fresh | missing | expired | unverified            C-4  (expired: older than mfa_max_age in matrix.yaml)
#   contract     running | missing | future | ended                V-7
#   window       open | closed | missing                           C-2  (missing: the vendor has no window)
#   network      inside | outside | missing                        C-3  (of the person's own vendor, for the whole chain)
#   target       listed | unlisted | gateway                       C-5
#   break_glass  none | declared                                   an emergency that a member of staff has declared
#   cut_off      true | false                                      I-1
#
# Contract, window and network are `exempt` for staff.
package sekisho.guardrail

import data.sekisho.lib

# What contractors may do at all, and on which kind of target.
operations := {
	"ssh.connect": "ssh",
	"ssh.exec": "ssh",
	"ssh.shell": "ssh",
	"ssh.line": "ssh",
	"sftp.open": "ssh",
	"sftp.stat": "ssh",
	"sftp.realpath": "ssh",
	"sftp.readlink": "ssh",
	"sftp.list": "ssh",
	"sftp.setstat": "ssh",
	"sftp.mkdir": "ssh",
	"sftp.remove": "ssh",
	"sftp.rmdir": "ssh",
	"sftp.rename": "ssh",
	"sftp.symlink": "ssh",
	"sftp.hardlink": "ssh",
	"tcp.connect": "tcp",
	"tcp.forward": "tcp",
	"http.connect": "https",
	"http.request": "https",
}

# A contractor on one of their own targets: every control is met.
allow if {
	input.person.staff == false
	input.auth.kind == "human"
	input.facts.certificate == "valid"
	input.auth.mfa.method == "webauthn"
	input.facts.mfa == "fresh"
	input.facts.contract == "running"
	input.facts.window == "open"
	input.facts.network == "inside"
	input.facts.target == "listed"
	input.facts.cut_off == false
	operations[input.action.operation] == input.target.kind
}

# A contractor on the gateway itself: their own pages and keys, at any hour.
allow if {
	input.person.staff == false
	input.auth.kind == "human"
	input.facts.certificate == "valid"
	input.auth.mfa.method == "webauthn"
	input.facts.mfa == "fresh"
	input.facts.contract == "running"
	input.facts.network == "inside"
	input.facts.target == "gateway"
	input.facts.cut_off == false
	startswith(input.action.operation, "gateway.self.")
}

# The company's own people, on the gateway only. What each role may do there stands in staff.rego.
allow if {
	input.person.staff == true
	input.auth.kind == "human"
	input.facts.certificate == "valid"
	input.auth.mfa.method == "webauthn"
	input.facts.mfa == "fresh"
	input.facts.target == "gateway"
	startswith(input.action.operation, "gateway.")
}

# A member of staff on a target, in an emergency that they have declared. Who may declare one stands in approvals.yaml, and
# the gateway holds to that, to its hour and to the reviews by itself, whatever stands here.
allow if {
	input.person.staff == true
	input.auth.kind == "human"
	input.facts.certificate == "valid"
	input.auth.mfa.method == "webauthn"
	input.facts.mfa == "fresh"
	input.facts.break_glass == "declared"
	input.facts.cut_off == false
	operations[input.action.operation] == input.target.kind
}

# From here on: why not.

# C-1
deny contains lib.reason(
	"certificate-missing", "C-1",
	"A client certificate is required (C-1).",
	"クライアント証明書が必要です（C-1）。",
) if input.facts.certificate == "missing"

deny contains lib.reason(
	"certificate-expired", "C-1",
	"Your certificate has expired; renew it and connect again (C-1).",
	"証明書の有効期限が切れています。更新してから接続し直してください（C-1）。",
) if input.facts.certificate == "expired"

# C-2
deny contains lib.reason(
	"outside-hours", "C-2",
	"It is outside your vendor's working hours (C-2).",
	"委託先の作業時間外です（C-2）。",
) if {
	input.facts.window == "closed"
	not on_gateway
}

deny contains lib.reason(
	"no-window", "C-2",
	"Your vendor has no working hours registered; ask an administrator (C-2).",
	"委託先の作業時間が登録されていません。管理者に連絡してください（C-2）。",
) if {
	input.facts.window == "missing"
	not on_gateway
}

# C-3
deny contains lib.reason(
	"outside-network", "C-3",
	"Your address is not in your vendor's networks (C-3).",
	"接続元アドレスが委託先の許可ネットワークに含まれていません（C-3）。",
) if input.facts.network == "outside"

deny contains lib.reason(
	"no-network", "C-3",
	"Your vendor has no networks registered; ask an administrator (C-3).",
	"委託先の許可ネットワークが登録されていません。管理者に連絡してください（C-3）。",
) if input.facts.network == "missing"

# C-4
deny contains lib.reason(
	"mfa-missing", "C-4",
	"A second factor is required; log in with your security key or passkey (C-4).",
	"多要素認証が必要です。セキュリティキーまたはパスキーでログインしてください（C-4）。",
) if input.facts.mfa == "missing"

deny contains lib.reason(
	"mfa-expired", "C-4",
	"Your second factor was given too long ago; log in again (C-4).",
	"多要素認証から時間が経ちすぎています。もう一度ログインしてください（C-4）。",
) if input.facts.mfa == "expired"

deny contains lib.reason(
	"mfa-unverified", "C-4",
	"Your security key did not verify you; log in again with its PIN or fingerprint (C-4).",
	"セキュリティキーで本人確認が行われていません。PINまたは指紋でログインし直してください（C-4）。",
) if input.facts.mfa == "unverified"

deny contains lib.reason(
	"mfa-method", "C-4",
	"This kind of second factor is not accepted; use a security key or passkey (C-4).",
	"この種類の多要素認証は使用できません。セキュリティキーまたはパスキーを使ってください（C-4）。",
) if {
	input.facts.mfa == "fresh"
	input.auth.mfa.method != "webauthn"
}

deny contains lib.reason(
	"not-a-person", "C-4",
	"Only people get in, not machines (C-4).",
	"人以外の接続は許可されていません（C-4）。",
) if input.auth.kind != "human"

# C-5
deny contains lib.reason(
	"target-not-yours", "C-5",
	"This target is not one of your vendor's (C-5).",
	"この接続先は委託先に割り当てられていません（C-5）。",
) if {
	input.facts.target == "unlisted"
	input.person.staff == false
}

deny contains lib.reason(
	"staff-gateway-only", "C-5",
	"Staff act on the gateway itself and on no other target, save in an emergency they have declared (C-5).",
	"社員が操作できるのはゲートウェイ自体だけです。緊急アクセスを宣言した場合を除きます（C-5）。",
) if {
	input.person.staff == true
	input.facts.break_glass != "declared"
	not on_gateway
}

# V-7
deny contains lib.reason(
	"contract-ended", "V-7",
	"Your vendor's contract has ended (V-7).",
	"委託契約が終了しています（V-7）。",
) if input.facts.contract == "ended"

deny contains lib.reason(
	"contract-not-begun", "V-7",
	"Your vendor's contract has not begun yet (V-7).",
	"委託契約がまだ始まっていません（V-7）。",
) if input.facts.contract == "future"

deny contains lib.reason(
	"contract-missing", "V-7",
	"Your vendor has no contract registered; ask an administrator (V-7).",
	"委託契約が登録されていません。管理者に連絡してください（V-7）。",
) if input.facts.contract == "missing"

# I-1
deny contains lib.reason(
	"cut-off", "I-1",
	"Your vendor's access has been cut off; contact the company (I-1).",
	"委託先のアクセスは遮断されています。発注元に連絡してください（I-1）。",
) if input.facts.cut_off == true

# The admin right, for any contractor. The gateway holds this by itself, too.
deny contains lib.reason(
	"admin-never", "",
	"Contractors never get the admin right (M-1…M-5).",
	"委託先に管理者権限は付与されません（M-1〜M-5）。",
) if {
	input.right == "admin"
	input.person.staff == false
}

on_gateway if input.facts.target == "gateway"
