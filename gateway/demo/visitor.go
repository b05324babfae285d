package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// identityHeader carries the gateway's word on who is asking.
const identityHeader = "X-Sekisho-Identity"

// visitor is who the gateway says is asking.
type visitor struct {
	Person  string `json:"person"`
	Vendor  string `json:"vendor"`
	Session string `json:"session"`
}

type verifier struct{ cfg OrdersConfig }

// visitor verifies the identity token: ES256 by a key of the gateway's set, for this app, within its time. Anything else
// is nobody.
func (v verifier) visitor(h http.Header) (visitor, error) {
	tokens := h.Values(identityHeader)
	if len(tokens) != 1 {
		return visitor{}, fmt.Errorf("want one %s header, got %d", identityHeader, len(tokens))
	}
	token, err := jwt.ParseSigned(tokens[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return visitor{}, errors.New("the identity token does not parse")
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(v.cfg.JWKS(), &keys); err != nil {
		return visitor{}, errors.New("the gateway's key set does not parse")
	}
	var claims jwt.Claims
	var own struct {
		Vendor  string `json:"vendor"`
		Session string `json:"session"`
	}
	if err := token.Claims(&keys, &claims, &own); err != nil {
		return visitor{}, errors.New("the identity token is not the gateway's")
	}
	expected := jwt.Expected{Time: v.cfg.Now(), AnyAudience: jwt.Audience{v.cfg.Audience}, Issuer: v.cfg.Issuer}
	if err := claims.Validate(expected); err != nil {
		return visitor{}, fmt.Errorf("the identity token is not for here and now: %w", err)
	}
	if claims.Expiry == nil || claims.Subject == "" {
		return visitor{}, errors.New("the identity token names nobody, or never ends")
	}
	return visitor{claims.Subject, own.Vendor, own.Session}, nil
}

type visitorKey struct{}

func withVisitor(ctx context.Context, v visitor) context.Context {
	return context.WithValue(ctx, visitorKey{}, v)
}

func visitorOf(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}
