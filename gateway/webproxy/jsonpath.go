package webproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is how deep JSON may nest to be redacted; deeper bodies are not stored.
const maxDepth = 200

var (
	errJSONDepth = errors.New("JSON nests too deep")
	errJSONPath  = errors.New("want a JSON path such as $.card.number or $.items[*].token")
)

// jsonPath is a compiled path to members that must not be stored.
type jsonPath []jsonStep

// jsonStep selects one level: a member by its name, or every element.
type jsonStep struct {
	name    string
	element bool
}

// compileJSONPaths reads the paths a target is configured with: $ and then members (.name) and elements ([*]).
func compileJSONPaths(paths []string) ([]jsonPath, error) {
	compiled := make([]jsonPath, 0, len(paths))
	for _, p := range paths {
		c, err := compileJSONPath(p)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", p, err)
		}
		compiled = append(compiled, c)
	}
	return compiled, nil
}

func compileJSONPath(path string) (jsonPath, error) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok || rest == "" {
		return nil, errJSONPath
	}
	var steps jsonPath
	for rest != "" {
		if after, ok := strings.CutPrefix(rest, "[*]"); ok {
			steps, rest = append(steps, jsonStep{element: true}), after
			continue
		}
		end := strings.IndexAny(rest[1:], ".[") + 1
		if end == 0 {
			end = len(rest)
		}
		if rest[0] != '.' || end == 1 || strings.ContainsAny(rest[1:end], "*]'\"()? ") {
			return nil, errJSONPath
		}
		steps, rest = append(steps, jsonStep{name: rest[1:end]}), rest[end:]
	}
	return steps, nil
}

// matches compares names without case, as some apps do.
func (s jsonStep) matches(at jsonStep) bool {
	return s.element == at.element && (s.element || strings.EqualFold(s.name, at.name))
}

// jsonRedactor walks one body and copies it with the secret values replaced; everything else stays byte for byte.
type jsonRedactor struct {
	dec   *json.Decoder
	src   []byte
	out   bytes.Buffer
	from  int64 // what lies before it in src is in out
	found bool
}

// redactJSON replaces the values at the given paths, and those of members that are secret in every app, by "[redacted]".
// The body may hold several values in a row. An error means that it could not be read as JSON and must not be stored.
func redactJSON(body []byte, paths []jsonPath) (clean []byte, changed bool, err error) {
	r := &jsonRedactor{dec: json.NewDecoder(bytes.NewReader(body)), src: body}
	r.dec.UseNumber()
	for {
		err := r.value(paths, 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, err
		}
	}
	if !r.found {
		return body, false, nil
	}
	r.out.Write(body[r.from:])
	return r.out.Bytes(), true, nil
}

// value copies one value; live are the paths that still have steps below it. io.EOF means there is no further value.
func (r *jsonRedactor) value(live []jsonPath, depth int) error {
	if depth > maxDepth {
		return errJSONDepth
	}
	token, err := r.dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		err = r.object(live, depth)
	case json.Delim('['):
		err = r.array(live, depth)
	default:
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *jsonRedactor) object(live []jsonPath, depth int) error {
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return errors.New("member name is not a string")
		}
		at := jsonStep{name: name}
		if err := r.child(live, at, depth, isSecretName(name, secretMembers)); err != nil {
			return err
		}
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonRedactor) array(live []jsonPath, depth int) error {
	for r.dec.More() {
		if err := r.child(live, jsonStep{element: true}, depth, false); err != nil {
			return err
		}
	}
	_, err := r.dec.Token()
	return err
}

// child copies or strikes out the value at one step below.
func (r *jsonRedactor) child(live []jsonPath, at jsonStep, depth int, secret bool) error {
	below, hit := advance(live, at)
	if hit || secret {
		return r.strike()
	}
	return r.value(below, depth+1)
}

// advance takes every path one step further; hit says that one of them ends here.
func advance(live []jsonPath, at jsonStep) (below []jsonPath, hit bool) {
	for _, path := range live {
		if path[0].matches(at) {
			if len(path) == 1 {
				return nil, true
			}
			below = append(below, path[1:])
		}
	}
	return below, false
}

// strike replaces the next value. null, true, false and empty values stay: they tell nothing.
func (r *jsonRedactor) strike() error {
	var raw json.RawMessage
	if err := r.dec.Decode(&raw); err != nil {
		return err
	}
	switch string(raw) {
	case "null", `""`, "true", "false", "{}", "[]":
		return nil
	}
	end := r.dec.InputOffset()
	start := end - int64(len(raw))
	if !bytes.Equal(r.src[start:end], raw) {
		return errors.New("JSON value not found where it was read")
	}
	r.out.Write(r.src[r.from:start])
	r.out.WriteString(`"` + redacted + `"`)
	r.from, r.found = end, true
	return nil
}
