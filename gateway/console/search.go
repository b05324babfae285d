package console

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/audit"
)

const (
	maxSearch      = 100_000
	auditPageLimit = 200
	maxShown       = 16 << 10 // bytes of one event on the page
)

// auditQuery reads ?text=, class=, person=, vendor=, session=, target=, kind=, since= and until=.
func (c *Console) auditQuery(r *http.Request) (audit.Query, error) {
	v := r.URL.Query()
	q := audit.Query{Text: v.Get("text"), Class: recorder.Class(v.Get("class")), Person: v.Get("person"),
		Vendor: v.Get("vendor"), Session: v.Get("session"), Target: v.Get("target"), Kind: v.Get("kind")}
	if q.Class != "" && !slices.Contains(recorder.Classes, q.Class) {
		return q, badRequest("class: want one of %v, not %q", recorder.Classes, q.Class)
	}
	if len(q.Text) > 200 {
		return q, badRequest("text: at most 200 bytes")
	}
	var err error
	if q.Since, err = c.moment("since", v.Get("since")); err != nil {
		return q, err
	}
	q.Until, err = c.moment("until", v.Get("until"))
	return q, err
}

// searched is a search as it stands on record.
func searched(r *http.Request) string {
	q := r.URL.Query()
	q.Del("lang")
	return q.Encode()
}

func (c *Console) apiAudit(w http.ResponseWriter, r *http.Request, v *visitor) error {
	q, err := c.auditQuery(r)
	if err != nil {
		return err
	}
	if q.Limit, err = searchLimit(r); err != nil {
		return err
	}
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.audit.search", searched(r)); err != nil {
		return err
	}
	return answerLines(c, w, c.cfg.Audit.Search(r.Context(), q))
}

// auditView is the search page.
type auditView struct {
	Query   audit.Query
	Since   string
	Spans   []string
	Classes []recorder.Class
	Events  []eventView
	More    bool

	MayExplain bool
}

// eventView is an event with its most telling detail and the whole of it.
type eventView struct {
	recorder.Event
	What string
	JSON string
}

func (c *Console) showAudit(w http.ResponseWriter, r *http.Request, v *visitor) error {
	q, err := c.auditQuery(r)
	if err != nil {
		return err
	}
	since := orElse(r.URL.Query().Get("since"), "24h")
	if q.Session != "" && !r.URL.Query().Has("since") {
		since = "all"
	}
	if q.Since, err = c.moment("since", since); err != nil {
		return err
	}
	q.Limit = auditPageLimit + 1
	if err := c.cfg.Door.Act(r.Context(), v.principal(), "gateway.audit.search", searched(r)); err != nil {
		return err
	}
	data := auditView{MayExplain: c.may(r.Context(), v, "gateway.policy.explain"), Query: q, Since: since, Spans: []string{"1h", "24h", "7d", "30d", "all"}, Classes: recorder.Classes}
	for event, err := range c.cfg.Audit.Search(r.Context(), q) {
		if err != nil {
			return err
		}
		if len(data.Events) == auditPageLimit {
			data.More = true
			break
		}
		data.Events = append(data.Events, newEventView(event))
	}
	c.render(w, http.StatusOK, "audit", c.newPage(r, v, "audit.title", data))
	return nil
}

// telling are the details that say most about an event, the first that is there.
var telling = []string{"line", "what", "path", "reason", "method", "operation"}

func newEventView(e recorder.Event) eventView {
	view := eventView{Event: e}
	for _, key := range telling {
		if text, ok := e.Detail[key].(string); ok && text != "" {
			view.What = clipText(text, 160)
			break
		}
	}
	if whole, err := json.MarshalIndent(e, "", "  "); err == nil {
		view.JSON = clipText(string(whole), maxShown)
	}
	return view
}

// clipText shortens a text to about n bytes for a table.
func clipText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
