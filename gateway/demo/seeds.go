package demo

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"
)

// Person is one of the demo's people. Each vendor type has one, so that every row of the matrix (M-1…M-5) can be tried.
type Person struct {
	ID     string
	Vendor string // @staff for the company's own
	Type   string // of the vendor; staff for @staff
	EN, JA string
	Roles  []string // staff only
	// HardwareKey: the person confirms with a key that is plugged in, as emergencies want it.
	HardwareKey bool
}

// People lists the demo's people: contractors in the matrix's use, then the sub-contractor's, then staff.
func People() []Person {
	return []Person{
		{ID: "hanako", Vendor: "acme-maintenance", Type: "maintenance", EN: "Hanako Sato", JA: "佐藤 花子"},
		{ID: "ken", Vendor: "hayabusa-dev", Type: "development", EN: "Ken Tanaka", JA: "田中 健"},
		{ID: "yui", Vendor: "minato-ops", Type: "operations", EN: "Yui Ito", JA: "伊藤 結衣"},
		{ID: "sora", Vendor: "hoshi-consulting", Type: "consulting", EN: "Sora Yamamoto", JA: "山本 空"},
		{ID: "riku", Vendor: "kaze-temp", Type: "temporary", EN: "Riku Watanabe", JA: "渡辺 陸"},
		{ID: "tsubasa", Vendor: "acme-sub", Type: "maintenance", EN: "Tsubasa Nakamura", JA: "中村 翼"},
		{ID: "mika", Vendor: "@staff", Type: "staff", EN: "Mika Takahashi", JA: "高橋 美香", Roles: []string{"approver"}},
		{ID: "ren", Vendor: "@staff", Type: "staff", EN: "Ren Kato", JA: "加藤 蓮", Roles: []string{"admin", "investigator", "approver"},
			HardwareKey: true},
		{ID: "aoi", Vendor: "@staff", Type: "staff", EN: "Aoi Kobayashi", JA: "小林 葵", Roles: []string{"auditor"}},
	}
}

// Seeds is what only the running demo knows of its directory.
type Seeds struct {
	Now    time.Time      // contracts run from 30 days before to 335 days after
	Zone   *time.Location // the gateway's; nil: Asia/Tokyo, or UTC where the system lacks it
	DB1    SSHSeed
	Build1 SSHSeed
	Orders HTTPSSeed
}

// SSHSeed is where a demo target listens.
type SSHSeed struct {
	Address string // host:port
	HostKey string // SHA256:…
	Home    string // its folder: conf/ and customers/ in it are marked; "" marks nothing
}

// HTTPSSeed is where the orders app listens and what the gateway calls it.
type HTTPSSeed struct {
	Upstream string // http://host:port
	Host     string
}

// vendorSeed is a vendor of the demo. They all come from this machine, at any time.
type vendorSeed struct {
	ID, Type, EN, JA, Parent string
	Targets                  []string
}

var vendorSeeds = []vendorSeed{
	{ID: "acme-maintenance", Type: "maintenance", EN: "ACME Maintenance", JA: "アクメ保守", Targets: everyTarget},
	{ID: "hayabusa-dev", Type: "development", EN: "Hayabusa Development", JA: "はやぶさ開発", Targets: everyTarget},
	{ID: "minato-ops", Type: "operations", EN: "Minato Operations", JA: "みなと運用", Targets: everyTarget},
	{ID: "hoshi-consulting", Type: "consulting", EN: "Hoshi Consulting", JA: "星コンサルティング", Targets: everyTarget},
	{ID: "kaze-temp", Type: "temporary", EN: "Kaze Temporary Work", JA: "かぜ一時作業", Targets: everyTarget},
	{ID: "acme-sub", Type: "maintenance", EN: "ACME Sub", JA: "アクメ再委託", Parent: "acme-maintenance", Targets: []string{"db1"}},
}

var everyTarget = []string{"db1", "build1", "orders"}

var directoryText = template.Must(template.New("directory").Funcs(template.FuncMap{
	"q": strconv.Quote, "list": func(items []string) string { return "[" + strings.Join(items, ", ") + "]" },
	"path": plainHome,
}).Parse(`# The demo's directory: one vendor of each type, a sub-contractor, staff, and three targets on this machine.
vendors:
{{- range .Vendors}}
  {{.ID}}:
    name: {en: {{q .EN}}, ja: {{q .JA}}}
    type: {{.Type}}
{{- with .Parent}}
    parent: {{.}}
{{- end}}
    contract: {from: {{$.From}}, until: {{$.Until}}}
    networks: [127.0.0.0/8, "::1/128"]
    windows: [always]
    targets: {{list .Targets}}
    approvers: [mika, ren]
{{- end}}
people:
{{- range .People}}
  {{.ID}}: {vendor: {{q .Vendor}}, name: {en: {{q .EN}}, ja: {{q .JA}}}, email: {{.ID}}@{{.Mail}}.example
{{- with .Roles}}, roles: {{list .}}{{end}}}
{{- end}}
targets:
  db1: # what the command table does not know is refused
    ssh: {address: {{q .DB1.Address}}, host_key: {{q .DB1.HostKey}}}
    logins: [app]
    opaque: deny
{{- with path .DB1.Home}}
    config_paths: [{{q (print . "/conf/**")}}]
    confidential_paths: [{{q (print . "/customers/**")}}]
{{- end}}
    labels: {env: demo}
  build1: # what the command table does not know needs execute
    ssh: {address: {{q .Build1.Address}}, host_key: {{q .Build1.HostKey}}}
    logins: [app]
    opaque: execute
    labels: {env: demo}
  orders:
    https: {upstream: {{q .Orders.Upstream}}, host: {{q .Orders.Host}}}
    rules:
      - {match: "POST /search", right: read}
      - {match: "POST /orders", right: write}
      - {match: "POST /orders/*", right: write}
      - {match: "POST /api/orders", right: write}
      - {match: "GET /export/customers", right: read, table: customers, total: {{.Customers}}}
    labels: {env: demo}
`))

// Directory is the demo's directory.yaml.
func Directory(s Seeds) []byte {
	zone := s.Zone
	if zone == nil {
		zone = tokyo()
	}
	day := func(days int) string { return s.Now.In(zone).AddDate(0, 0, days).Format(time.DateOnly) }
	var text bytes.Buffer
	err := directoryText.Execute(&text, map[string]any{
		"Vendors": vendorSeeds, "People": People(), "From": day(-30), "Until": day(335), "Customers": CustomerCount,
		"DB1": s.DB1, "Build1": s.Build1, "Orders": s.Orders,
	})
	if err != nil {
		panic(err) // the template and its data are this file's
	}
	return text.Bytes()
}

// Mail is the domain of the person's address, below example.
func (p Person) Mail() string { return strings.TrimPrefix(p.Vendor, "@") }

// plainHome is home where a directory's path patterns can say it, otherwise "".
func plainHome(home string) string {
	if !strings.HasPrefix(home, "/") || strings.ContainsFunc(home, unicode.IsControl) ||
		strings.ContainsAny(home, "*?#%[]\\") || slices.Contains(strings.Split(home, "/"), "..") {
		return ""
	}
	return strings.TrimSuffix(home, "/")
}

func tokyo() *time.Location {
	if zone, err := time.LoadLocation("Asia/Tokyo"); err == nil {
		return zone
	}
	return time.UTC
}
