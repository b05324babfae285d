package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/sekisho/sekisho/recorder"
	"github.com/sekisho/sekisho/recorder/replay"
)

// Formats in which a recording can be had.
const (
	FormatEntries = "ndjson" // Entry per line
	FormatCast    = "cast"   // asciicast v3
	FormatText    = "txt"
)

// Entry is one entry of a recording. Data is text, or Base64 when it is not valid UTF-8.
type Entry struct {
	OffsetMS int64         `json:"offset_ms"`
	Channel  uint32        `json:"channel"`
	Kind     recorder.Kind `json:"kind"`
	Text     string        `json:"text,omitempty"`
	Base64   []byte        `json:"base64,omitempty"`
}

// apiRecording streams a decrypted recording. One that breaks off breaks the connection as well; one that is still being
// written ends where it is.
func (c *Console) apiRecording(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id := r.PathValue("id")
	format := orElse(r.URL.Query().Get("format"), FormatEntries)
	kind, ok := map[string]string{FormatEntries: "application/x-ndjson", FormatCast: "application/x-asciicast",
		FormatText: "text/plain; charset=utf-8"}[format]
	if !ok {
		return badRequest("format: want %s, %s or %s, not %q", FormatEntries, FormatCast, FormatText, format)
	}
	reader, err := c.openRecording(r, v, id)
	if err != nil {
		return err
	}
	defer reader.Close()
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", id+"."+format))
	switch format {
	case FormatCast:
		err = replay.ExportCast(w, reader)
	case FormatText:
		err = replay.ExportText(w, reader)
	default:
		err = exportEntries(w, reader)
	}
	if err != nil && !errors.Is(err, recorder.ErrCut) {
		c.cfg.Log.Error("a recording broke off", zap.String("session", id), zap.Error(err))
		panic(http.ErrAbortHandler)
	}
	return nil
}

func exportEntries(w io.Writer, reader *recorder.Reader) error {
	encoder := json.NewEncoder(w)
	for {
		e, err := reader.Next()
		var damage *recorder.DamageError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &damage):
			e = recorder.Entry{Kind: recorder.KindGap, Data: gapNote(damage)}
		case err != nil:
			return err
		}
		if err := encoder.Encode(entryOf(e)); err != nil {
			return err
		}
	}
}

func entryOf(e recorder.Entry) Entry {
	out := Entry{OffsetMS: e.Offset.Milliseconds(), Channel: e.Channel, Kind: e.Kind}
	if utf8.Valid(e.Data) {
		out.Text = string(e.Data)
	} else {
		out.Base64 = e.Data
	}
	return out
}

// gapNote stands in an export for what cannot be read.
func gapNote(damage *recorder.DamageError) []byte {
	note, err := json.Marshal(recorder.GapNote{Reason: damage.Error(), Bytes: damage.Length})
	if err != nil {
		return nil
	}
	return note
}
