package shell

import "bytes"

// maxShown is how many bytes of the token may have reached the person before it is recognised: so many hex digits at the end
// of a piece of output are common, and holding them back would hold back the echo of a key.
const maxShown = 7

// scrubber takes the token out of text, wherever it stands: in what `set` lists, or in an answer that a shell which did not
// wait for it echoes.
type scrubber struct {
	token   []byte
	matched int // of the token, at the end of the text so far
	shown   int // of these, how many were handed on
}

func (s *scrubber) write(data []byte, text func([]byte) error) error {
	if len(data) == 0 {
		return nil
	}
	done := s.shown
	if s.matched > 0 {
		data = append(bytes.Clone(s.token[:s.matched]), data...)
	}
	for {
		i := bytes.Index(data, s.token)
		if i < 0 {
			break
		}
		if err := send(data[min(done, i):i], text); err != nil {
			return err
		}
		data, done = data[i+len(s.token):], 0
	}
	s.matched = s.overlap(data)
	s.shown = s.matched
	end := len(data)
	if s.matched > maxShown {
		end -= s.matched
		s.shown = max(0, done-end)
	}
	return send(data[min(done, end):end], text)
}

// overlap is how much of the token's beginning stands at the end of data.
func (s *scrubber) overlap(data []byte) int {
	for n := min(len(s.token)-1, len(data)); n > 0; n-- {
		if bytes.HasSuffix(data, s.token[:n]) {
			return n
		}
	}
	return 0
}

func (s *scrubber) flush(text func([]byte) error) error {
	rest := s.token[s.shown:s.matched]
	s.matched, s.shown = 0, 0
	return send(rest, text)
}
