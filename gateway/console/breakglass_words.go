package console

import "maps"

func init() { maps.Copy(words, emergencyWords) }

// emergencyWords are what the pages say about emergency access.
var emergencyWords = map[string]text{
	"emergency":       {"Emergency access", "緊急アクセス"},
	"emergency.title": {"Emergency access", "緊急アクセス"},
	"emergency.lead": {
		"For when there is no time for the usual way: every right on the targets, for an hour at most, fully recorded. Everybody is told, and two people review it.",
		"通常の手順では間に合わないときのための手段です。最長 1 時間、対象に対するすべての権限が使えます。すべて記録され、全員に通知され、後で二人が確認します。",
	},
	"emergency.warning": {
		"You confirm with your hardware security key. From then on everything you do is on record under this emergency.",
		"ハードウェアセキュリティキーで確認します。以後の操作はすべてこの緊急アクセスとして記録されます。",
	},
	"emergency.reason.hint":  {"What happened and what you have to do. It cannot be changed afterwards.", "何が起きたか、何をする必要があるか。後から変更できません。"},
	"emergency.incident":     {"Incident (optional)", "インシデント番号（任意）"},
	"emergency.minutes":      {"For how many minutes", "時間（分）"},
	"emergency.targets.hint": {"None chosen: all that the policy lists.", "選択しない場合は、ポリシーに定められたすべての対象です。"},
	"emergency.key.hint":     {"For ssh: it gets a certificate for as long as the emergency lasts. It need not be enrolled.", "ssh を使う場合。緊急アクセスの間だけ有効な証明書が発行されます。登録済みでなくても構いません。"},
	"emergency.declare":      {"Declare and confirm with the hardware key", "宣言してハードウェアキーで確認"},
	"emergency.declared": {
		"Your emergency access has begun. Everybody has been told.",
		"緊急アクセスを開始しました。全員に通知されています。",
	},
	"emergency.lasts":               {"lasts until", "有効期限"},
	"emergency.end":                 {"End it", "終了する"},
	"emergency.certificate":         {"SSH certificate", "SSH 証明書"},
	"emergency.certificate.file":    {"Download the certificate", "証明書をダウンロード"},
	"emergency.sessions":            {"Sessions", "セッション"},
	"emergency.ran":                 {"What was done", "実行された操作"},
	"emergency.reviews":             {"Reviews", "確認"},
	"emergency.review":              {"Review", "確認する"},
	"emergency.verdict":             {"Verdict", "判断"},
	"emergency.verdict.justified":   {"justified", "妥当"},
	"emergency.verdict.unjustified": {"not justified", "妥当でない"},
	"emergency.state.live":          {"live", "有効"},
	"emergency.state.unreviewed":    {"to be reviewed", "確認待ち"},
	"emergency.state.reviewed":      {"reviewed", "確認済み"},
	"emergency.alarm.live": {
		"Emergency access: %s reaches targets with every right.",
		"緊急アクセス: %s が対象に対するすべての権限を使用中です。",
	},
	"emergency.alarm.unreviewed": {
		"The emergency access of %s waits for two reviews.",
		"%s の緊急アクセスが二人の確認を待っています。",
	},
	"emergencies.title":       {"Emergency access", "緊急アクセス"},
	"emergencies.lead":        {"Every declared emergency. Two people who did not declare it review each.", "宣言された緊急アクセスの一覧です。それぞれ、宣言者以外の二人が確認します。"},
	"emergencies.none":        {"Nobody has ever declared one.", "宣言されたことはありません。"},
	"nav.emergencies":         {"Emergencies", "緊急アクセス"},
	"done.emergency-reviewed": {"Your review is on record.", "確認を記録しました。"},
	"done.emergency-ended":    {"The emergency access is over.", "緊急アクセスを終了しました。"},
}
