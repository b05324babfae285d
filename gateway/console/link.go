package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sekisho/sekisho/gateway/access"
)

// A link leads an approver to one request as it stood when the link was made. It grants nothing: who opens it needs their
// certificate, a login and the right to see the request, and confirms an answer with their security key.
//
// On the wire it is the Base64url (RFC 4648 section 5, no padding) of: a version byte, 1; the Unix second at which it ends,
// 8 bytes big-endian; the SHA-256 of the request's digest; the request's id, 1 to 64 bytes; and an HMAC-SHA256 over all of
// that with the gateway's key for links.
type link struct {
	request string
	digest  [sha256.Size]byte
	expires time.Time // whole seconds
}

const (
	linkPurpose = "request links"
	linkVersion = 1
	linkFixed   = 1 + 8 + sha256.Size
	maxLinkID   = 64
	maxLinkText = 256
)

// What is wrong with a link.
var (
	errLinkForged   = errors.New("this link is not one of this gateway's, or it was changed on its way")
	errLinkExpired  = errors.New("this link has expired")
	errLinkOutdated = errors.New("this request has changed since the link was made")
)

func newLink(request, digest string, expires time.Time) link {
	return link{request: request, digest: sha256.Sum256([]byte(digest)), expires: expires.Truncate(time.Second)}
}

// sign writes a link out. The id is one of the gateway's own, of at most maxLinkID bytes.
func (l link) sign(key []byte) string {
	text := make([]byte, 0, linkFixed+len(l.request)+sha256.Size)
	text = append(text, linkVersion)
	text = binary.BigEndian.AppendUint64(text, uint64(l.expires.Unix()))
	text = append(text, l.digest[:]...)
	text = append(text, l.request...)
	return base64.RawURLEncoding.EncodeToString(append(text, linkMAC(key, text)...))
}

func linkMAC(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil)
}

// openLink reads a token strictly: the one text that sign makes, and none other, is a link.
func openLink(key []byte, token string, now time.Time) (link, error) {
	var l link
	if len(token) > maxLinkText {
		return l, errLinkForged
	}
	whole, err := base64.RawURLEncoding.Strict().DecodeString(token)
	// The decoder passes over line ends; a link has none.
	if err != nil || base64.RawURLEncoding.EncodedLen(len(whole)) != len(token) || len(whole) <= linkFixed+sha256.Size {
		return l, errLinkForged
	}
	text, mac := whole[:len(whole)-sha256.Size], whole[len(whole)-sha256.Size:]
	if !hmac.Equal(mac, linkMAC(key, text)) || text[0] != linkVersion || len(text)-linkFixed > maxLinkID {
		return l, errLinkForged
	}
	l.request = string(text[linkFixed:])
	l.digest = [sha256.Size]byte(text[9:linkFixed])
	l.expires = time.Unix(int64(binary.BigEndian.Uint64(text[1:9])), 0)
	if !now.Before(l.expires) {
		return l, errLinkExpired
	}
	return l, nil
}

// shows tells whether a request still stands as it did when the link was made.
func (l link) shows(digest string) bool {
	sum := sha256.Sum256([]byte(digest))
	return hmac.Equal(l.digest[:], sum[:])
}

// RequestLink leads an approver to a request.
type RequestLink struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// linkTo makes the link to a request as it stands. It ends with the request.
func (c *Console) linkTo(r access.ApprovalRequest) RequestLink {
	l := newLink(r.ID, r.Digest(), r.Expires)
	return RequestLink{URL: c.cfg.BaseURL + "/r/" + l.sign(c.linkKey), Expires: l.expires.UTC()}
}

// apiRequestLink makes a link for whoever may see the request.
func (c *Console) apiRequestLink(w http.ResponseWriter, r *http.Request, v *visitor) error {
	request, err := c.request(r.Context(), v, r.PathValue("id"))
	if err != nil {
		return err
	}
	if request.Status != access.RequestPending {
		return fmt.Errorf("request %s is %s: %w", request.ID, request.Status, access.ErrAnswered)
	}
	return answer(w, http.StatusOK, c.linkTo(request))
}

// followLink goes on to the page of the request that a link is for. Its token leaves the address bar, and no page that comes
// after learns it.
func (c *Console) followLink(w http.ResponseWriter, r *http.Request, v *visitor) error {
	w.Header().Set("Referrer-Policy", "no-referrer")
	l, err := openLink(c.linkKey, r.PathValue("token"), c.cfg.Now())
	if err != nil {
		return err
	}
	request, err := c.request(r.Context(), v, l.request)
	if err != nil {
		return err
	}
	if !l.shows(request.Digest()) {
		return &outdatedLink{request.ID}
	}
	http.Redirect(w, r, "/requests/"+url.PathEscape(request.ID), http.StatusSeeOther)
	return nil
}

// outdatedLink is a link to a request that has changed since.
type outdatedLink struct{ request string }

func (e *outdatedLink) Error() string { return errLinkOutdated.Error() }
func (e *outdatedLink) Unwrap() error { return errLinkOutdated }
