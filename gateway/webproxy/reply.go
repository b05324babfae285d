package webproxy

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// reply writes an app's response to the client. It keeps 1xx responses back, because they would be shown before they are
// on record, and fails a write to a client that does not read.
type reply struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	begun   atomic.Bool

	mu   sync.Mutex
	over bool // the handler has returned: net/http does not bear a call on its controller any more
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
	w.begun.Store(true)
	w.steady()
	w.ResponseWriter.WriteHeader(status)
}

func (w *reply) Write(b []byte) (int, error) {
	w.begun.Store(true)
	w.steady()
	return w.ResponseWriter.Write(b)
}

// steady gives the next write its time.
func (w *reply) steady() { w.writeBy(time.Now().Add(w.stall)) }

// readBy sets the moment until which reading the request's body may wait; writeBy the same for writing. A connection
// without deadlines has none to keep.
func (w *reply) readBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		_ = w.control.SetReadDeadline(t)
	}
}

func (w *reply) writeBy(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		_ = w.control.SetWriteDeadline(t)
	}
}

// release takes the deadlines away again, before the connection carries the next request.
func (w *reply) release() {
	w.readBy(time.Time{})
	w.writeBy(time.Time{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
