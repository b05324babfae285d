package console

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ClientConfig is how a Client reaches a gateway and as whom.
type ClientConfig struct {
	BaseURL     string           // the console's origin
	EnrolURL    string           // the enrolment host's origin; needed for Enrol only
	CAs         *x509.CertPool   // the gateway's root; the system's when nil
	Certificate *tls.Certificate // the person's, with its chain; nil before enrolment
	Session     string           // of an earlier login, "" for none
	Language    string           // "ja" or "en": of the messages; en when ""
}

// Client speaks the JSON API. Its methods return a *Problem for every answer that is not a success. It is safe for
// concurrent use once its session is set.
type Client struct {
	cfg  ClientConfig
	http *http.Client
}

// NewClient makes a client. Nothing is sent before a method is called.
func NewClient(cfg ClientConfig) *Client {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.CAs}
	if cfg.Certificate != nil {
		conf.Certificates = []tls.Certificate{*cfg.Certificate}
	}
	transport := &http.Transport{TLSClientConfig: conf, DialContext: dialLocal, ForceAttemptHTTP2: true,
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute, MaxResponseHeaderBytes: 64 << 10}
	return &Client{cfg: cfg, http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// SetSession makes the client act in a session from now on.
func (c *Client) SetSession(session string) { c.cfg.Session = session }

// Session is the session the client acts in, "" for none.
func (c *Client) Session() string { return c.cfg.Session }

// Close drops the client's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// dialLocal knows that localhost and every name below it are this machine (RFC 6761), which not every resolver does.
func dialLocal(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	host, port, err := net.SplitHostPort(address)
	if err == nil && (host == "localhost" || strings.HasSuffix(host, ".localhost")) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return d.DialContext(ctx, network, address)
}

// maxAnswer bounds an answer that is read whole.
const maxAnswer = 16 << 20

// send makes one request and returns the answer's body if it is a success.
func (c *Client) send(ctx context.Context, method, address string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "sekisho")
	if c.cfg.Language != "" {
		r.Header.Set("Accept-Language", c.cfg.Language)
	}
	if c.cfg.Session != "" && strings.HasPrefix(address, c.cfg.BaseURL+"/") {
		r.Header.Set("Authorization", "Bearer "+c.cfg.Session)
	}
	return answered(c.http, r)
}

// answered sends a request and turns every answer but a success into a *Problem.
func answered(client *http.Client, r *http.Request) (*http.Response, error) {
	resp, err := client.Do(r)
	if err != nil {
		return nil, unreached(err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("reading the gateway's answer: %w", err)
	}
	problem := &Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	if json.Unmarshal(text, problem) != nil || problem.Title == "" {
		problem = &Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode),
			Detail: strings.TrimPrefix(strings.TrimSpace(string(text)), "sekisho: ")}
	}
	problem.Status = resp.StatusCode
	return nil, problem
}

// unreached leaves the address out of an error of net/http: it may be a secret.
func unreached(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("asking the gateway: %w", err)
}

// call makes one request and decodes the answer into into, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	return c.callURL(ctx, method, c.cfg.BaseURL+path, body, into)
}

func (c *Client) callURL(ctx context.Context, method, address string, body, into any) error {
	resp, err := c.send(ctx, method, address, body)
	if err != nil {
		return err
	}
	return read(resp, into)
}

func read(resp *http.Response, into any) error {
	defer resp.Body.Close()
	if into == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return err
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return nil
}

// list streams an NDJSON answer. It ends with an error when the connection breaks before the list is whole.
func list[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		address := c.cfg.BaseURL + path
		if len(query) > 0 {
			address += "?" + query.Encode()
		}
		resp, err := c.send(ctx, http.MethodGet, address, nil)
		if err != nil {
			yield(none, err)
			return
		}
		defer resp.Body.Close()
		for value, err := range decodeLines[T](resp.Body) {
			if !yield(value, err) {
				return
			}
		}
	}
}

func decodeLines[T any](body io.Reader) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		d := json.NewDecoder(body)
		for {
			var value T
			err := d.Decode(&value)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(value, fmt.Errorf("the list broke off: %w", err))
				return
			}
			if !yield(value, nil) {
				return
			}
		}
	}
}

// post is call for the many acts that send something.
func (c *Client) post(ctx context.Context, path string, body, into any) error {
	return c.call(ctx, http.MethodPost, path, body, into)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.call(ctx, http.MethodGet, path, nil, into)
}

// reasoned is the body of acts that want a reason.
type reasoned struct {
	Reason string `json:"reason"`
}
