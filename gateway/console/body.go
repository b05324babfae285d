package console

import (
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"

	"go.uber.org/zap"
)

// Largest bodies taken, in bytes.
const (
	bodyLimit      = 64 << 10
	directoryLimit = 4 << 20
)

// decode reads one JSON object strictly: a key that is not in into, a second value or too many bytes is an error.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return badRequest("reading the JSON body: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("reading the JSON body: more than one value")
	}
	return nil
}

// answer writes one JSON value.
func answer(w http.ResponseWriter, status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
	return nil
}

// answerLines writes one JSON value per line (NDJSON). An error before the first line is returned; one after it breaks the
// connection, so that half a list never looks like a whole one.
func answerLines[T any](c *Console, w http.ResponseWriter, values iter.Seq2[T, error]) error {
	encoder := json.NewEncoder(w)
	begun := false
	for value, err := range values {
		if err != nil && !begun {
			return err
		}
		if err != nil {
			c.cfg.Log.Error("a list broke off", zap.Error(err))
			panic(http.ErrAbortHandler)
		}
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		if encoder.Encode(value) != nil {
			return nil // the caller is gone
		}
	}
	if !begun {
		w.Header().Set("Content-Type", "application/x-ndjson")
	}
	return nil
}

// each makes a list that is in memory one that can be streamed.
func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}
}
