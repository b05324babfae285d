package console

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	linkKey = bytes.Repeat([]byte{7}, 32)
	linkNow = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
)

func TestALinkLeadsToTheRequestItWasMadeFor(t *testing.T) {
	token := newLink("r-01JDXYZ", "digest", linkNow.Add(time.Hour)).sign(linkKey)
	l, err := openLink(linkKey, token, linkNow)
	if err != nil || l.request != "r-01JDXYZ" || !l.expires.Equal(linkNow.Add(time.Hour)) {
		t.Fatalf("%+v, %v", l, err)
	}
	if !l.shows("digest") || l.shows("another") {
		t.Error("it does not tell what it was made for from what changed since")
	}
	if strings.Contains(token, "=") || len(token) > 160 {
		t.Errorf("not fit for a message: %s", token)
	}
}

func TestALinkEnds(t *testing.T) {
	token := newLink("r-1", "d", linkNow).sign(linkKey)
	if _, err := openLink(linkKey, token, linkNow.Add(-time.Second)); err != nil {
		t.Errorf("a second before: %v", err)
	}
	if _, err := openLink(linkKey, token, linkNow); !errors.Is(err, errLinkExpired) {
		t.Errorf("at its end: %v", err)
	}
}

func TestALinkThatWasTamperedWithIsNone(t *testing.T) {
	whole := newLink("r-1", "d", linkNow.Add(time.Hour))
	token := whole.sign(linkKey)
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	for i := range raw {
		for _, flip := range []byte{1, 0x80} {
			changed := bytes.Clone(raw)
			changed[i] ^= flip
			if _, err := openLink(linkKey, base64.RawURLEncoding.EncodeToString(changed), linkNow); !errors.Is(err, errLinkForged) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
	}
	other := bytes.Repeat([]byte{8}, 32)
	signed := func(text []byte) string {
		return base64.RawURLEncoding.EncodeToString(append(text, linkMAC(linkKey, text)...))
	}
	body := raw[:len(raw)-32]
	for name, bad := range map[string]string{
		"nothing":                   "",
		"another gateway's":         whole.sign(other),
		"cut short":                 token[:len(token)-1],
		"with more behind it":       token + "A",
		"padded":                    token + "=",
		"with a line end":           token[:20] + "\n" + token[20:],
		"in the other alphabet":     "+/" + token[2:],
		"of a version to come":      signed(append([]byte{2}, body[1:]...)),
		"with no request":           signed(bytes.Clone(body[:linkFixed])),
		"with half of its head":     signed(bytes.Clone(body[:linkFixed/2])),
		"with an id that is no id":  signed(append(bytes.Clone(body), bytes.Repeat([]byte("A"), 64)...)),
		"longer than any":           strings.Repeat("A", 4096),
		"for the end of all clocks": signed(append([]byte{1, 255, 255, 255, 255, 255, 255, 255, 255}, body[9:]...)),
	} {
		if l, err := openLink(linkKey, bad, linkNow); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// FuzzLink looks for a second text that is the same link, and for one that nobody signed.
func FuzzLink(f *testing.F) {
	token := newLink("r-01JDXYZ", "digest", linkNow.Add(time.Hour)).sign(linkKey)
	f.Add(token)
	f.Add(token[:10] + "\r" + token[10:])
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, text string) {
		if l, err := openLink(linkKey, text, linkNow); err == nil && (text != token || l.request != "r-01JDXYZ") {
			t.Fatalf("%q is %+v", text, l)
		}
	})
}
