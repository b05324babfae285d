package console

import (
	"net/http"
	"net/url"

	"github.com/sekisho/sekisho/gateway/access"
)

// watchView is a live session whose transcript grows.
type watchView struct {
	Record access.SessionRecord
	MayEnd bool
}

// showWatch is the page on which somebody watches. The watching itself, which is on record, begins when its script asks for
// the stream.
func (c *Console) showWatch(w http.ResponseWriter, r *http.Request, v *visitor) error {
	ctx, id := r.Context(), r.PathValue("id")
	if !c.may(ctx, v, "gateway.session.watch") {
		return c.cfg.Door.Act(ctx, v.principal(), "gateway.session.watch", id)
	}
	record, err := c.cfg.Door.Session(ctx, v.principal(), id)
	if err != nil {
		return err
	}
	if !record.EndedAt.IsZero() {
		http.Redirect(w, r, "/sessions/"+url.PathEscape(id), http.StatusSeeOther)
		return nil
	}
	p := c.newPage(r, v, "watch.title", watchView{Record: record, MayEnd: c.may(ctx, v, "gateway.session.end")})
	p.Scripts = []string{"watch.js"}
	c.render(w, http.StatusOK, "watch", p)
	return nil
}
