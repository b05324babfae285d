package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed static/*
var staticFiles embed.FS

// pageTemplates holds each page with the layout around it.
var pageTemplates = parsePages()

func parsePages() map[string]*template.Template {
	all := map[string]*template.Template{}
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		short := strings.TrimSuffix(strings.TrimPrefix(name, "pages/"), ".html")
		if short != "layout" && short != "parts" {
			all[short] = template.Must(template.ParseFS(pageFiles, "pages/layout.html", "pages/parts.html", name))
		}
	}
	return all
}

// staticPath is where the style sheet and the scripts are served. It changes with their content, so that browsers may
// keep them for good.
var staticPath = "/static/" + staticHash() + "/"

func staticHash() string {
	h := sha256.New()
	err := fs.WalkDir(staticFiles, "static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := staticFiles.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(content), content)
		return err
	})
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func serveStatic() http.Handler {
	content, err := fs.Sub(staticFiles, "static")
	if err != nil {
		panic(err)
	}
	files := http.StripPrefix(staticPath, http.FileServerFS(content))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		files.ServeHTTP(w, r)
	})
}

// page is what every template is given; its methods are the words and forms the templates use.
type page struct {
	Title    string // key of words
	Lang     string
	Notice   string            // key of words, "" for none
	Scripts  []string          // module scripts of this page
	Narrow   bool              // one column of text
	Person   *directory.Person // nil before anybody is known
	LoggedIn bool
	Nav      []navItem
	Alarms   []access.Emergency // staff: emergencies that are live or unreviewed
	Data     any

	url  *url.URL
	zone *time.Location
}

type navItem struct {
	Path    string
	Word    string
	Current bool
}

// T is a text in the page's language.
func (p page) T(key string, args ...any) string { return say(p.Lang, key, args...) }

// Static is the address of a style sheet or script.
func (p page) Static(name string) string { return staticPath + name }

// With hands a part of the data to a shared template.
func (p page) With(data any) page {
	p.Data = fmt.Sprint(data)
	return p
}

// For hands a part of the data to a shared template as it is.
func (p page) For(data any) page {
	p.Data = data
	return p
}

// Pick is the one of two texts that is in the page's language.
func (p page) Pick(en, ja string) string { return pick(p.Lang, en, ja) }

// Cited is the one of two texts that is in the page's language, with its table unless the text cites it.
func (p page) Cited(en, ja, table string) string {
	return reasonText(p.Lang, policy.Reason{EN: en, JA: ja, Table: table})
}

// Visible is what somebody wrote, with what does not show itself set off.
func (p page) Visible(text any) template.HTML { return visible(fmt.Sprint(text)) }

// Prose is Visible for what was written in lines.
func (p page) Prose(text any) template.HTML { return prose(fmt.Sprint(text)) }

// Mark is the matrix's sign for the cell in Data: ○ always, △ approval, × never.
func (p page) Mark() string {
	switch p.Data {
	case "always":
		return "○"
	case "approval":
		return "△"
	}
	return "×"
}

// Called is a name in the page's language, or the id of somebody without one.
func (p page) Called(name directory.Name, id string) string {
	if called := name.In(p.Lang); called != "" {
		return called
	}
	return id
}

// Reason is a policy reason in the page's language, with its table unless the text cites it.
func (p page) Reason(r policy.Reason) string { return reasonText(p.Lang, r) }

func reasonText(lang string, r policy.Reason) string {
	told := r.EN
	if lang == "ja" && r.JA != "" {
		told = r.JA
	}
	if r.Table != "" && !strings.Contains(told, r.Table) {
		told += " (" + r.Table + ")"
	}
	return told
}

// Time is a moment in the gateway's zone.
func (p page) Time(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	local := t.In(p.zone)
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format(time.RFC3339),
		template.HTMLEscapeString(local.Format("2006-01-02 15:04:05 MST"))))
}

// Day is a date in the gateway's zone; LastDay the last date before an exclusive end.
func (p page) Day(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.In(p.zone).Format(time.DateOnly)
}

// LastDay is the last date of a span that ends before t.
func (p page) LastDay(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return p.Day(t.Add(-time.Nanosecond))
}

// OtherLanguage is this page in the other language.
func (p page) OtherLanguage() string {
	q := p.url.Query()
	q.Set("lang", p.T("other.code"))
	q.Del("done")
	return p.url.Path + "?" + q.Encode()
}

// render writes a page. It is built in memory first, so that a failure never leaves half a page.
func (c *Console) render(w http.ResponseWriter, status int, name string, p page) {
	var b bytes.Buffer
	if err := pageTemplates[name].ExecuteTemplate(&b, "layout", p); err != nil {
		c.cfg.Log.Error("rendering a page failed", zap.String("page", name), zap.Error(err))
		http.Error(w, "sekisho: this page cannot be shown; the operator's log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
