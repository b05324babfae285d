package webproxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sekisho/sekisho/gateway/webproxy"
)

func TestTheAppLearnsWhoIsThereFromASignedTokenOnly(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	r := v.request(http.MethodGet, appHost, "/orders", nil)
	for _, name := range []string{"X-Sekisho-Identity", "x_sekisho_identity", "X-Forwarded-For", "X_Forwarded_For", "Forwarded", "X-Real-Ip",
		"X-Remote-User", "Remote_User", "X-Forwarded-Host", "X-Forwarded-Prefix", "X-Original-Url"} {
		r.Header[name] = []string{"forged"}
	}
	r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
	if res := v.do(r); res.text != "hello" {
		t.Fatalf("%s: %s", res.Status, res.text)
	}
	got := g.last()
	for name, values := range got.Header {
		if slices.Contains(values, "forged") {
			t.Errorf("%s: %q reached the app", name, values)
		}
		if strings.Contains(strings.Join(values, ""), v.cookie[appHost]) {
			t.Errorf("the gateway's cookie reached the app in %s", name)
		}
	}
	if got.Header.Get("Cookie") != "theme=dark" || got.Host != appHost || got.Header.Get("X-Forwarded-For") != "127.0.0.1" ||
		got.Header.Get("X-Forwarded-Proto") != "https" || got.Header.Get("X-Forwarded-Host") != appHost {
		t.Errorf("the app got %s %v", got.Host, got.Header)
	}

	token, err := jwt.ParseSigned(got.Header.Get("X-Sekisho-Identity"), []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	var keys jose.JSONWebKeySet
	must(t, json.Unmarshal(g.authority.JWKS(), &keys))
	var claims jwt.Claims
	var more struct {
		Vendor  string `json:"vendor"`
		Session string `json:"session"`
	}
	must(t, token.Claims(keys, &claims, &more))
	must(t, claims.Validate(jwt.Expected{Issuer: consoleURL, Subject: "hanako", AnyAudience: jwt.Audience{appHost}, Time: g.clock.now()}))
	if life := claims.Expiry.Time().Sub(claims.IssuedAt.Time()); life > 2*time.Minute || more.Vendor != "acme" || more.Session != g.live() {
		t.Errorf("claims %+v %+v", claims, more)
	}

	v.get("/")
	if again := g.last().Header.Get("X-Sekisho-Identity"); again != got.Header.Get("X-Sekisho-Identity") {
		t.Error("a token was signed for every request")
	}
	g.clock.pass(61 * time.Second)
	v.get("/")
	if later := g.last().Header.Get("X-Sekisho-Identity"); later == got.Header.Get("X-Sekisho-Identity") {
		t.Error("the token was used for more than a minute")
	}
}

func TestTheAppCannotSpeakForTheGateway(t *testing.T) {
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Set-Cookie"] = []string{"__Host-sekisho=evil; Path=/; Secure", "theme=dark; Path=/"}
		w.Header().Set("X-Sekisho-Decision", "d-forged")
		w.Header().Set("Alt-Svc", `h3=":8443"`)
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Add("Trailer", "Set-Cookie")
		w.WriteHeader(http.StatusEarlyHints)
		w.Write([]byte("hello"))
		w.(http.Flusher).Flush()
		w.Header().Set("Set-Cookie", "__Host-sekisho=evil; Path=/; Secure")
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	early := 0
	r := v.request(http.MethodGet, appHost, "/", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { early++; return nil }}))
	res := v.do(r)
	if set := res.Header["Set-Cookie"]; len(set) != 1 || !strings.HasPrefix(set[0], "theme=") || len(res.Trailer) != 0 {
		t.Errorf("cookies %q, trailers %v", set, res.Trailer)
	}
	if res.Header.Get("X-Sekisho-Decision") != "" || res.Header.Get("Alt-Svc") != "" || early != 0 {
		t.Errorf("%v, %d early hints", res.Header, early)
	}
	if res.text != "hello" || res.Header.Get("Link") == "" {
		t.Errorf("%s: %q", res.Status, res.text)
	}
}

func TestARedirectDoesNotLeadAroundTheGateway(t *testing.T) {
	var own string
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		own = r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
		w.Header().Set("Location", map[string]string{
			"/own": "http://user@" + own + "//a?b=c", "/relative": "/a", "/other": "https://elsewhere.example/" + own,
		}[r.URL.Path])
		w.WriteHeader(http.StatusFound)
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	for path, want := range map[string]string{
		"/own": "https://" + appHost + "//a?b=c", "/relative": "/a", "/other": "https://elsewhere.example/",
	} {
		got := v.get(path).Header.Get("Location")
		if strings.TrimSuffix(got, own) != want {
			t.Errorf("%s leads to %s, want %s", path, got, want)
		}
	}
}

func TestForgedTrailersDoNotReachTheApp(t *testing.T) {
	got := make(chan http.Header, 1)
	g := newGate(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	r := v.request(http.MethodPost, appHost, "/orders", io.NopCloser(strings.NewReader("x")))
	r.ContentLength, r.Trailer = -1, http.Header{"X-Sekisho-Identity": {"forged"}}
	v.do(r)
	if trailer := <-got; len(trailer) != 0 {
		t.Errorf("trailers %v", trailer)
	}
}

func TestTheDecidedPathIsTheForwardedPath(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	for target, want := range map[string]string{
		"/orders/%E6%B3%A8%E6%96%87?q=%2F..&r=a;b": "/orders/%E6%B3%A8%E6%96%87?q=%2F..&r=a;b",
		"/%6frders":       "/orders",
		"/a%20b/100%25/?": "/a%20b/100%25/",
		"/a:b@c,d=e":      "/a:b@c,d=e",
	} {
		r := v.request(http.MethodGet, appHost, "/", nil)
		r.URL.Opaque = "//" + appHost + target
		if !strings.Contains(target, "%") {
			r = v.request(http.MethodGet, appHost, target, nil)
		} else {
			u, err := url.Parse("https://" + appHost + target)
			must(t, err)
			r.URL = u
		}
		if res := v.do(r); res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s", target, res.Status, res.text)
			continue
		}
		if got := g.last().RequestURI; got != want {
			t.Errorf("%s was forwarded as %s", target, got)
		}
	}
}

func TestWhatTheGatewayDoesNotCarryIsRefusedAndOnRecord(t *testing.T) {
	g := newGate(t, hello, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	v.client = g.client(&v.cert, false)
	for name, c := range map[string]struct {
		method, target string
		header         map[string]string
		body           string
		status         int
	}{
		"WebSocket":                {method: "GET", target: "/ws", header: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x"}, status: 501},
		"an upgrade to HTTP/2":     {method: "GET", target: "/", header: map[string]string{"Upgrade": "h2c"}, status: 501},
		"gRPC":                     {method: "POST", target: "/orders", header: map[string]string{"Content-Type": "application/grpc+proto"}, body: "x", status: 501},
		"TRACE":                    {method: "TRACE", target: "/", status: 501},
		"a method in lower case":   {method: "delete", target: "/orders/1", status: 400},
		"a method override":        {method: "POST", target: "/orders/1", header: map[string]string{"X-HTTP-Method-Override": "DELETE"}, status: 400},
		"an override in the query": {method: "POST", target: "/orders/1?_method=DELETE", status: 400},
		"a connection trick":       {method: "GET", target: "/", header: map[string]string{"Connection": "X-Sekisho-Identity"}, status: 400},
		"a form without boundary":  {method: "POST", target: "/orders", header: map[string]string{"Content-Type": "multipart/form-data"}, body: "x", status: 400},
	} {
		before := len(g.events("command.refused"))
		r := v.request(c.method, appHost, c.target, strings.NewReader(c.body))
		for key, value := range c.header {
			r.Header.Set(key, value)
		}
		res := v.do(r)
		if res.StatusCode != c.status || res.problem(t).Detail == "" {
			t.Errorf("%s: %s: %s", name, res.Status, res.text)
		}
		if after := g.events("command.refused"); len(after) != before+1 || after[before].Detail["reason"] == "" {
			t.Errorf("%s is not on record", name)
		}
	}
	if n := len(g.app.requests()); n != 0 {
		t.Errorf("%d requests reached the app", n)
	}
}

func TestAnOverrideInTheBodyStopsBeforeTheAppHasTheRequest(t *testing.T) {
	complete := make(chan bool, 2)
	g := newGate(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		complete <- err == nil
	}, func(c *webproxy.Config) { c.MaxBody = 4096 })
	v := g.enrol("hanako", "acme").login(appHost)
	for name, body := range map[string]string{
		"small":                    "a=1&_method=DELETE",
		"behind what is held back": "a=" + strings.Repeat("x", 200_000) + "&_method=DELETE",
	} {
		res := v.send(http.MethodPost, "/orders/1", "application/x-www-form-urlencoded", body)
		if p := res.problem(t); p.Status != http.StatusBadRequest || !strings.Contains(p.Detail, "_method") || p.Decision == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for range g.app.requests() {
		if <-complete {
			t.Error("the app had a whole request")
		}
	}
}

func TestAnAppThatFailsIsExplainedWithTheDecision(t *testing.T) {
	slow := make(chan struct{})
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			<-slow
		case "/breaks":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("half"))
			panic(http.ErrAbortHandler)
		case "/switches":
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			buf.Flush()
			conn.Close()
		}
	}, func(c *webproxy.Config) { c.HeaderTimeout = 500 * time.Millisecond })
	defer close(slow)
	v := g.enrol("hanako", "acme").login(appHost)
	check := func(target, kind string, status int) {
		t.Helper()
		n := len(g.events("command.run"))
		p := v.get(target).problem(t)
		if p.Type != "urn:sekisho:"+kind || p.Status != status || !strings.HasPrefix(p.Decision, "d-") || strings.Contains(p.Detail, "127.0.0.1") {
			t.Errorf("%s: %+v", target, p)
		}
		if e := g.run(n + 1); e.Outcome != "failed" || e.Detail["error"] == nil || e.Decision != p.Decision {
			t.Errorf("%s: %+v", target, e)
		}
	}
	check("/hangs", "app-timeout", http.StatusGatewayTimeout)
	check("/breaks", "app-broke-off", http.StatusBadGateway)
	check("/half", "app-broke-off", http.StatusBadGateway)
	check("/switches", "app-broke-off", http.StatusBadGateway)
	g.app.CloseClientConnections()
	g.app.Listener.Close()
	check("/down", "app-unreachable", http.StatusBadGateway)
}

func TestRedirectsAndEmptyAnswersPassUntouched(t *testing.T) {
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			w.Header().Set("Location", "http://elsewhere.test/x?y=z")
			w.WriteHeader(http.StatusFound)
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/same":
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Length", "1234")
			w.WriteHeader(http.StatusTeapot)
		}
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	if res := v.get("/moved"); res.StatusCode != http.StatusFound || res.Header.Get("Location") != "http://elsewhere.test/x?y=z" {
		t.Errorf("%s to %q", res.Status, res.Header.Get("Location"))
	}
	if res := v.get("/nothing"); res.StatusCode != http.StatusNoContent {
		t.Errorf("%s", res.Status)
	}
	if res := v.get("/same"); res.StatusCode != http.StatusNotModified || res.Header.Get("Etag") != `"1"` {
		t.Errorf("%s", res.Status)
	}
	if res := v.do(v.request(http.MethodHead, appHost, "/head", nil)); res.StatusCode != http.StatusTeapot || res.ContentLength != 1234 || res.text != "" {
		t.Errorf("%s, %d bytes", res.Status, res.ContentLength)
	}
}

func TestTheAppIsAskedForUncompressedBodies(t *testing.T) {
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip") // it insists
		w.Write([]byte("\x1f\x8bnot really"))
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	r := v.request(http.MethodGet, appHost, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip, br")
	res := v.do(r)
	if res.text != "\x1f\x8bnot really" || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%q, %v", res.text, res.Header)
	}
	if got := g.last().Header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("the app was asked for %q", got)
	}
}

// raw speaks HTTP/1.1 by hand and returns everything that came back.
func (v *visitor) raw(text string) string {
	g := v.gate
	g.t.Helper()
	config := v.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName, config.NextProtos = appHost, []string{"http/1.1"}
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", g.server.Listener.Addr().String())
	must(g.t, err)
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	must(g.t, conn.SetDeadline(deadline))
	_, err = io.WriteString(conn, text)
	must(g.t, err)
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		g.t.Fatal(err)
	}
	return string(answer)
}

func TestRequestsThatCouldBeCutInTwoWaysAreNot(t *testing.T) {
	bodies := make(chan string, 10)
	g := newGate(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- fmt.Sprintf("%s %s %v %q", r.Method, r.URL.Path, r.TransferEncoding, body)
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	head := func(method string, lines ...string) string {
		return method + " /orders HTTP/1.1\r\nHost: " + appHost + "\r\nCookie: __Host-sekisho=" + v.cookie[appHost] +
			"\r\nConnection: close\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	const smuggled = "DELETE /orders/1 HTTP/1.1\r\nHost: " + appHost + "\r\n\r\n"
	for name, text := range map[string]string{
		"two lengths":              head("POST", "Content-Length: 5", "Content-Length: 0") + "hello" + smuggled,
		"a length with a sign":     head("POST", "Content-Length: +5") + "hello" + smuggled,
		"an unknown coding":        head("POST", "Transfer-Encoding: xchunked", "Content-Length: 5") + "hello",
		"chunked twice":            head("POST", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled,
		"a space before the colon": head("POST", "Content-Length : 5") + "hello",
		"a folded line":            head("POST", "X: a\r\n b", "Content-Length : 5") + "hello",
		"a bad chunk":              head("POST", "Transfer-Encoding: chunked") + "5 ;\nhello0\r\n\r\n",
	} {
		answer := v.raw(text)
		if !strings.HasPrefix(answer, "HTTP/1.1 400") && !strings.HasPrefix(answer, "HTTP/1.1 501") && !strings.HasPrefix(answer, "HTTP/1.1 502") ||
			strings.Count(answer, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q", name, answer)
		}
	}
	select {
	case got := <-bodies:
		t.Errorf("the app got %s", got)
	default:
	}
	// Go takes the chunks and forgets the length; the app must see the same one request, cut by a length.
	answer := v.raw(head("POST", "Content-Length: 5", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n" + smuggled)
	if got := <-bodies; got != `POST /orders [] "abc"` {
		t.Errorf("both framings: the app got %s", got)
	}
	if strings.Count(answer, "HTTP/1.1 ") != 1 {
		t.Errorf("both framings: %q", answer)
	}
	for name, target := range map[string]string{"absolute form": "http://" + otherHost + "/", "an asterisk": "*", "a raw space": "/a b", "two slashes": "//evil",
		"dots": "/a/../b", "raw bytes": "/\xff", "a fragment": "/a#b"} {
		text := strings.Replace(head("GET"), "/orders", target, 1)
		if answer := v.raw(text); !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%s: %q", name, answer)
		}
	}
	if n := len(g.app.requests()); n != 1 {
		t.Errorf("%d requests reached the app", n)
	}
}

func TestAClientThatGoesAwayIsOnRecord(t *testing.T) {
	started, gone := make(chan struct{}), make(chan struct{})
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		close(started)
		<-r.Context().Done()
		close(gone)
	}, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	ctx, cancel := context.WithCancel(t.Context())
	r := v.request(http.MethodGet, appHost, "/", nil).WithContext(ctx)
	go v.client.Do(r)
	<-started
	cancel()
	<-gone
	if e := g.run(1); e.Outcome != "failed" || e.Detail["error"] != "the client went away" {
		t.Errorf("%+v", e)
	}
}

func TestManyRequestsAtOnceShareOneSession(t *testing.T) {
	g := newGate(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s", r.URL.Path) }, nil)
	v := g.enrol("hanako", "acme").login(appHost)
	done := make(chan error, 200)
	for i := range cap(done) {
		go func() {
			res, err := v.client.Do(v.request(http.MethodGet, appHost, fmt.Sprintf("/%d", i), nil))
			if err != nil {
				done <- err
				return
			}
			defer res.Body.Close()
			text, err := bufio.NewReader(res.Body).ReadString(0)
			if text != fmt.Sprintf("/%d", i) {
				err = fmt.Errorf("request %d got %q: %w", i, text, err)
			} else {
				err = nil
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if opened := g.events("session.open"); len(opened) != 1 {
		t.Errorf("%d sessions were opened", len(opened))
	}
	channels := map[uint32]bool{}
	for _, e := range v.settled() {
		channels[e.Channel] = true
	}
	if len(channels) < 200 {
		t.Errorf("%d exchanges are on record", len(channels))
	}
}
