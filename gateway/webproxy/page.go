package webproxy

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageStyle string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// pagePolicy lets a page of the gateway load nothing but its own style and post to this host only.
var pagePolicy = "default-src 'none'; style-src 'sha256-" + styleSum() + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func styleSum() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// problem is what a program gets (RFC 9457), with the gateway's own members.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Right    string   `json:"right,omitempty"`
	Resource string   `json:"resource,omitempty"`
	Tables   []string `json:"tables,omitempty"`
	Decision string   `json:"decision,omitempty"`
	Request  string   `json:"request,omitempty"`
	Login    string   `json:"login,omitempty"`
}

// page is what a person gets.
type page struct {
	Lang, Title    string
	Style          template.CSS
	Lines          []string
	Facts          []fact
	Form, Button   string
	Link, LinkText string
}

type fact struct{ Name, Value string }

// show answers with a notice: a page for a person, a problem for a program.
func (p *Proxy) show(w http.ResponseWriter, r *http.Request, n notice) {
	lang := language(r.Header.Get("Accept-Language"))
	if wantsHTML(r) {
		p.writePage(w, r, n.status, n.page(lang))
		return
	}
	p.writeProblem(w, r, n.problem(lang))
}

// showRefusal answers with a refusal: which right is missing on what, by which table, under which decision, and for a
// cell that needs approval which request was filed.
func (p *Proxy) showRefusal(w http.ResponseWriter, r *http.Request, refusal *access.Refusal) {
	lang := language(r.Header.Get("Accept-Language"))
	n := refused
	if refusal.Request != "" {
		n = approvalNeeded
	}
	if wantsHTML(r) {
		content := refusalPage(n, refusal, lang)
		if refusal.Request != "" {
			content.Link, content.LinkText = strings.TrimSuffix(p.cfg.Console, "/")+"/requests/"+refusal.Request, linkRequest.in(lang)
		}
		p.writePage(w, r, n.status, content)
		return
	}
	answer := n.problem(lang)
	answer.Detail = strings.Join(reasonTexts(refusal, lang), " ")
	answer.Tables = tablesOf(refusal)
	answer.Decision, answer.Request = refusal.Decision, refusal.Request
	for _, need := range refusal.Needs {
		if need.Effect.String() != "allow" {
			answer.Right, answer.Resource = string(need.Right), need.Resource
			break
		}
	}
	p.writeProblem(w, r, answer)
}

func refusalPage(n notice, refusal *access.Refusal, lang string) page {
	answer := n.page(lang)
	answer.Lines = append(reasonTexts(refusal, lang), answer.Lines...)
	for _, need := range refusal.Needs {
		if need.Effect.String() != "allow" {
			answer.Facts = append(answer.Facts, fact{factRight.in(lang), rightWords[string(need.Right)].in(lang)}, fact{factResource.in(lang), need.Resource})
		}
	}
	if tables := tablesOf(refusal); len(tables) > 0 {
		answer.Facts = append(answer.Facts, fact{factTable.in(lang), strings.Join(tables, ", ")})
	}
	if refusal.Request != "" {
		answer.Facts = append(answer.Facts, fact{factRequest.in(lang), refusal.Request})
	}
	answer.Facts = append(answer.Facts, fact{factDecision.in(lang), refusal.Decision})
	return answer
}

func reasonTexts(refusal *access.Refusal, lang string) []string {
	var texts []string
	for _, reason := range refusal.Reasons {
		if lang == "ja" && reason.JA != "" {
			texts = append(texts, reason.JA)
			continue
		}
		texts = append(texts, reason.EN)
	}
	return texts
}

func tablesOf(refusal *access.Refusal) []string {
	var tables []string
	for _, reason := range refusal.Reasons {
		if reason.Table != "" {
			tables = append(tables, reason.Table)
		}
	}
	return tables
}

func (p *Proxy) writePage(w http.ResponseWriter, r *http.Request, status int, content page) {
	content.Style = template.CSS(pageStyle)
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, content); err != nil {
		p.cfg.Log.Error("rendering a page failed", zap.Error(err))
		http.Error(w, "sekisho: this page cannot be shown; the operator's log says why", http.StatusInternalServerError)
		return
	}
	p.writeOwn(w, r, status, "text/html; charset=utf-8", b.Bytes())
}

func (p *Proxy) writeProblem(w http.ResponseWriter, r *http.Request, answer problem) {
	body, err := json.Marshal(answer)
	if err != nil {
		p.cfg.Log.Error("encoding a problem failed", zap.Error(err))
	}
	kind := "application/problem+json"
	if answer.Status < http.StatusBadRequest {
		kind = "application/json"
	}
	p.writeOwn(w, r, answer.Status, kind, append(body, '\n'))
}

// writeOwn writes an answer of the gateway itself. A client that is gone by now misses it.
func (p *Proxy) writeOwn(w http.ResponseWriter, r *http.Request, status int, kind string, body []byte) {
	h := w.Header()
	ownHeader(h)
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Content-Language", language(r.Header.Get("Accept-Language")))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// ownHeader marks an answer as the gateway's own: not stored, not framed, not guessed at.
func ownHeader(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept, Accept-Language")
}

// wantsHTML tells a browser from a program by whether it asks for a page.
func wantsHTML(r *http.Request) bool {
	for item := range strings.SplitSeq(strings.Join(r.Header["Accept"], ","), ",") {
		kind, params, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(kind), "text/html") && quality(params) > 0 {
			return true
		}
	}
	return false
}

// language reads an Accept-Language header (RFC 9110, 12.5.4): "ja" when Japanese is wanted more than English, else "en".
func language(header string) string {
	weight := map[string]float64{}
	for item := range strings.SplitSeq(clip(header, 256), ",") {
		tag, params, _ := strings.Cut(item, ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		weight[primary] = max(weight[primary], quality(params))
	}
	if weight["ja"] > weight["en"] {
		return "ja"
	}
	return "en"
}

// quality is the q of an item's parameters, 1 when there is none.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.ReplaceAll(param, " ", ""), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		if q, err := strconv.ParseFloat(value, 64); err == nil && q >= 0 && q <= 1 {
			return q
		}
		return 0
	}
	return 1
}
