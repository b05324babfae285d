package webproxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// errOverride refuses a parameter that frameworks take for the method: a POST that needs execute would become a DELETE
// behind the decision.
var errOverride = errors.New("a parameter would change the method after it was decided")

// errForm refuses a form the gateway cannot read, because the app might read it otherwise.
var errForm = errors.New("the form cannot be read")

// overrideNames are such parameters, in the spelling of parameterName.
var overrideNames = []string{"_method", "__method", "_http_method", "_httpmethod", "_methodoverride", "_method_override",
	"x_http_method_override", "x_http_method", "x_method_override", "http_method_override"}

// parameterName spells a parameter as lenient frameworks come to see it: without leading spaces, cut at a NUL or an
// index, with dots, dashes and spaces as underscores.
func parameterName(name string) string {
	name, _, _ = strings.Cut(strings.TrimLeft(name, blank), "\x00")
	if i := strings.IndexByte(name, '['); i > 0 {
		name = name[:i]
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.', '-', ' ', '[':
			return '_'
		}
		return r
	}, strings.ToLower(name))
}

// blank is what lenient frameworks skip at the beginning of a name.
const blank = " \t\r\n\v\f"

func checkName(name string) error {
	if slices.Contains(overrideNames, parameterName(name)) {
		return overrideError(name)
	}
	return nil
}

// overrideError names the parameter as it came, shortened.
type overrideError string

func (e overrideError) Error() string {
	return fmt.Sprintf("the parameter %.40q would change the method after it was decided; send the method itself", string(e))
}

func (e overrideError) Is(target error) bool { return target == errOverride }

// checkQuery refuses a query with such a parameter, whichever separator the app goes by.
func checkQuery(query string) error {
	_, err := (&pairNames{}).Write([]byte(query + "&"))
	return err
}

// nameCheck reads a body as it passes and fails before the bytes that complete such a parameter are forwarded.
type nameCheck interface {
	io.Writer
	secret() bool // a parameter that carries a secret went by, and the body has no redacted form
}

// checkBody returns the check that a request's body must pass, or nil where none is needed.
func checkBody(h http.Header) (nameCheck, error) {
	types := h["Content-Type"]
	if len(types) > 1 {
		return nil, fmt.Errorf("%w: it has %d content types", errForm, len(types))
	}
	if len(types) == 0 || types[0] == "" {
		return &pairNames{}, nil // some frameworks take a body without a type for a form
	}
	kind, params, err := mime.ParseMediaType(types[0])
	named := strings.ToLower(types[0]) // some frameworks look for a word anywhere in it
	if err != nil && (strings.Contains(named, "form") || strings.Contains(named, "multipart")) {
		return nil, fmt.Errorf("%w: content type %.80q: %w", errForm, types[0], err)
	}
	multi := strings.HasPrefix(kind, "multipart/")
	form := multi || kind == "application/x-www-form-urlencoded"
	if !form && !strings.Contains(named, "json") {
		return nil, nil
	}
	if enc := h.Get("Content-Encoding"); (form || isJSON(kind)) && enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, fmt.Errorf("%w: send it without content encoding %.40q", errForm, enc)
	}
	if charset := params["charset"]; charset != "" && !readsASCII(charset) {
		return nil, fmt.Errorf("%w: send it in UTF-8, not in %.40q", errForm, charset)
	}
	switch {
	case multi:
		return checkMultipart(named, params)
	case form:
		return &pairNames{}, nil
	}
	return &memberNames{}, nil
}

// checkMultipart wants a boundary that every app finds: some take the first thing of that name in the content type, up to
// the first quote or semicolon.
func checkMultipart(named string, params map[string]string) (nameCheck, error) {
	boundary := params["boundary"]
	if boundary == "" || len(boundary) > 200 || strings.Count(named, "boundary") != 1 ||
		strings.Trim(boundary, boundaryBytes) != "" {
		return nil, fmt.Errorf("%w: a multipart body needs one boundary, of letters, digits and -_.'()+,/:=?", errForm)
	}
	return newPartNames(boundary), nil
}

// boundaryBytes are those of RFC 2046, 5.1.1 without the space.
const boundaryBytes = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=?"

// readsASCII tells whether bytes below 0x80 mean in a charset what they mean in ASCII, so that no name hides in another
// encoding.
func readsASCII(charset string) bool {
	charset = strings.ToLower(charset)
	return slices.ContainsFunc([]string{"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-", "windows-125", "shift_jis", "shift-jis",
		"sjis", "windows-31j", "euc-jp", "euc-kr", "gbk", "gb2312", "gb18030", "big5", "koi8-"},
		func(known string) bool { return strings.HasPrefix(charset, known) })
}

func isJSON(kind string) bool {
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}

// maxName is the longest parameter name looked at; a longer one is none of overrideNames.
const maxName = 512

// pairNames reads the names of a urlencoded body or query.
type pairNames struct {
	name  []byte
	value bool // reading a value
}

func (c *pairNames) secret() bool { return false } // redactQuery covers them

func (c *pairNames) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == '&' || b == ';':
			if err := c.check(); err != nil {
				return 0, err
			}
			c.name, c.value = c.name[:0], false
		case c.value:
		case b == '=':
			if err := c.check(); err != nil {
				return 0, err
			}
			c.value = true
		case len(c.name) < maxName:
			c.name = append(c.name, b)
		case len(c.name) < maxName:
			c.name = append(c.name, b)
		default:
			if c.name = trimBlank(c.name); len(c.name) < maxName {
				c.name = append(c.name, b)
			}
		}
	}
	return len(p), nil
}

// trimBlank drops what lenient apps skip at the beginning of a name, so that it cannot push the name out of sight.
func trimBlank(name []byte) []byte {
	for len(name) > 0 {
		n := 1
		if name[0] == '%' && len(name) > 2 {
			n = 3
		}
		if first := lenient(string(name[:n])); len(first) != 1 || strings.Trim(first, blank) != "" {
			return name
		}
		name = name[:copy(name, name[n:])]
	}
	return name
}

func (c *pairNames) check() error { return checkName(lenient(string(c.name))) }

// lenient decodes a name as forgiving apps do: + is a space, what is no escape stands for itself, and %uXXXX is one.
func lenient(name string) string {
	if !strings.ContainsAny(name, "%+") {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		rest := name[i:]
		switch {
		case rest[0] == '+':
			b.WriteByte(' ')
		case len(rest) > 2 && rest[0] == '%' && isHex(rest[1]) && isHex(rest[2]):
			b.WriteByte(unhex(rest[1])<<4 | unhex(rest[2]))
			i += 2
		case len(rest) > 5 && rest[0] == '%' && rest[1]|0x20 == 'u' && isHex(rest[2]) && isHex(rest[3]) && isHex(rest[4]) && isHex(rest[5]):
			b.WriteRune(rune(unhex(rest[2]))<<12 | rune(unhex(rest[3]))<<8 | rune(unhex(rest[4]))<<4 | rune(unhex(rest[5])))
			i += 5
		default:
			b.WriteByte(rest[0])
		}
	}
	return b.String()
}

// memberNames reads the names of the outermost members of a JSON body.
type memberNames struct {
	depth  int
	quoted bool
	escape bool
	name   []byte
}

func (c *memberNames) secret() bool { return false } // redactJSON covers them

func (c *memberNames) Write(p []byte) (int, error) {
	for _, b := range p {
		if c.quoted {
			c.inString(b)
			continue
		}
		switch b {
		case '"':
			c.quoted, c.name = true, c.name[:0]
		case '{', '[':
			c.depth++
		case '}', ']':
			c.depth--
		case ':':
			if c.depth != 1 {
				continue
			}
			var name string
			if json.Unmarshal([]byte(`"`+string(c.name)+`"`), &name) != nil {
				name = string(c.name)
			}
			if err := checkName(name); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (c *memberNames) inString(b byte) {
	switch {
	case c.escape:
		c.escape = false
	case b == '\\':
		c.escape = true
	case b == '"':
		c.quoted = false
		return
	}
	if c.depth == 1 && len(c.name) < maxName {
		c.name = append(c.name, b)
	}
}

// maxPartHeader is the longest header of one part of a multipart body.
const maxPartHeader = 16 << 10

// partNames reads the names of the parts of a multipart body without keeping the parts.
type partNames struct {
	delimiter []byte // newline, two dashes, boundary
	buf       []byte // not looked at yet; begins with the newline that may begin a delimiter
	header    bool   // buf begins with the rest of a delimiter's line and a part's header
	sensitive bool
}

func newPartNames(boundary string) *partNames {
	return &partNames{delimiter: []byte("\n--" + boundary), buf: []byte("\n")}
}

func (c *partNames) secret() bool { return c.sensitive }

func (c *partNames) Write(p []byte) (int, error) {
	c.buf = append(c.buf, p...)
	for {
		if !c.header && !c.seek() {
			return len(p), nil
		}
		more, err := c.readHeader()
		if err != nil {
			return 0, err
		}
		if !more {
			return len(p), nil
		}
	}
}

// seek moves buf behind the next delimiter; false when it has not come yet.
func (c *partNames) seek() bool {
	i := bytes.Index(c.buf, c.delimiter)
	if i < 0 {
		c.buf = append(c.buf[:0], c.buf[max(0, len(c.buf)-len(c.delimiter)+1):]...)
		return false
	}
	c.buf, c.header = c.buf[i+len(c.delimiter):], true
	return true
}

// readHeader reads the rest of a delimiter's line and the header after it; false when they have not come whole.
func (c *partNames) readHeader() (bool, error) {
	line := bytes.IndexByte(c.buf, '\n')
	if line >= 0 && len(bytes.TrimSpace(c.buf[:line])) > 0 {
		// The last delimiter, or a longer boundary that begins like ours: no part begins here.
		c.buf, c.header = c.buf[line:], false
		return true, nil
	}
	end := headerEnd(c.buf)
	if end < 0 {
		if len(c.buf) > maxPartHeader {
			return false, fmt.Errorf("%w: the header of a part is longer than %d bytes", errForm, maxPartHeader)
		}
		return false, nil
	}
	if err := c.part(c.buf[line+1 : end]); err != nil {
		return false, err
	}
	c.buf, c.header = c.buf[end-1:], false // the newline may begin the next delimiter
	return true, nil
}

// headerEnd is the offset behind the first empty line, or -1.
func headerEnd(b []byte) int {
	end := -1
	for _, blank := range []string{"\n\r\n", "\n\n"} {
		if i := bytes.Index(b, []byte(blank)); i >= 0 && (end < 0 || i+len(blank) < end) {
			end = i + len(blank)
		}
	}
	return end
}

// part looks at the header of one part.
func (c *partNames) part(block []byte) error {
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(block))).ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("%w: the header of a part: %w", errForm, err)
	}
	dispositions := header["Content-Disposition"]
	if len(dispositions) > 1 {
		return fmt.Errorf("%w: a part has %d dispositions", errForm, len(dispositions))
	}
	if kind, _, _ := mime.ParseMediaType(header.Get("Content-Type")); isJSON(kind) || strings.HasPrefix(kind, "multipart/") {
		c.sensitive = true
	}
	if len(dispositions) == 0 {
		return nil
	}
	_, params, err := mime.ParseMediaType(dispositions[0])
	if err != nil {
		return fmt.Errorf("%w: the disposition of a part: %w", errForm, err)
	}
	c.sensitive = c.sensitive || isSecretName(params["name"], secretNames)
	return checkName(params["name"])
}
