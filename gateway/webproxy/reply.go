package webproxy

import (
	"net/http"
	"sync"
	"time"
)

// reply writes a response to the client. It keeps 1xx responses back, because they would be shown before they are on
// record, and fails a write to a client that does not read. After cut only the gateway's own answer still goes out.
type reply struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration

	mu    sync.Mutex
	begun bool // something of the app's response went out
	own   bool // what goes out from now on is the gateway's answer
	ended bool // the session is over
	over  bool // the handler has returned: net/http does not bear a call on its controller any more
}

func newReply(w http.ResponseWriter, stall time.Duration) *reply {
	return &reply{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
}

// Unwrap lets http.ResponseController reach what this one does not offer.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *reply) WriteHeader(status int) {
	if status < http.StatusOK {
		return
	}
	w.steady()
	w.ResponseWriter.WriteHeader(status)
}

func (w *reply) Write(b []byte) (int, error) {
	w.steady()
	return w.ResponseWriter.Write(b)
}

// steady gives the next write its time, which is none for an app's response after the session's end. A connection without
// deadlines has none to keep.
func (w *reply) steady() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = w.begun || !w.own
	deadline := time.Now()
	if !w.ended || w.own {
		deadline = deadline.Add(w.stall)
	}
	_ = w.control.SetWriteDeadline(deadline)
}

// cut wakes up whatever reads from or writes to the client, because the session is over.
func (w *reply) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.over {
		return
	}
	_ = w.control.SetReadDeadline(time.Now())
	if w.begun {
		_ = w.control.SetWriteDeadline(time.Now())
	}
}

// answering says that the gateway itself answers from now on.
func (w *reply) answering() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own = true
}

// readBy sets the moment until which reading the request's body may wait; once the session is over, none is.
func (w *reply) readBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && !w.ended {
		_ = w.control.SetReadDeadline(t)
	}
}

// release takes the deadlines away again, before the connection carries the next request.
func (w *reply) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.control.SetReadDeadline(time.Time{})
	_ = w.control.SetWriteDeadline(time.Time{})
	w.over = true
}

// flush sends what is buffered, so that the client need not wait for the event of its request.
func (w *reply) flush() {
	w.mu.Lock()
	begun := w.begun
	w.mu.Unlock()
	if begun {
		_ = w.control.Flush()
	}
}
