package webproxy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTarget is the longest request target that is carried, in bytes.
const maxTarget = 8 << 10

// errTarget is wrapped by everything that parseTarget refuses.
var errTarget = errors.New("the request target is ambiguous")

// parseTarget splits a request target in origin form into the decoded path that policy decides and the raw query. Whatever
// two programs could read as two different paths is refused, so that the path that was decided is the path the app
// routes by: `.` and `..` segments, empty segments, backslashes, path parameters (`;`), encoded slashes, dots and
// backslashes, double encoding, control characters, invalid UTF-8, and bytes that belong in no URL.
func parseTarget(target string) (path, query string, err error) {
	if len(target) > maxTarget {
		return "", "", fmt.Errorf("%w: longer than %d bytes", errTarget, maxTarget)
	}
	if target == "" || target[0] != '/' {
		return "", "", fmt.Errorf("%w: only paths that begin with / are carried", errTarget)
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f {
			return "", "", fmt.Errorf("%w: byte %#02x must be percent-encoded", errTarget, c)
		}
	}
	raw, query, _ := strings.Cut(target, "?")
	if path, err = decodePath(raw); err != nil {
		return "", "", err
	}
	return path, query, checkSegments(path)
}

// decodePath undoes percent-encoding exactly once.
func decodePath(raw string) (string, error) {
	if i := strings.IndexAny(raw, "\\;#"); i >= 0 {
		return "", fmt.Errorf("%w: %q in the path", errTarget, raw[i])
	}
	if !strings.Contains(raw, "%") {
		return raw, nil
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return "", fmt.Errorf("%w: %% without two hexadecimal digits", errTarget)
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
			if strings.IndexByte("/\\.;", c) >= 0 {
				return "", fmt.Errorf("%w: encoded %q in the path", errTarget, c)
			}
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// checkSegments refuses what only shows once the path is decoded.
func checkSegments(path string) error {
	if !utf8.ValidString(path) {
		return fmt.Errorf("%w: the path is not UTF-8", errTarget)
	}
	if strings.IndexFunc(path, unicode.IsControl) >= 0 {
		return fmt.Errorf("%w: control character in the path", errTarget)
	}
	for i := 0; i+2 < len(path); i++ {
		if path[i] == '%' && isHex(path[i+1]) && isHex(path[i+2]) {
			return fmt.Errorf("%w: the path is encoded twice", errTarget)
		}
	}
	if strings.Contains(path, "//") {
		return fmt.Errorf("%w: empty segment in the path", errTarget)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("%w: %q segment in the path", errTarget, segment)
		}
	}
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
