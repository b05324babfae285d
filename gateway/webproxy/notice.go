package webproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/sekisho/sekisho/gateway/access"
)

// words are one text in both languages.
type words struct{ en, ja string }

func (t words) in(lang string) string {
	if lang == "ja" {
		return t.ja
	}
	return t.en
}

// The names of what a page states.
var (
	factRight    = words{"Right", "権限"}
	factResource = words{"Request", "操作"}
	factTable    = words{"Table", "規則"}
	factDecision = words{"Decision", "判定"}
	factRequest  = words{"Approval request", "申請"}
	factDetail   = words{"Detail", "詳細"}
	linkLogin    = words{"Log in", "ログイン"}
	linkRequest  = words{"Say why and follow the request", "理由を書き添え、状況を確認する"}
	buttonLogOut = words{"Log out", "ログアウト"}
)

var rightWords = map[string]words{"read": {"read", "読取"}, "write": {"write", "書込"},
	"execute": {"execute", "実行"}, "delete": {"delete", "削除"}, "admin": {"admin", "管理者"}}

// notice is one thing the gateway itself has to say.
type notice struct {
	name     string // short and stable, for programs
	status   int
	title    words
	what     words // what to do about it
	detail   words // of this very answer; may be empty
	decision string
	link     string
	form     bool // offers the logout button
}

// because adds what exactly was wrong, as told to whoever wrote the request.
func (n notice) because(err error) notice { return n.told(err.Error(), err.Error()) }

func (n notice) told(en, ja string) notice {
	n.detail = words{en, ja}
	return n
}

func (n notice) decided(id string) notice {
	n.decision = id
	return n
}

func (n notice) linked(login string) notice {
	n.link = login
	return n
}

func (n notice) page(lang string) page {
	answer := page{Lang: lang, Title: n.title.in(lang), Lines: []string{n.what.in(lang)}}
	if detail := n.detail.in(lang); detail != "" {
		answer.Facts = append(answer.Facts, fact{factDetail.in(lang), detail})
	}
	if n.decision != "" {
		answer.Facts = append(answer.Facts, fact{factDecision.in(lang), n.decision})
	}
	if n.link != "" {
		answer.Link, answer.LinkText = n.link, linkLogin.in(lang)
	}
	if n.form {
		answer.Form, answer.Button = ownPath+"/logout", buttonLogOut.in(lang)
	}
	return answer
}

func (n notice) problem(lang string) problem {
	answer := problem{Type: "urn:sekisho:" + n.name, Title: n.title.in(lang), Status: n.status, Detail: n.what.in(lang),
		Decision: n.decision, Login: n.link}
	if detail := n.detail.in(lang); detail != "" {
		answer.Detail = detail
	}
	return answer
}

// What the gateway has to say.
var (
	misdirected = notice{name: "misdirected", status: http.StatusMisdirectedRequest,
		title: words{"Wrong connection", "接続先が違います"},
		what: words{"This connection was opened for another host name. Open a new one.",
			"この接続は別のホスト名のものです。接続し直してください。"}}
	badRequest = notice{name: "bad-request", status: http.StatusBadRequest,
		title: words{"Request refused", "リクエストを受け付けられません"},
		what: words{"The gateway and the app could read this request in two ways, so it was not passed on.",
			"ゲートウェイとアプリで解釈が分かれる可能性があるため、送信しませんでした。"}}
	notCarried = notice{name: "not-carried", status: http.StatusNotImplemented,
		title: words{"Not carried by this gateway", "このゲートウェイでは利用できません"},
		what: words{"WebSocket, other protocol upgrades, gRPC, CONNECT and TRACE do not pass this gateway.",
			"WebSocketなどのプロトコル切替、gRPC、CONNECT、TRACEは利用できません。"}}
	tooLarge = notice{name: "too-large", status: http.StatusRequestEntityTooLarge,
		title: words{"Upload too large", "送信データが大きすぎます"},
		what: words{"The request body is larger than this gateway carries. Ask the operator for another way.",
			"送信データが上限を超えています。運用担当者に相談してください。"}}
	noCertificate = notice{name: "no-certificate", status: http.StatusForbidden,
		title: words{"No client certificate", "クライアント証明書がありません"},
		what: words{"Choose the certificate from your enrolment when the browser asks; close all its windows to be asked again (C-1).",
			"登録時の証明書を選択してください。選択画面が出ない場合はブラウザをすべて閉じて開き直してください（C-1）。"}}
	expiredCertificate = notice{name: "expired-certificate", status: http.StatusForbidden,
		title: words{"Certificate expired", "証明書の有効期限切れ"},
		what:  words{"Your certificate has expired. Ask for a new invite (C-1).", "証明書の期限が切れています。新しい招待を依頼してください（C-1）。"}}
	revokedCertificate = notice{name: "revoked-certificate", status: http.StatusForbidden,
		title: words{"Certificate revoked", "証明書は失効しています"},
		what:  words{"Your certificate was revoked. Ask the person who invited you (C-1).", "証明書が失効しています。招待者に連絡してください（C-1）。"}}
	foreignCertificate = notice{name: "foreign-certificate", status: http.StatusForbidden,
		title: words{"Unknown certificate", "未知の証明書"},
		what: words{"This certificate was not issued by this gateway. Choose the one from your enrolment (C-1).",
			"この証明書は当ゲートウェイの発行ではありません。登録時の証明書を選択してください（C-1）。"}}
	unreleased = notice{name: "not-released", status: http.StatusForbidden,
		title: words{"Enrolment not finished", "登録が完了していません"},
		what: words{"Finish your enrolment at the console; a second person must compare your code and release it.",
			"コンソールで登録を完了し、別の担当者によるコード確認と承認を受けてください。"}}
	logIn = notice{name: "login-required", status: http.StatusUnauthorized,
		title: words{"Log in first", "ログインが必要です"},
		what: words{"Log in at the console with your security key, then come back (C-4).",
			"コンソールでセキュリティキーによりログインしてから、もう一度お試しください（C-4）。"}}
	staleHandoff = notice{name: "stale-handoff", status: http.StatusForbidden,
		title: words{"This way in has expired", "ログインの引き継ぎが無効です"},
		what:  words{"It works once and for 30 seconds only. Log in again.", "引き継ぎは一度だけ、30秒間有効です。もう一度ログインしてください。"}}
	logOut = notice{name: "logout", status: http.StatusOK, form: true,
		title: words{"Log out", "ログアウト"},
		what:  words{"This logs you out of the console and of every app.", "コンソールとすべてのアプリからログアウトします。"}}
	loggedOut = notice{name: "logged-out", status: http.StatusOK,
		title: words{"Logged out", "ログアウトしました"},
		what:  words{"Your sessions are over.", "セッションは終了しました。"}}
	notFound = notice{name: "not-found", status: http.StatusNotFound,
		title: words{"No such page", "ページがありません"},
		what:  words{"Nothing of the gateway is here, and nothing below this path reaches the app.", "このパスはアプリには届きません。"}}
	refused = notice{name: "refused", status: http.StatusForbidden,
		title: words{"Refused", "許可されていません"},
		what: words{"If you need this for your work, ask your contact and give them the decision id.",
			"業務に必要な場合は、判定IDを添えて担当者に相談してください。"}}
	approvalNeeded = notice{name: "approval-needed", status: http.StatusForbidden,
		title: words{"Needs approval", "承認が必要です"},
		what: words{"A request was filed. Once somebody has approved it, send this again.",
			"申請を登録しました。承認されたら、もう一度実行してください。"}}
	sessionEnded = notice{name: "session-ended", status: http.StatusForbidden,
		title: words{"Your session was ended", "セッションは終了しました"},
		what:  words{"The gateway ended your session at this app.", "ゲートウェイがこのアプリのセッションを終了しました。"}}
	crowded = notice{name: "too-many-sessions", status: http.StatusServiceUnavailable,
		title: words{"Too many sessions", "セッションが多すぎます"},
		what:  words{"Close some of your windows or wait a while.", "ウィンドウを閉じるか、しばらく待ってください。"}}
	broken = notice{name: "gateway-failed", status: http.StatusServiceUnavailable,
		title: words{"The gateway cannot do this now", "ゲートウェイで問題が発生しました"},
		what:  words{"Nothing was passed on. Try again; the operator's log says why.", "何も送信していません。再試行してください。原因は運用ログに記録されています。"}}
	appDown = notice{name: "app-unreachable", status: http.StatusBadGateway,
		title: words{"The app cannot be reached", "アプリに接続できません"},
		what:  words{"You were allowed in, but the app does not answer. Tell its operator.", "アクセスは許可されましたが、アプリが応答しません。運用担当者に連絡してください。"}}
	appUntrusted = notice{name: "app-certificate", status: http.StatusBadGateway,
		title: words{"The app's certificate is not trusted", "アプリの証明書を検証できません"},
		what:  words{"The app showed a certificate the gateway does not trust. Tell its operator.", "アプリの証明書を信頼できません。運用担当者に連絡してください。"}}
	appSlow = notice{name: "app-timeout", status: http.StatusGatewayTimeout,
		title: words{"The app took too long", "アプリの応答がありません"},
		what: words{"The app did not answer in time. It may still be working on your request.",
			"時間内に応答がありませんでした。処理は続いている可能性があります。"}}
	appBroke = notice{name: "app-broke-off", status: http.StatusBadGateway,
		title: words{"The app broke off", "アプリが応答を中断しました"},
		what: words{"The app did not answer this request to its end. It may have been carried out all the same.",
			"アプリが応答を最後まで返しませんでした。処理は実行された可能性があります。"}}
	slowUpload = notice{name: "upload-stalled", status: http.StatusRequestTimeout,
		title: words{"The upload stopped", "送信が止まりました"},
		what:  words{"Nothing came for too long. Send it again.", "データが届かなくなりました。もう一度送信してください。"}}
)

// failureNotice tells why a response did not come, to the person and, short and stable, to the record.
func failureNotice(err error) (notice, string) {
	var ended *access.Ended
	var dial *dialError
	var untrusted *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &ended):
		return sessionEnded.told(ended.EN, ended.JA), "session ended: " + ended.Reason
	case errors.Is(err, errOverride), errors.Is(err, errForm):
		return badRequest.because(err), err.Error()
	case errors.Is(err, errTooLarge):
		return tooLarge, "request body too large"
	case errors.Is(err, errStalled):
		return slowUpload, "upload stalled"
	case errors.Is(err, errGone), errors.Is(err, context.Canceled):
		return appBroke, errGone.Error()
	case errors.As(err, &dial):
		return appDown, "app not reachable"
	case errors.As(err, &untrusted):
		return appUntrusted, "app's certificate not trusted"
	case errors.As(err, &timeout) && timeout.Timeout():
		return appSlow, "app did not answer in time"
	case errors.Is(err, errInternal):
		return broken, "gateway failed"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return appBroke, "app broke off"
	}
	return appBroke, "app's response could not be read"
}
