package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

func (a *Orders) apiList(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"orders": a.all(r.URL.Query().Get("q"))})
}

func (a *Orders) apiGet(w http.ResponseWriter, r *http.Request) {
	o, err := a.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, o)
}

func (a *Orders) apiCreate(w http.ResponseWriter, r *http.Request) {
	o := order{Status: "new"}
	body, err := readJSON(r)
	if err == nil {
		err = decodeOrder(body, &o)
	}
	if err == nil {
		o.Updated = a.now().UTC()
		err = o.check()
	}
	if err != nil {
		fail(w, err)
		return
	}
	o, ok := a.add(o)
	if !ok {
		fail(w, errFull)
		return
	}
	w.Header().Set("Location", fmt.Sprintf("/api/orders/%d", o.ID))
	writeJSON(w, http.StatusCreated, o)
}

// apiPut replaces, apiPatch keeps what the body does not name.
func (a *Orders) apiPut(w http.ResponseWriter, r *http.Request)   { a.apiChange(w, r, true) }
func (a *Orders) apiPatch(w http.ResponseWriter, r *http.Request) { a.apiChange(w, r, false) }

func (a *Orders) apiChange(w http.ResponseWriter, r *http.Request, whole bool) {
	o, err := a.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	body, err := readJSON(r)
	if err != nil {
		fail(w, err)
		return
	}
	o, err = a.change(o.ID, func(o order) (order, error) {
		if whole {
			o = order{}
		}
		err := decodeOrder(body, &o)
		return o, err
	})
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, o)
}

func (a *Orders) apiDelete(w http.ResponseWriter, r *http.Request) {
	o, err := a.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	a.mu.Lock()
	delete(a.orders, o.ID)
	a.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func readJSON(r *http.Request) ([]byte, error) {
	if err := mediaType(r, "application/json"); err != nil {
		return nil, err
	}
	return io.ReadAll(r.Body) // capped by identified
}

func decodeOrder(text []byte, o *order) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("reading the order: want one JSON value and nothing after it")
	}
	return nil
}
