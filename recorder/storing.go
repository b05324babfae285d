package recorder

import "time"

// task is one round of the store loop.
type task struct {
	batch batch
	upTo  uint64 // entries accepted when it was taken
	sync  bool
	rest  bool
	end   bool
}

// start runs the store loop unless it runs already.
func (w *Writer) start() {
	if !w.running && !w.ended {
		w.running = true
		go w.run()
	}
}

// tick is the timer's start.
func (w *Writer) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start()
}

// run stores batch after batch until nothing is due.
func (w *Writer) run() {
	for {
		w.mu.Lock()
		t, due := w.take()
		if !due {
			w.running = false
			w.schedule()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()

		err := w.perform(t)

		w.mu.Lock()
		w.settle(t, err)
		w.mu.Unlock()
	}
}

// take decides what is due now and takes it out of the queue.
func (w *Writer) take() (task, bool) {
	if w.ended || w.broken && !w.closing {
		return task{}, false
	}
	t := task{upTo: w.accepted, end: w.closing}
	t.sync = t.end || w.syncDue()
	t.rest = !t.sync && w.mayRest() && time.Since(w.touched) >= restDelay
	if !t.sync && !t.rest && len(w.queue.buf) < frameSize && w.waiting == 0 {
		return task{}, false
	}
	t.batch, w.queue = w.queue, batch{}
	w.inFlight = t.batch.worstSize()
	if t.sync {
		w.dirty = time.Time{}
	}
	if t.rest || t.end {
		w.framer.close()
	}
	w.changed.Broadcast() // the queue has room again
	return t, true
}

func (w *Writer) syncDue() bool {
	return !w.dirty.IsZero() && (w.mode == BeforeShow || time.Since(w.dirty) >= flushDelay)
}

// mayRest reports whether an idle session still holds something that it could give back.
func (w *Writer) mayRest() bool { return len(w.queue.buf) == 0 && !w.tape.resting() }

// perform does the slow part of a task, without the mutex.
func (w *Writer) perform(t task) error {
	if w.broken { // only this loop sets it, so it may read it
		return nil
	}
	if err := w.tape.store(&t.batch); err != nil {
		return err
	}
	if t.rest {
		if err := w.tape.rest(); err != nil {
			return err
		}
	}
	if t.end {
		if err := w.tape.end(); err != nil {
			return err
		}
	}
	if t.sync || t.rest {
		return w.tape.sync()
	}
	return nil
}

// settle takes note of what a task did and wakes whoever waits for it.
func (w *Writer) settle(t task, err error) {
	w.stored, w.inFlight, w.head = w.tape.size, 0, w.tape.head
	w.touched = time.Now()
	if err != nil {
		w.broken = true
		w.fail(err)
	} else if t.sync {
		w.synced = t.upTo
	}
	w.keep(t.batch.buf)
	if t.end {
		w.finish()
	}
	w.changed.Broadcast()
}

// keep puts a small buffer aside for the next queue.
func (w *Writer) keep(b []byte) {
	if b = giveBuffer(b); b != nil {
		w.spare = b
	}
}

// finish closes the file after the last task.
func (w *Writer) finish() {
	w.timer.Stop()
	if !w.broken && w.room.reserved != 0 {
		// Gives the blocks back that were reserved behind the end; failing that they go when the file goes.
		_ = w.tape.file.Truncate(w.tape.size)
	}
	if err := w.tape.file.Close(); err != nil {
		w.broken = true
		w.fail(err)
	}
	if w.err == nil {
		close(w.failed)
	}
	w.ended = true
	close(w.done)
}

// schedule sets the timer for what falls due next.
func (w *Writer) schedule() {
	switch {
	case w.ended || w.broken:
		w.timer.Stop()
	case !w.dirty.IsZero():
		w.timer.Reset(max(0, flushDelay-time.Since(w.dirty)))
	case w.mayRest():
		w.timer.Reset(max(0, restDelay-time.Since(w.touched)))
	default:
		w.timer.Stop()
	}
}
