package policy

// Forget drops what e has learnt under its revision, so that the next decision is the first.
func Forget(e *Engine) {
	s := e.current.Load()
	next := &state{revision: s.revision}
	next.clock.Store(s.clock.Load())
	e.current.Store(next)
}
