package demo_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/sekisho/sekisho/gateway/demo"
)

const ordersHost = "orders.apps.localhost"

// issuer signs identity tokens as a gateway does.
type issuer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	now time.Time
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t, key, time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
}

func (i *issuer) jwks() []byte {
	return marshal(i.t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k1", Use: "sig", Algorithm: "ES256"}}})
}

func (i *issuer) token(change map[string]any) string {
	i.t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", "k1")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, options)
	if err != nil {
		i.t.Fatal(err)
	}
	claims := map[string]any{
		"iss": "https://console.localhost", "aud": ordersHost, "sub": "hanako", "vendor": "acme-maintenance",
		"session": "s-1", "iat": i.now.Unix(), "exp": i.now.Add(time.Minute).Unix(),
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

func newOrders(t *testing.T) (*demo.Orders, *issuer) {
	t.Helper()
	i := newIssuer(t)
	app, err := demo.NewOrders(demo.OrdersConfig{JWKS: i.jwks, Audience: ordersHost, Now: func() time.Time { return i.now }})
	if err != nil {
		t.Fatal(err)
	}
	return app, i
}

// ask sends one request as hanako; headers come in pairs.
func ask(app http.Handler, i *issuer, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Sekisho-Identity", i.token(nil))
	for n := 0; n < len(headers); n += 2 {
		r.Header.Set(headers[n], headers[n+1])
	}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w
}

func TestTheOrdersAppServesNobodyTheGatewayDoesNotVouchFor(t *testing.T) {
	app, i := newOrders(t)
	stranger := newIssuer(t)
	for _, c := range []struct {
		name, token string
		status      int
	}{
		{"the gateway's token", i.token(nil), 200},
		{"no token", "", 401},
		{"another key", stranger.token(nil), 401},
		{"a token for another app", i.token(map[string]any{"aud": "wiki.apps.localhost"}), 401},
		{"a token for no app", i.token(map[string]any{"aud": nil}), 401},
		{"expired", i.token(map[string]any{"exp": i.now.Add(-2 * time.Minute).Unix()}), 401},
		{"without end", i.token(map[string]any{"exp": nil}), 401},
		{"from the future", i.token(map[string]any{"nbf": i.now.Add(time.Hour).Unix()}), 401},
		{"naming nobody", i.token(map[string]any{"sub": nil}), 401},
		{"no token at all", "hanako", 401},
		{"unsigned", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJoYW5ha28ifQ.", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/orders", nil)
			if c.token != "" {
				r.Header.Set("X-Sekisho-Identity", c.token)
			}
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
		})
	}
	r := httptest.NewRequest("GET", "/orders", nil)
	r.Header["X-Sekisho-Identity"] = []string{i.token(nil), i.token(map[string]any{"sub": "mika"})}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	if w.Code != 401 {
		t.Errorf("two tokens at once: %d", w.Code)
	}
}

func TestThePageShowsTheOrdersAndWhoIsAsking(t *testing.T) {
	app, i := newOrders(t)
	w := ask(app, i, "GET", "/orders", "")
	for _, want := range []string{"受注一覧", "株式会社青空商店", `<span id="who">hanako (acme-maintenance)</span>`, "/export/customers"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	w = ask(app, i, "POST", "/search", "q=ケーブル", "Content-Type", "application/x-www-form-urlencoded")
	if body := w.Body.String(); !strings.Contains(body, "ネットワークケーブル") || strings.Contains(body, "卓上ライト") {
		t.Errorf("searching: %d %s", w.Code, body)
	}
	if w := ask(app, i, "GET", "/whoami", ""); !strings.Contains(w.Body.String(), `"person":"hanako"`) {
		t.Errorf("whoami: %s", w.Body)
	}
}

func TestAnOrderIsEditedThroughTheForm(t *testing.T) {
	app, i := newOrders(t)
	form := "customer=%E6%96%B0%E7%A4%BE&item=box&quantity=2&price=1500&status=packed&note="
	w := ask(app, i, "POST", "/orders/1001", form, "Content-Type", "application/x-www-form-urlencoded")
	if w.Code != 303 {
		t.Fatalf("saving: %d %s", w.Code, w.Body)
	}
	var o struct{ Customer, Status string }
	decode(t, ask(app, i, "GET", "/api/orders/1001", ""), &o)
	if o.Customer != "新社" || o.Status != "packed" {
		t.Errorf("the order is %+v", o)
	}
	if w := ask(app, i, "POST", "/orders/1001/ship", "", "Content-Type", "application/x-www-form-urlencoded"); w.Code != 303 {
		t.Errorf("shipping: %d %s", w.Code, w.Body)
	}
	if w := ask(app, i, "GET", "/orders/1001", ""); !strings.Contains(w.Body.String(), `value="shipped" selected`) {
		t.Errorf("the form shows another status: %s", w.Body)
	}
}

func decode(t *testing.T, w *httptest.ResponseRecorder, into any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
}

func TestTheAPICreatesChangesAndDeletes(t *testing.T) {
	app, i := newOrders(t)
	const js = "application/json"
	w := ask(app, i, "POST", "/api/orders", `{"customer":"甲","item":"x","quantity":1,"price":10,"status":"new"}`, "Content-Type", js)
	location := w.Header().Get("Location")
	if w.Code != 201 || location == "" {
		t.Fatalf("creating: %d %s", w.Code, w.Body)
	}
	w = ask(app, i, "PATCH", location, `{"quantity":5}`, "Content-Type", js)
	var o struct {
		Customer string
		Quantity int
	}
	if decode(t, w, &o); o.Customer != "甲" || o.Quantity != 5 {
		t.Errorf("after PATCH: %+v", o)
	}
	if w := ask(app, i, "PUT", location, `{"quantity":7}`, "Content-Type", js); w.Code != 400 {
		t.Errorf("a PUT that leaves most out: %d %s", w.Code, w.Body)
	}
	if w := ask(app, i, "DELETE", location, ""); w.Code != 204 {
		t.Errorf("deleting: %d %s", w.Code, w.Body)
	}
	if w := ask(app, i, "GET", location, ""); w.Code != 404 {
		t.Errorf("after deleting: %d", w.Code)
	}
}

func TestTheOrdersAppIsStrict(t *testing.T) {
	app, i := newOrders(t)
	const js, form = "application/json", "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, method, path, body, kind string
		status                         int
	}{
		{"DELETE on a page", "DELETE", "/orders/1001", "", "", 405},
		{"PUT on the list", "PUT", "/api/orders", "{}", js, 405},
		{"POST on the export", "POST", "/export/customers", "", form, 405},
		{"GET on the search", "GET", "/search", "", "", 405},
		{"no such page", "GET", "/admin", "", "", 404},
		{"no such order", "DELETE", "/api/orders/9", "", "", 404},
		{"an order that is no number", "GET", "/orders/x", "", "", 404},
		{"JSON as a form", "POST", "/api/orders", "{}", form, 415},
		{"unknown member", "PATCH", "/api/orders/1001", `{"admin":true}`, js, 400},
		{"two values", "PATCH", "/api/orders/1001", `{"quantity":1}{}`, js, 400},
		{"a status that does not exist", "PATCH", "/api/orders/1001", `{"status":"lost"}`, js, 400},
		{"a quantity of nothing", "PATCH", "/api/orders/1001", `{"quantity":0}`, js, 400},
		{"a long note", "PATCH", "/api/orders/1001", `{"note":"` + strings.Repeat("あ", 201) + `"}`, js, 400},
		{"a huge body", "PATCH", "/api/orders/1001", `{"note":"` + strings.Repeat("a", 70000) + `"}`, js, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(app, i, c.method, c.path, c.body, "Content-Type", c.kind)
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if c.status == 405 && w.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestAFormFromAnotherSiteIsRefused(t *testing.T) {
	app, i := newOrders(t)
	form := "application/x-www-form-urlencoded"
	for _, site := range []string{"cross-site", "same-site"} {
		if w := ask(app, i, "POST", "/orders/1001/ship", "", "Content-Type", form, "Sec-Fetch-Site", site); w.Code != 403 {
			t.Errorf("a %s form got %d", site, w.Code)
		}
	}
}

func TestTheExportHasAsManyRowsAsTheDirectorySays(t *testing.T) {
	app, i := newOrders(t)
	w := ask(app, i, "GET", "/export/customers", "")
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil || len(rows) != demo.CustomerCount+1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if got := w.Header().Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
		t.Errorf("Content-Disposition %q", got)
	}
}

func TestTheBookHasAnEnd(t *testing.T) {
	app, i := newOrders(t)
	body := `{"customer":"甲","item":"x","quantity":1,"price":10}`
	for n := range 1000 {
		w := ask(app, i, "POST", "/api/orders", body, "Content-Type", "application/json")
		if w.Code == 507 {
			if n < 900 {
				t.Errorf("full after %d", n)
			}
			return
		}
	}
	t.Error("the book took every order")
}
