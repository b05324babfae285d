package console

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
	"github.com/sekisho/sekisho/recorder"
)

// sessionQuery reads ?person=, vendor=, target=, live=, since= and limit=.
func (c *Console) sessionQuery(r *http.Request) (access.SessionQuery, error) {
	q := r.URL.Query()
	limit, err := listLimit(r)
	if err != nil {
		return access.SessionQuery{}, err
	}
	since, err := c.moment("since", q.Get("since"))
	if err != nil {
		return access.SessionQuery{}, err
	}
	return access.SessionQuery{Person: q.Get("person"), Vendor: q.Get("vendor"), Target: q.Get("target"),
		Live: q.Get("live") == "1" || q.Get("live") == "true", Since: since, Limit: limit}, nil
}

// moment reads a time: RFC 3339, or how long ago as 90s, 12h or 30d. "" is the zero time.
func (c *Console) moment(name, text string) (time.Time, error) {
	if text == "" || text == "all" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if days, ok := cutDays(text); ok {
		return c.cfg.Now().AddDate(0, 0, -days), nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return time.Time{}, badRequest("%s: want RFC 3339, 12h or 30d, not %q", name, text)
	}
	return c.cfg.Now().Add(-ago), nil
}

func cutDays(text string) (int, bool) {
	if len(text) < 2 || text[len(text)-1] != 'd' {
		return 0, false
	}
	days, err := strconv.Atoi(text[:len(text)-1])
	return days, err == nil && days >= 0 && days <= 36500
}

func (c *Console) apiSessions(w http.ResponseWriter, r *http.Request, v *visitor) error {
	q, err := c.sessionQuery(r)
	if err != nil {
		return err
	}
	list, err := c.cfg.Door.Sessions(r.Context(), v.principal(), q)
	if err != nil {
		return err
	}
	return answerLines(c, w, each(list))
}

func (c *Console) apiSession(w http.ResponseWriter, r *http.Request, v *visitor) error {
	record, err := c.cfg.Door.Session(r.Context(), v.principal(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, record)
}

func (c *Console) apiEndSession(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id, reason, err := c.withReason(w, r, "id")
	if err != nil {
		return err
	}
	if err := c.cfg.Door.EndSession(r.Context(), v.principal(), id, reason); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sessionsView is the list of sessions.
type sessionsView struct {
	Query    access.SessionQuery
	Sessions []access.SessionRecord
	MayWatch bool
}

func (c *Console) showSessions(w http.ResponseWriter, r *http.Request, v *visitor) error {
	q, err := c.sessionQuery(r)
	if err != nil {
		return err
	}
	list, err := c.cfg.Door.Sessions(r.Context(), v.principal(), q)
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "sessions", c.newPage(r, v, "sessions.title", sessionsView{Query: q, Sessions: list,
		MayWatch: c.may(r.Context(), v, "gateway.session.watch")}))
	return nil
}

// sessionView is one session with a page of its transcript.
type sessionView struct {
	Record          access.SessionRecord
	MayRead, MayEnd bool
	MayExplain      bool
	MayWatch        bool
	Moments         []moment
	Problem         string
	First           int
	Before, After   bool
	Previous, Next  int
}

func (c *Console) showSession(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx, id := r.Context(), r.PathValue("id")
	record, err := c.cfg.Door.Session(ctx, v.principal(), id)
	if err != nil {
		return err
	}
	data := sessionView{Record: record, MayRead: c.may(ctx, v, "gateway.recording.read"),
		MayEnd: c.may(ctx, v, "gateway.session.end"), MayExplain: c.may(ctx, v, "gateway.policy.explain"),
		MayWatch: record.EndedAt.IsZero() && c.may(ctx, v, "gateway.session.watch")}
	if data.MayRead {
		if err := c.addTranscript(r, v, &data); err != nil {
			return err
		}
	}
	c.render(w, http.StatusOK, "session", c.newPage(r, v, "session.title", data))
	return nil
}

// addTranscript reads the page of the recording that ?from= names. Reading is an act on record.
func (c *Console) addTranscript(r *http.Request, v *visitor, data *sessionView) error {
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || from < 0 {
		from = 0
	}
	reader, err := c.openRecording(r, v, data.Record.ID)
	if err != nil {
		return err
	}
	defer reader.Close()
	read, err := readTranscript(reader, from)
	if err != nil {
		return err
	}
	if read.cut && !data.Record.EndedAt.IsZero() { // that of a live session goes on
		data.Problem = say(v.lang, "transcript.cut")
	}
	data.Moments, data.First, data.Before, data.After = read.moments, from+1, from > 0, read.more()
	data.Previous, data.Next = max(0, from-momentsPerPage), from+momentsPerPage
	return nil
}

// openRecording has the door authorise and record the reading, and opens the recording.
func (c *Console) openRecording(r *http.Request, v *visitor, id string) (*recorder.Reader, error) {
	path, err := c.cfg.Door.Reading(r.Context(), v.principal(), id)
	if err != nil {
		return nil, err
	}
	return recorder.Open(path, c.cfg.Authority.RecordingIdentity())
}

func (c *Console) endSessionPage(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id := r.PathValue("id")
	reason, err := wantReason(formValue(w, r, "reason"))
	if err != nil {
		return err
	}
	if err := c.cfg.Door.EndSession(r.Context(), v.principal(), id, reason); err != nil {
		return err
	}
	http.Redirect(w, r, "/sessions/"+url.PathEscape(id)+"?done=ended", http.StatusSeeOther)
	return nil
}
