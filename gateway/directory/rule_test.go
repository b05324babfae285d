package directory_test

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
)

const ruledApp = `targets:
  app:
    https: {upstream: "http://h", host: app.example.com}
    rules:
      - {match: "* /**", right: execute}
      - {match: "GET /**", right: read}
      - {match: "POST /search", right: read}
      - {match: "* /admin/**", right: admin}
      - {match: "GET /admin/status", right: read}
      - {match: "POST /users/*/rename", right: write}
      - {match: "POST /users/me/*", right: read}
      - {match: "GET /secret", right: delete}
      - {match: "HEAD /secret", right: read}
      - {match: "GET /export/customers", right: read, table: customers, total: 51234}
`

func cut(request string) (method, path string) {
	method, path, _ = strings.Cut(request, " ")
	return method, path
}

func target(t *testing.T, yaml, name string) directory.Target {
	t.Helper()
	found, ok := parse(t, yaml).Target(name)
	if !ok {
		t.Fatalf("no target %s", name)
	}
	return found
}

func TestTheMostSpecificRuleDecidesTheRight(t *testing.T) {
	app := target(t, ruledApp, "app")
	for request, want := range map[string]policy.Right{
		"GET /":                   policy.Read,
		"POST /search":            policy.Read,
		"POST /search/":           policy.Read,
		"POST /searches":          policy.Execute,
		"POST /search/x":          policy.Execute,
		"DELETE /x":               policy.Execute,
		"GET /admin":              policy.Admin,
		"GET /admin/x/y":          policy.Admin,
		"GET /admin/status":       policy.Read,
		"HEAD /admin/status":      policy.Read,
		"POST /admin/status":      policy.Admin,
		"POST /users/7/rename":    policy.Write,
		"POST /users/me/rename":   policy.Read,
		"POST /users/7/rename/me": policy.Execute,
		"HEAD /secret":            policy.Read,
		"GET /secret":             policy.Delete,
	} {
		method, path := cut(request)
		if got, ok := app.RightFor(method, path); !ok || got != want {
			t.Errorf("RightFor(%s) = %v, %v, want %v", request, got, ok, want)
		}
	}
}

func TestWithoutARuleTheMethodDecides(t *testing.T) {
	app := target(t, "targets: {app: {https: {upstream: 'http://h', host: app.example.com}}}", "app")
	for method, want := range map[string]policy.Right{
		"GET": policy.Read, "HEAD": policy.Read, "OPTIONS": policy.Read, "PUT": policy.Write, "PATCH": policy.Write,
		"DELETE": policy.Delete, "POST": policy.Execute,
	} {
		if got, ok := app.RightFor(method, "/orders/1"); !ok || got != want {
			t.Errorf("RightFor(%s) = %v, %v, want %v", method, got, ok, want)
		}
	}
}

func TestARequestThatCouldMeanTwoThingsHasNoRight(t *testing.T) {
	app := target(t, ruledApp, "app")
	for _, request := range []string{
		"TRACE /", "CONNECT /", "get /", "PROPFIND /", " /", "GET x", "GET ", "GET //admin", "GET /a//b", "GET /../admin", "GET /a/./b",
		"GET /a/..", "GET /a\\b", "GET /a\x00b", "GET /a//",
	} {
		method, path := cut(request)
		if right, ok := app.RightFor(method, path); ok {
			t.Errorf("RightFor(%q, %q) = %v", method, path, right)
		}
	}
	if _, ok := target(t, specExample, "db1").RightFor("GET", "/"); ok {
		t.Error("an SSH target has HTTP rights")
	}
}

func TestAPathThatOnlySomeAppsTakeForARulesHasNoRight(t *testing.T) {
	app := target(t, ruledApp, "app")
	for _, request := range []string{"GET /Admin/x", "POST /ADMIN", "GET /admin./x", "GET /admin /x", "POST /Search", "GET /SECRET", "HEAD /Admin/Status/x"} {
		method, path := cut(request)
		if right, ok := app.RightFor(method, path); ok {
			t.Errorf("RightFor(%s) = %v", request, right)
		}
	}
	for request, want := range map[string]policy.Right{
		"GET /Export/customers": policy.Read, // as without the rule
		"GET /Inc.":             policy.Read,
		"POST /Orders":          policy.Execute,
	} {
		method, path := cut(request)
		if got, ok := app.RightFor(method, path); !ok || got != want {
			t.Errorf("RightFor(%s) = %v, %v, want %v", request, got, ok, want)
		}
	}
}

func TestARuleForGetHoldsForHeadToo(t *testing.T) {
	app := target(t, "targets: {a: {https: {upstream: 'http://h', host: a.example}, rules: [{match: GET /x, right: admin}]}}", "a")
	if right, _ := app.RightFor("HEAD", "/x"); right != policy.Admin {
		t.Errorf("HEAD needs %v, want what GET needs", right)
	}
}

func TestARuleKnowsTheTableItExports(t *testing.T) {
	app := target(t, ruledApp, "app")
	if r, ok := app.RuleFor("GET", "/export/customers"); !ok || r.Table != "customers" || r.Total == nil || *r.Total != 51234 {
		t.Errorf("rule = %+v, %v (R-5)", r, ok)
	}
	if r, ok := target(t, specExample, "orders").RuleFor("GET", "/nothing"); ok {
		t.Errorf("rule = %+v, want none", r)
	}
}

func FuzzRightFor(f *testing.F) {
	f.Add("GET", "/admin/x")
	f.Add("POST", "/users/../admin")
	d, err := directory.Parse("d.yaml", []byte(ruledApp), options())
	if err != nil {
		f.Fatal(err)
	}
	app, _ := d.Target("app")
	f.Fuzz(func(t *testing.T, method, path string) {
		right, ok := app.RightFor(method, path)
		if ok == (right == "") {
			t.Errorf("RightFor(%q, %q) = %q, %v", method, path, right, ok)
		}
	})
}
