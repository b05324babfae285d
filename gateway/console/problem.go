package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/oklog/ulid/v2"
	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/gateway/identity"
	"github.com/sekisho/sekisho/gateway/revision"
	"github.com/sekisho/sekisho/policy"
)

// Problem is how the API says no (RFC 9457). It is an error on both sides: handlers return it, Client gives it back.
type Problem struct {
	Status   int             `json:"status"`
	Title    string          `json:"title"`
	Detail   string          `json:"detail,omitempty"`   // what to tell the person, in their language
	Decision string          `json:"decision,omitempty"` // d-… when policy decided
	Request  string          `json:"request,omitempty"`  // r-… when a second person may still say yes
	Reasons  []policy.Reason `json:"reasons,omitempty"`
}

func (p *Problem) Error() string {
	told := p.Detail
	if told == "" {
		told = p.Title
	}
	if p.Decision != "" {
		return fmt.Sprintf("%s (decision %s)", told, p.Decision)
	}
	return told
}

// Denied tells whether the gateway understood and refused, rather than failed.
func (p *Problem) Denied() bool { return p.Status == http.StatusForbidden }

// NotLoggedIn tells whether logging in (again) would help.
func (p *Problem) NotLoggedIn() bool { return p.Status == http.StatusUnauthorized }

var errNoRoute = &Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is nothing here."}

// badRequest is about what the caller sent.
func badRequest(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: fmt.Sprintf(format, args...)}
}

// told maps the errors people can do something about to a status; ja is their Japanese.
var told = []struct {
	err    error
	status int
	ja     string
}{
	{identity.ErrNoSession, http.StatusUnauthorized, "ログインしていません。"},
	{identity.ErrNoCertificate, http.StatusForbidden, "クライアント証明書がありません。招待を受けて利用登録をしてください。"},
	{identity.ErrForeign, http.StatusForbidden, "このゲートウェイが発行した証明書ではありません。"},
	{identity.ErrRevoked, http.StatusForbidden, "失効しています。担当者に連絡してください。"},
	{identity.ErrCertified, http.StatusForbidden, "先にセキュリティキーを登録してください。"},
	{identity.ErrWaiting, http.StatusForbidden, "別の担当者による利用開始の承認を待っています。"},
	{identity.ErrOwn, http.StatusForbidden, "自分自身の利用開始は承認できません。別の担当者に依頼してください。"},
	{identity.ErrWrongCode, http.StatusForbidden, "コードが違います。"},
	{identity.ErrStale, http.StatusForbidden, "セキュリティキーで改めて本人確認をしてください。"},
	{identity.ErrAssertion, http.StatusForbidden, "セキュリティキーの応答を確認できませんでした。"},
	{identity.ErrCloned, http.StatusForbidden, "セキュリティキーが複製された可能性があるため拒否しました。"},
	{identity.ErrSource, http.StatusForbidden, "接続元のネットワークが一致しません。"},
	{identity.ErrNotEnrolled, http.StatusForbidden, "この SSH 鍵は登録されていません。"},
	{identity.ErrInvite, http.StatusForbidden, "招待コードが無効、使用済み、または期限切れです。新しい招待を依頼してください。"},
	{identity.ErrCeremony, http.StatusConflict, "この本人確認は無効、使用済み、または期限切れです。もう一度やり直してください。"},
	{identity.ErrState, http.StatusConflict, "利用登録の状態により実行できません。"},
	{identity.ErrKeyTaken, http.StatusConflict, "この SSH 鍵は以前に登録されています。新しい鍵を作成してください。"},
	{identity.ErrPendingExists, http.StatusConflict, "別の SSH ログインが承認待ちです。"},
	{identity.ErrNoPending, http.StatusNotFound, "承認待ちのログインはありません。"},
	{identity.ErrExpired, http.StatusGone, "期限が切れています。"},
	{identity.ErrRequest, http.StatusBadRequest, "受け付けられない形式、または強度が不足しています。"},
	{identity.ErrLimit, http.StatusTooManyRequests, "同時に実行できる数を超えています。"},
	{identity.ErrNotFound, http.StatusNotFound, "見つかりません。"},
	{identity.ErrNotNamed, http.StatusForbidden, "緊急アクセスを宣言できる担当者として登録されていません。"},
	{identity.ErrHardware, http.StatusForbidden, "緊急アクセスにはハードウェアセキュリティキーが必要です（同期されるパスキーや端末内蔵のものは使えません）。"},
	{identity.ErrEmergencyOver, http.StatusForbidden, "この緊急アクセスは終了しています。"},
	{access.ErrDeclaration, http.StatusBadRequest, "受け付けられません。理由・時間（分）・対象を確認してください。"},
	{access.ErrNotFound, http.StatusNotFound, "見つかりません。"},
	{access.ErrAnswered, http.StatusConflict, "すでに回答されています。"},
	{access.ErrChanged, http.StatusConflict, "表示後に申請が変更されました。内容をもう一度確認してください。"},
	{access.ErrInvalid, http.StatusBadRequest, "受け付けられない内容です。"},
	{errLinkForged, http.StatusForbidden, "このリンクはこのゲートウェイのものではないか、途中で書き換えられています。"},
	{errLinkExpired, http.StatusGone, "このリンクは期限切れです。申請の一覧から開いてください。"},
	{errLinkOutdated, http.StatusConflict, "リンクの作成後に申請が変更されました。申請の一覧から開いて、内容を確認してください。"},
	{access.ErrTooMany, http.StatusTooManyRequests, "承認待ちの申請が多すぎます。"},
	{revision.ErrNotFound, http.StatusNotFound, "そのポリシー版はありません。"},
	{revision.ErrConflict, http.StatusConflict, "ポリシーは別の変更で更新されています。差分を確認し直してください。"},
	{revision.ErrUnchanged, http.StatusConflict, "現在のポリシーと同じ内容です。変更はありません。"},
	{revision.ErrOwn, http.StatusForbidden, "作成者以外の人が行う必要があります。"},
	{revision.ErrNotOwn, http.StatusForbidden, "作成者だけが取り下げられます。"},
	{revision.ErrState, http.StatusConflict, "このポリシー版の状態では実行できません。"},
	{revision.ErrLockedOut, http.StatusUnprocessableEntity, "このポリシーでは誰もポリシーを変更できなくなります。"},
	{revision.ErrRequest, http.StatusBadRequest, "受け付けられない内容です。理由とチケット、日時を確認してください。"},
	{directory.ErrConflict, http.StatusConflict, "ディレクトリーは別の変更で更新されています。差分を確認し直してください。"},
}

// plainly says in English what an error's own words say to engineers only.
var plainly = map[error]string{
	identity.ErrRevoked: "Your access was revoked. Ask the company's staff for a new invitation.",
}

// problemOf turns any error into what the caller is told. What is not theirs to know is logged under an id they can give
// to the operator.
func (c *Console) problemOf(lang string, err error) *Problem {
	var problem *Problem
	if errors.As(err, &problem) {
		return problem
	}
	var refusal *access.Refusal
	if errors.As(err, &refusal) {
		return refusedProblem(lang, refusal)
	}
	var invalid *revision.Invalid
	if errors.As(err, &invalid) {
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "The policy is not valid", Detail: invalid.Error()}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Title: "Too large",
			Detail: fmt.Sprintf("At most %d bytes are taken here.", tooLarge.Limit)}
	}
	for _, t := range told {
		if errors.Is(err, t.err) {
			p := &Problem{Status: t.status, Title: http.StatusText(t.status), Detail: sentence(err.Error())}
			if text, ok := plainly[t.err]; ok {
				p.Detail = text
			}
			if lang == "ja" {
				p.Detail = t.ja
			}
			if lang == "ja" && t.err == access.ErrInvalid { // what exactly is said in English only
				p.Detail += " " + sentence(err.Error())
			}
			return p
		}
	}
	id := "e-" + ulid.Make().String()
	c.cfg.Log.Error("a request failed", zap.String("id", id), zap.Error(err))
	return &Problem{Status: http.StatusInternalServerError, Title: "The gateway failed",
		Detail: fmt.Sprintf(pick(lang, "Nothing was done. The operator finds the cause under %s.",
			"実行されませんでした。管理者に番号 %s を伝えてください。"), id)}
}

func refusedProblem(lang string, r *access.Refusal) *Problem {
	p := &Problem{Status: http.StatusForbidden, Title: "Refused", Decision: r.Decision, Request: r.Request, Reasons: r.Reasons}
	for _, reason := range r.Reasons {
		if p.Detail != "" {
			p.Detail += " "
		}
		p.Detail += reasonText(lang, reason)
	}
	return p
}

func pick(lang, en, ja string) string {
	if lang == "ja" {
		return ja
	}
	return en
}

// sentence makes an error's text one: a capital letter and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if s[0] >= 'a' && s[0] <= 'z' {
		s = string(s[0]-'a'+'A') + s[1:]
	}
	if last := s[len(s)-1]; last != '.' && last != '!' && last != '?' {
		s += "."
	}
	return s
}

// answerProblem writes application/problem+json.
func answerProblem(w http.ResponseWriter, p *Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		http.Error(w, p.Title, p.Status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}
