package webproxy

import (
	"bytes"
	"errors"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

func TestParametersThatChangeTheMethodAreRefused(t *testing.T) {
	for name, query := range map[string]string{
		"plainly":                    "_method=DELETE",
		"after another":              "a=1&_method=DELETE",
		"after a semicolon":          "a=1;_method=DELETE",
		"encoded":                    "%5Fme%74hod=DELETE",
		"in upper case":              "_METHOD=DELETE",
		"with a dot, as PHP reads":   ".method=DELETE",
		"with a space before":        "+_method=DELETE",
		"with a NUL behind":          "_method%00x=DELETE",
		"as a list":                  "_method[]=DELETE",
		"without a value":            "_method",
		"as a header's name":         "X-HTTP-Method-Override=DELETE",
		"with a bad escape further":  "_method=%zz",
		"with one behind a NUL":      "%5fmethod%00%zz=DELETE",
		"with one in the index":      "%5fmethod[%zz]=DELETE",
		"as classic ASP escapes it":  "%u005Fmethod=DELETE",
		"behind many spaces":         strings.Repeat("+", 2*maxName) + "_method=DELETE",
		"behind spaces of all kinds": strings.Repeat("+%20%09%0a %0D", maxName/5) + "_method=DELETE",
		"behind many tabs":           "a=1&" + strings.Repeat("%09", 2*maxName) + "_method=DELETE",
	} {
		if err := checkQuery(query); !errors.Is(err, errOverride) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, query := range []string{"", "method=x", "a=_method", "pay_method=card", "a_method=b", "payment[_method]=x"} {
		if err := checkQuery(query); err != nil {
			t.Errorf("%q: %v", query, err)
		}
	}
}

// feed passes a body to its check in pieces of n bytes, as a connection would bring it.
func feed(t *testing.T, kind, body string, n int) error {
	t.Helper()
	h := http.Header{}
	if kind != "" {
		h.Set("Content-Type", kind)
	}
	check, err := checkBody(h)
	if err != nil || check == nil {
		return err
	}
	for rest := []byte(body + "&"); len(rest) > 0; {
		k := min(n, len(rest))
		if _, err := check.Write(rest[:k]); err != nil {
			return err
		}
		rest = rest[k:]
	}
	return nil
}

const form = "application/x-www-form-urlencoded"

func TestBodiesWithSuchAParameterAreRefusedHoweverTheyArrive(t *testing.T) {
	part := func(disposition string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n_method\r\n--b-not\r\n--b\r\n" + disposition +
			"\r\n\r\nDELETE\r\n--b--\r\n"
	}
	for name, c := range map[string]struct{ kind, body string }{
		"a form":                     {form, "a=1&_method=DELETE"},
		"a form with charset":        {form + "; charset=utf-8", "_method=DELETE&a=1"},
		"a body without type":        {"", "_method=DELETE"},
		"JSON":                       {"application/json", `{"a":{"b":[1]},"_method":"DELETE"}`},
		"JSON with an escape":        {"application/json", `{"\u005fmethod":"DELETE"}`},
		"JSON with a quote before":   {"application/json", `{"a\"":"\\","_method":"DELETE"}`},
		"a part":                     {"multipart/form-data; boundary=b", part(`Content-Disposition: form-data; name="_method"`)},
		"a part without quotes":      {"multipart/form-data; boundary=b", part(`content-disposition: form-data; name=_method`)},
		"a folded part":              {"multipart/form-data; boundary=b", part("Content-Disposition: form-data;\r\n name=\"_method\"")},
		"a part after bare newlines": {"multipart/form-data; boundary=b", "--b\nContent-Disposition: form-data; name=\"_method\"\n\nDELETE\n--b--\n"},
		"a part behind the last":     {"multipart/form-data; boundary=b", "--b--\r\n--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nx"},
		"JSON by a broken type":      {"application/json; =", `{"_method":"DELETE"}`},
		"JSON among parameters":      {"text/plain; a=/json", `{"_method":"DELETE"}`},
		"JSON named with a comma":    {"application/json, text/plain", `{"_method":"DELETE"}`},
		"a part by its other name":   {"multipart/form-data; boundary=b", part(`Content-Disposition: form-data; name*=utf-8''%5fmethod`)},
		"a part after a preamble":    {"multipart/form-data; boundary=b", "hello\r\n--bb\r\n--b \r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nx"},
	} {
		for _, n := range []int{1, 3, 1 << 20} {
			if err := feed(t, c.kind, c.body, n); !errors.Is(err, errOverride) {
				t.Errorf("%s, %d bytes at a time: %v", name, n, err)
			}
		}
	}
}

func TestFormsNobodyCanReadAreRefused(t *testing.T) {
	two := `Content-Disposition: form-data; name="a"`
	for name, c := range map[string]struct{ kind, body string }{
		"no boundary":                {"multipart/form-data", "x"},
		"a broken multipart type":    {"multipart/mixed, x; boundary=b", "x"},
		"another boundary, to PHP":   {"multipart/form-data; xboundary=a; boundary=b", "x"},
		"a boundary in a boundary":   {`multipart/form-data; boundary="a;boundary=b"`, "x"},
		"a boundary with a quote":    {`multipart/form-data; boundary="a\"b"`, "x"},
		"a boundary ending in space": {`multipart/form-data; boundary="a "`, "x"},
		"a charset of mainframes":    {form + "; charset=ibm037", "x"},
		"JSON in UTF-16":             {"application/json; charset=utf-16le", "x"},
		"a multipart in UTF-7":       {"multipart/form-data; boundary=b; charset=utf-7", "x"},
		"a broken type":              {"multipart/form-data; boundary", "x"},
		"two dispositions":           {"multipart/form-data; boundary=b", "--b\r\n" + two + "\r\n" + two + "\r\n\r\nx\r\n--b--"},
		"a broken disposition":       {"multipart/form-data; boundary=b", "--b\r\n" + two + "; name=\"_method\"\r\n\r\nx\r\n--b--"},
		"an endless header":          {"multipart/form-data; boundary=b", "--b\r\nX: " + strings.Repeat("x", maxPartHeader+10)},
		"a delimiter in the header":  {"multipart/form-data; boundary=b", "--b\r\n--b\r\n" + two + "\r\n\r\nx"},
	} {
		if err := feed(t, c.kind, c.body, 1<<20); !errors.Is(err, errForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := checkBody(http.Header{"Content-Type": {form, "text/plain"}}); !errors.Is(err, errForm) {
		t.Errorf("two content types: %v", err)
	}
	if _, err := checkBody(http.Header{"Content-Type": {form}, "Content-Encoding": {"gzip"}}); !errors.Is(err, errForm) {
		t.Errorf("a compressed form: %v", err)
	}
	if _, err := checkBody(http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}); !errors.Is(err, errForm) {
		t.Errorf("compressed JSON: %v", err)
	}
}

func TestOrdinaryBodiesPass(t *testing.T) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := range 50 {
		part, err := w.CreateFormFile("upload", "注文.html")
		if err != nil {
			t.Fatal(err)
		}
		part.Write([]byte(strings.Repeat(`<input name="_method">--`+w.Boundary()+" \n\n", i)))
	}
	w.Close()
	for name, c := range map[string]struct{ kind, body string }{
		"an upload that talks about it": {w.FormDataContentType(), body.String()},
		"a form":                        {form, "a=1&b=_method&c=" + strings.Repeat("x", 4096)},
		"JSON with it further down":     {"application/json", `{"a":{"_method":"DELETE"},"b":["_method"],"c":"_method"}`},
		"a list":                        {"application/json", `[{"_method":1}]`},
		"a form in Japanese":            {form + "; charset=Shift_JIS", "a=%93%FA%96%7B"},
		"a name without end":            {form, strings.Repeat("a", 2*maxName)},
		"text":                          {"text/plain; charset=utf-16", "a"},
		"a picture":                     {"image/png", "&_method=DELETE&"},
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			if err := feed(t, c.kind, c.body, n); err != nil {
				t.Errorf("%s, %d bytes at a time: %v", name, n, err)
			}
		}
	}
}

func TestAMultipartBodyWithASecretPartIsNotStored(t *testing.T) {
	for disposition, want := range map[string]bool{
		`Content-Disposition: form-data; name="password"`:                              true,
		"Content-Disposition: form-data; name=\"x\"\r\nContent-Type: application/json": true,
		`Content-Disposition: form-data; name="note"`:                                  false,
	} {
		check, err := checkBody(http.Header{"Content-Type": {"multipart/form-data; boundary=b"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := check.Write([]byte("--b\r\n" + disposition + "\r\n\r\nx\r\n--b--\r\n")); err != nil || check.secret() != want {
			t.Errorf("%s: %v, %v", disposition, check.secret(), err)
		}
	}
}

// What Go's own reader finds, the check must have found, and cutting the body differently must not change the answer.
func FuzzMultipartNames(f *testing.F) {
	f.Add("--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nx\r\n--b--\r\n", 3)
	f.Add("pre\r\n--b\nContent-Disposition: form-data; name=a\n\nx\n--b--", 1)
	f.Add("--b--\r\n--b\r\n\r\n\r\n", 2)
	f.Fuzz(func(t *testing.T, body string, n int) {
		if n < 1 {
			return
		}
		at, all := feed(t, "multipart/form-data; boundary=b", body, n), feed(t, "multipart/form-data; boundary=b", body, len(body)+1)
		if (at == nil) != (all == nil) && !errors.Is(at, errForm) && !errors.Is(all, errForm) {
			t.Fatalf("%q: %v in pieces of %d, %v at once", body, at, n, all)
		}
		r := multipart.NewReader(strings.NewReader(body), "b")
		for {
			part, err := r.NextRawPart()
			if err != nil {
				return
			}
			if name := part.FormName(); checkName(name) != nil && all == nil {
				t.Fatalf("%q: %q was not seen", body, name)
			}
		}
	})
}

func FuzzFormAndJSONNames(f *testing.F) {
	f.Add("a=1&_method=DELETE", `{"_method":1}`)
	f.Add("%5fmethod;x", `{"a":[{}],"_\u006dethod":2}`)
	f.Fuzz(func(t *testing.T, pairs, members string) {
		for _, n := range []int{1, 5} {
			if (feed(t, form, pairs, n) == nil) != (feed(t, form, pairs, len(pairs)+1) == nil) {
				t.Fatalf("%q depends on how it is cut", pairs)
			}
			if (feed(t, "application/json", members, n) == nil) != (feed(t, "application/json", members, len(members)+1) == nil) {
				t.Fatalf("%q depends on how it is cut", members)
			}
		}
	})
}
