package sshproxy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/identity"
)

// notice is something the gateway itself tells a contractor.
type notice struct {
	en, ja string
}

// banner is the notice as shown before the login.
func (n notice) banner() string { return n.text() }

// text is the notice in lines, each with the gateway's name, so that nobody takes it for the target's words.
func (n notice) text() string {
	var b strings.Builder
	for _, lines := range []string{n.en, n.ja} {
		for line := range strings.Lines(lines) {
			fmt.Fprintf(&b, "sekisho: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	return b.String()
}

func noticef(en, ja string, args ...any) notice {
	return notice{fmt.Sprintf(en, args...), fmt.Sprintf(ja, args...)}
}

// forwardRefusal answers a forward to a target's SSH that is no jump through the gateway.
const forwardRefusal = "reach another target through the gateway itself: ssh -J gateway LOGIN@TARGET"

var (
	noticeTrouble = notice{"the gateway has a problem and let nobody in; try again, then tell its administrator",
		"ゲートウェイに問題が発生したため接続できません。再試行し、続く場合は管理者に連絡してください"}
	noticeCopy = notice{"this copy cannot be checked file by file: give one plain path, or use scp without -O, sftp or rsync",
		"このコピーはファイル単位で確認できません。単純なパスを一つ指定するか、-O なしの scp または sftp を使ってください"}
	noticeCopyPath = notice{"the target cannot tell what this path is: no such folder, or it offers no SFTP to ask",
		"対象がこのパスを解決できません。フォルダーが存在しないか、SFTP が利用できません"}
	noticeMalformed = notice{"the file transfer was broken off: what was sent does not follow its protocol",
		"プロトコルに従わないデータのため、ファイル転送を中断しました"}
	noticeSubsystem = notice{"subsystems are not available: run a command or a shell", "サブシステムは利用できません。コマンドかシェルを実行してください"}
	noticeAgent     = notice{"agent forwarding (-A) is not available yet; the session goes on without it",
		"エージェント転送 (-A) はまだ利用できません。転送なしで続行します"}
	noticeX11 = notice{"X11 forwarding (-X) is not available yet; the session goes on without it",
		"X11 転送 (-X) はまだ利用できません。転送なしで続行します"}
	noticeRemote = notice{"remote forwarding (-R) is not available yet; the session goes on without it",
		"リモート転送 (-R) はまだ利用できません。転送なしで続行します"}
	noticeAddress = notice{"there is no target in that name; write LOGIN+TARGET@gateway, for example app+db1@gateway",
		"対象を LOGIN+TARGET@gateway の形で指定してください（例: app+db1@gateway）"}
	noticeLine = notice{"this command line is too long, not UTF-8 or has a NUL in it, so it cannot be decided or recorded",
		"このコマンド行は長すぎるか、UTF-8 でないか、NUL を含むため、判定も記録もできません"}
	noticeTooMany    = notice{"you have too many connections open; close some", "接続数が上限に達しています。不要な接続を閉じてください"}
	noticeCancelled  = notice{"cancelled; nothing was started", "中止しました。何も開始していません"}
	noticeNotStarted = notice{"it is approved, but the target did not start it", "承認されましたが、対象が実行を開始しませんでした"}
	noticeWithdrawn  = notice{"the request was withdrawn", "申請を取り消しました"}
	noticeDenied     = notice{"the request was denied", "申請は却下されました"}
	noticeUnanswered = notice{"nobody answered the request in time", "期限までに回答がありませんでした"}
	noticeEndpoints  = notice{"this connection already forwards to too many targets; open another one",
		"転送先の対象が多すぎます。別の接続を開いてください"}
	noticeUngated = notice{"lines typed into this shell are recorded, not decided",
		"このシェルへの入力は記録されますが、行ごとの判定は行われません"}
	noticeNoGate = notice{"the shell did not show a prompt that the gateway knows, so its lines cannot be decided",
		"シェルがゲートウェイの認識できるプロンプトを表示しないため、行を判定できません"}
	noticeOver = notice{"this connection is closing; connect again", "この接続は終了します。再接続してください"}
)

// approveNotice tells where to confirm a login and with which code.
func approveNotice(url, code string) notice {
	return noticef("confirm this login in your browser within 2 minutes: %s\nand type this code there: %s",
		"2 分以内にブラウザでこのログインを確認してください: %s\n入力するコード: %s", url, code)
}

// loginNotice says why a certificate of ours was not accepted.
func loginNotice(err error, console string) notice {
	switch {
	case errors.Is(err, identity.ErrExpired):
		return noticef("your SSH certificate has expired or is not valid yet; get a new one with `sekisho login` or at %s",
			"SSH 証明書の有効期間外です。`sekisho login` または %s で新しい証明書を取得してください", console)
	case errors.Is(err, identity.ErrEmergencyOver):
		return notice{"this emergency access is over; declare it again with `sekisho break-glass`",
			"緊急アクセスは終了しています。`sekisho break-glass` で改めて宣言してください"}
	case errors.Is(err, identity.ErrRevoked):
		return notice{"your access was revoked; ask the person who invited you", "アクセスは取り消されています。招待した担当者に確認してください"}
	case errors.Is(err, identity.ErrWaiting), errors.Is(err, identity.ErrCertified):
		return notice{"your enrolment is not released yet; read your code to the second person",
			"登録はまだ承認されていません。もう一人の担当者にコードを伝えてください"}
	case errors.Is(err, identity.ErrPrincipals):
		return notice{"your SSH certificate does not name exactly one person; get a new one with `sekisho login`",
			"SSH 証明書がちょうど一人を示していません。`sekisho login` で取得し直してください"}
	case errors.Is(err, identity.ErrNotEnrolled):
		return notice{"this SSH key is not enrolled; add it in the console", "この SSH 鍵は登録されていません。コンソールで追加してください"}
	case errors.Is(err, identity.ErrSource):
		return noticef("your SSH certificate was issued to another address; get a new one with `sekisho login` or at %s",
			"SSH 証明書は別のアドレス向けに発行されています。`sekisho login` または %s で取得し直してください", console)
	}
	return noticeTrouble
}

// approvalNotice says why a login was not approved.
func approvalNotice(err error) notice {
	switch {
	case errors.Is(err, identity.ErrExpired):
		return notice{"the login was not confirmed in time; connect again", "時間内に確認されませんでした。もう一度接続してください"}
	case errors.Is(err, identity.ErrWrongCode):
		return notice{"a wrong code was typed too often; connect again for a new one",
			"コードを規定回数間違えたため中止しました。もう一度接続してください"}
	case errors.Is(err, identity.ErrPendingExists):
		return notice{"another login of yours waits for its confirmation; finish it in the browser or wait 2 minutes",
			"確認待ちのログインが既にあります。ブラウザで完了するか 2 分待ってください"}
	case errors.Is(err, errTooManyPending), errors.Is(err, identity.ErrLimit):
		return notice{"too many logins are waiting for confirmation; try again in 2 minutes",
			"確認待ちのログインが多すぎます。2 分後に再試行してください"}
	case errors.Is(err, errClientLeft):
		return notice{}
	}
	return loginNotice(err, "")
}

// endedNotice says why the door ended a session.
func endedNotice(ended *access.Ended) notice {
	return notice{"session ended: " + ended.EN, "セッションを終了します: " + ended.JA}
}

// refusalText is what a refusal says, in both languages; the door words it.
func refusalText(r *access.Refusal) string { return r.Message("en") + "\n" + r.Message("ja") + "\n" }

// crlf makes text for a terminal in raw mode.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
