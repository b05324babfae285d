package directory_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/gateway/directory"
	"github.com/sekisho/sekisho/policy"
)

// specExample is the document of spec/directory.md with real fingerprints.
const specExample = `vendors:
  acme-maintenance:
    name: {en: ACME Maintenance, ja: アクメ保守}
    type: maintenance              # development | maintenance | operations | consulting | temporary
    contract: {from: 2026-04-01, until: 2027-03-31}
    networks: [203.0.113.0/24]
    windows: [office-hours]        # names from windows.yaml in the policy folder
    targets: [db1, orders]         # the only ones it can reach (C-5)
    approvers: [mika]
    risk: {level: 2, score: 73, assessed: 2026-09-30}
  acme-sub: {parent: acme-maintenance, type: maintenance, contract: {from: 2026-10-01, until: 2026-12-31}, networks: [198.51.100.7/32], windows: [office-hours], targets: [db1]}
people:
  hanako: {vendor: acme-maintenance, name: {en: Hanako Sato, ja: 佐藤 花子}, email: hanako@acme.example}
  jiro:   {vendor: acme-sub}
  mika:   {vendor: "@staff", roles: [approver]}       # admin | approver | investigator | auditor
targets:
  db1:
    ssh: {address: "10.0.0.5:22", host_key: "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGLIdRhFIKCBCNHFeKs"}   # or host_ca
    logins: [app]                  # what a contractor may log in as
    admin_logins: [root]           # need the admin right: never for contractors
    opaque: deny                   # deny | execute
    config_paths: [/etc/**, /srv/app/conf/**]
    confidential_paths: [/srv/app/customers/**]
    labels: {env: prod}
  orders:
    https: {upstream: "http://127.0.0.1:8080", host: orders.apps.example.com}
    rules:
      - {match: "POST /search", right: read}
      - {match: "GET /export/customers", right: read, table: customers, total: 51234}
    redact: {json: ["$.card.number"]}
  pg1: {tcp: {address: "10.0.0.9:5432"}}
`

var tokyo = must(time.LoadLocation("Asia/Tokyo"))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func options() directory.Options {
	return directory.Options{
		Zone:      tokyo,
		HasWindow: func(name string) bool { return name == "office-hours" },
		Now:       func() time.Time { return time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) },
	}
}

func parse(t *testing.T, yaml string) *directory.Directory {
	t.Helper()
	d, err := directory.Parse("directory.yaml", []byte(yaml), options())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDocumentedExampleIsRead(t *testing.T) {
	d := parse(t, specExample)
	v, ok := d.Vendor("acme-maintenance")
	if !ok || v.Type != "maintenance" || v.Name.In("ja") != "アクメ保守" || v.Approvers[0] != "mika" {
		t.Errorf("vendor = %+v, %v", v, ok)
	}
	if v.Networks[0] != netip.MustParsePrefix("203.0.113.0/24") || v.Windows[0] != "office-hours" || len(v.Targets) != 2 {
		t.Errorf("vendor = %+v", v)
	}
	if v.Risk == nil || v.Risk.Level != 2 || *v.Risk.Score != 73 || v.Risk.Assessed.Format(time.DateOnly) != "2026-09-30" {
		t.Errorf("risk = %+v", v.Risk)
	}
	db1, _ := d.Target("db1")
	if db1.Kind() != "ssh" || db1.SSH.Address != "10.0.0.5:22" || db1.Labels["env"] != "prod" || db1.Opaque != directory.OpaqueDeny {
		t.Errorf("db1 = %+v", db1)
	}
	orders, ok := d.TargetByHost("orders.apps.example.com")
	if !ok || orders.Kind() != "https" || orders.HTTPS.Upstream.String() != "http://127.0.0.1:8080" || orders.Redact.JSON[0] != "$.card.number" {
		t.Errorf("orders = %+v, %v", orders, ok)
	}
	if pg1, _ := d.Target("pg1"); pg1.Kind() != "tcp" || pg1.TCP.Address != "10.0.0.9:5432" {
		t.Errorf("pg1 = %+v", pg1)
	}
	if len(d.People()) != 3 || d.People()[0].ID != "hanako" || len(d.Vendors()) != 2 || len(d.Targets()) != 3 {
		t.Errorf("people %v, vendors %v, targets %v", d.People(), d.Vendors(), d.Targets())
	}
}

func TestBothDaysOfAContractBelongToItInTheGatewaysZone(t *testing.T) {
	v, _ := parse(t, specExample).Vendor("acme-maintenance")
	if want := time.Date(2026, 4, 1, 0, 0, 0, 0, tokyo); !v.Contract.From.Equal(want) {
		t.Errorf("from = %v, want %v", v.Contract.From, want)
	}
	if want := time.Date(2027, 4, 1, 0, 0, 0, 0, tokyo); !v.Contract.Until.Equal(want) {
		t.Errorf("until = %v, want the end of 31 March, %v", v.Contract.Until, want)
	}
}

func TestADayWithoutMidnightBeginsWhenItsClockDoes(t *testing.T) {
	// Brazil's clocks went from 24:00 on 3 November 2018 to 01:00 on the 4th.
	opts := options()
	opts.Zone = must(time.LoadLocation("America/Sao_Paulo"))
	doc := "vendors: {a: {type: temporary, contract: {from: 2018-11-04, until: 2018-11-04}}}"
	d, err := directory.Parse("directory.yaml", []byte(doc), opts)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := d.Vendor("a")
	if got := v.Contract.From.UTC().Format(time.RFC3339); got != "2018-11-04T03:00:00Z" {
		t.Errorf("from = %s", got)
	}
	if got := v.Contract.Until.UTC().Format(time.RFC3339); got != "2018-11-05T02:00:00Z" {
		t.Errorf("until = %s", got)
	}
}

func TestWhatIsMissingIsNotAllowed(t *testing.T) {
	d := parse(t, "vendors: {a: {type: consulting}}\npeople: {p: {vendor: a}}\ntargets: {db1: {ssh: {address: 'h:22', host_ca: 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGLIdRhFIKCBCNHFeKs'}}}")
	v, _ := d.Vendor("a")
	if len(v.Windows)+len(v.Networks)+len(v.Targets) != 0 || v.Contract != (policy.Contract{}) || v.Risk != nil {
		t.Errorf("vendor = %+v, want nothing granted", v)
	}
	db1, _ := d.Target("db1")
	if db1.Opaque != directory.OpaqueDeny || len(db1.Logins) != 0 || !db1.AdminLogin("root") {
		t.Errorf("target = %+v, want opaque lines denied, no logins, root an admin login", db1)
	}
	if _, ok := d.Input("p", "db1", "app"); ok {
		t.Error("a login that is not listed was found")
	}
}

func TestEveryMistakeIsNamedWithItsPlace(t *testing.T) {
	const sshKey = "host_key: 'SHA256:uNiVztksCsDhcc0u9e8BgrJXVGLIdRhFIKCBCNHFeKs'"
	ssh := func(rest string) string {
		return "targets:\n  db1:\n    ssh: {address: 'h:22', " + sshKey + "}\n" + rest
	}
	https := func(rest string) string {
		return "targets:\n  web:\n    https: {upstream: 'http://h', host: web.example.com}\n" + rest
	}
	vendor := func(rest string) string { return "vendors:\n  acme:\n    type: maintenance\n" + rest }
	for name, c := range map[string]struct{ doc, want string }{
		"an empty document":                {"", "1:1: the document is empty"},
		"only a comment":                   {"# nothing\n", "1:1: the document is empty"},
		"a list as document":               {"- a", "1:1: the document must be a mapping (key: value), not a list"},
		"an unknown section":               {"vendros: {}", `1:1: unknown key "vendros" in the document: want people, targets or vendors`},
		"an unknown key of a vendor":       {vendor("    window: [office-hours]"), `4:5: unknown key "window" in a vendor`},
		"an unknown key of a person":       {"people: {p: {vendor: '@staff', role: admin}}", `1:32: unknown key "role" in a person`},
		"an unknown key of a target":       {ssh("    login: [app]"), `4:5: unknown key "login" in a target`},
		"an unknown key of ssh":            {"targets: {a: {ssh: {address: 'h:22', port: 22, " + sshKey + "}}}", `1:38: unknown key "port" in ssh`},
		"a section without value":          {"vendors:\n", "1:1: the value is missing"},
		"a key without value":              {"vendors:\n  a:\n    type: # later\n    name: {en: A}", "3:5: the value is missing"},
		"a dash without value":             {vendor("    windows:\n    -\n"), "5:5: the value is missing"},
		"a list dash without value":        {vendor("    windows:\n    -\n    - office-hours\n"), "5:5: the value is missing"},
		"a section that is null":           {"vendors: ~", "1:10: vendors must be a mapping (key: value), not nothing"},
		"an inline key without value":      {"{vendors: , people: {}}", "1:2: vendors must be a mapping (key: value), not nothing"},
		"an inline key without colon":      {"{vendors}", "1:2: vendors must be a mapping (key: value), not nothing"},
		"a vendor twice":                   {vendor("  acme:\n    type: temporary"), `4:3: "acme" stands twice in vendors: first at line 2`},
		"a key twice":                      {vendor("    type: temporary"), `4:5: "type" stands twice in a vendor: first at line 3`},
		"a vendor without a type":          {"vendors:\n  acme: {windows: [office-hours]}", `2:9: a vendor wants the key "type"`},
		"an unknown type":                  {"vendors: {a: {type: staff}}", `1:21: "staff" is not known here: want development, maintenance`},
		"an upper-case id":                 {"vendors: {Acme: {type: temporary}}", `1:11: "Acme" is not the id of a vendor`},
		"an id of 64 characters":           {"people: {" + strings.Repeat("a", 64) + ": {vendor: '@staff'}}", `1:10: "` + strings.Repeat("a", 64) + `" is not the id of a person`},
		"the reserved vendor":              {"vendors: {\"@staff\": {type: temporary}}", `1:11: the name "@staff" is reserved`},
		"the reserved target":              {"targets: {\"@gateway\": {tcp: {address: 'h:1'}}}", `1:11: the name "@gateway" is reserved`},
		"a number as text":                 {vendor("    name: {en: 12}"), "4:16: want a text, not a number: put it in quotes"},
		"a name that turns the text":       {vendor("    name: {en: \"a\\u202Eb\"}"), "4:16: the text holds a line break or an invisible character"},
		"an impossible date":               {vendor("    contract: {from: 2026-02-30, until: 2026-12-31}"), `4:22: "2026-02-30" is not a day of the calendar: want YYYY-MM-DD`},
		"a date with a time":               {vendor("    contract: {from: 2026-02-01T00:00:00Z, until: 2026-12-31}"), "is not a day of the calendar"},
		"a contract without end":           {vendor("    contract: {from: 2026-02-01}"), `4:15: a contract wants the key "until"`},
		"a contract over before it began":  {vendor("    contract: {from: 2026-04-01, until: 2026-03-31}"), "4:15: the contract ended on 2026-03-31, before it began on 2026-04-01"},
		"a network that is an address":     {vendor("    networks: [203.0.113.9]"), `4:16: "203.0.113.9" is a single address: want a network, "203.0.113.9/32" for just this one`},
		"a network with host bits":         {vendor("    networks: [203.0.113.9/24]"), `4:16: "203.0.113.9/24" has bits set beyond its length: want "203.0.113.0/24"`},
		"a network that is none":           {vendor("    networks: [203.0.113.0/33]"), `4:16: "203.0.113.0/33" is not a network`},
		"a network in IPv6 disguise":       {vendor("    networks: ['::ffff:203.0.113.0/120']"), "4:16: \"::ffff:203.0.113.0/120\" is an IPv4 network written as IPv6"},
		"a network twice":                  {vendor("    networks: [10.0.0.0/8, 10.0.0.0/8]"), `4:28: "10.0.0.0/8" stands twice in networks`},
		"networks that are no list":        {vendor("    networks: 10.0.0.0/8"), "4:15: networks must be a list ([a, b]), not a text"},
		"an unknown window":                {vendor("    windows: [night]"), `4:15: there is no window "night" in the policy's windows.yaml`},
		"an unknown target":                {vendor("    targets: [db9]"), `4:15: there is no target "db9" in this document`},
		"a target twice":                   {vendor("    targets: [db1, db1]\n") + ssh(""), `4:20: "db1" stands twice in targets`},
		"an unknown approver":              {vendor("    approvers: [mika]"), `4:17: there is no person "mika" in this document`},
		"an approver who may not":          {vendor("    approvers: [p]\npeople: {p: {vendor: acme}}"), `4:17: "p" cannot approve: want a person of @staff with the role approver`},
		"a risk level too high":            {vendor("    risk: {level: 5}"), "4:19: 5 is not a whole decimal number from 0 to 4"},
		"a risk level in octal":            {vendor("    risk: {level: 03}"), "4:19: 03 is not a whole decimal number"},
		"a risk without level":             {vendor("    risk: {score: 50}"), `4:11: a risk wants the key "level"`},
		"an unknown parent":                {vendor("    parent: zeta"), `4:13: there is no vendor "zeta" in this document`},
		"a parent of itself":               {vendor("    parent: acme"), "4:13: the parents go in a circle: acme → acme"},
		"a parent that is staff":           {vendor("    parent: '@staff'"), `4:13: "@staff" is not an id`},
		"parents in a circle":              {"vendors:\n  a: {type: temporary, parent: c}\n  b: {type: temporary, parent: a}\n  c: {type: temporary, parent: b}", "2:32: the parents go in a circle: a → c → b → a"},
		"a target the parent lacks":        {vendor("  sub: {type: temporary, parent: acme, targets: [db1]}\n") + ssh(""), `4:50: "sub" cannot have the target "db1": its parent "acme" does not have it (V-6)`},
		"a person of nobody":               {"people: {p: {name: {en: P}}}", `1:13: a person wants the key "vendor"`},
		"a person of an unknown vendor":    {"people: {p: {vendor: zeta}}", `1:22: there is no vendor "zeta" in this document`},
		"a contractor with a role":         {vendor("people: {p: {vendor: acme, roles: [admin]}}"), `4:35: "p" cannot have roles: they are for people of @staff`},
		"an unknown role":                  {"people: {p: {vendor: '@staff', roles: [king]}}", `1:40: "king" is not known here: want admin, approver, investigator or auditor`},
		"a bad e-mail address":             {"people: {p: {vendor: '@staff', email: 'P <p@x>'}}", `1:39: "P <p@x>" is not an e-mail address`},
		"a target of no kind":              {"targets: {a: {labels: {x: 'y'}}}", `1:14: target "a" wants exactly one of the keys ssh, https and tcp`},
		"a target of two kinds":            {ssh("    tcp: {address: 'h:1'}"), `3:5: target "db1" wants exactly one of the keys ssh, https and tcp`},
		"an ssh target nobody can verify":  {"targets: {a: {ssh: {address: 'h:22'}}}", "1:20: ssh wants one of the keys host_key and host_ca"},
		"a fingerprint that is MD5":        {"targets: {a: {ssh: {address: 'h:22', host_key: 'MD5:aa:bb'}}}", `1:48: "MD5:aa:bb" is not the fingerprint of a key`},
		"a fingerprint that is too short":  {"targets: {a: {ssh: {address: 'h:22', host_ca: 'SHA256:uNiVztksCsDhcc0u9e8B'}}}", "is not the fingerprint of a key"},
		"an address without port":          {"targets: {a: {tcp: {address: h}}}", `1:30: "h" is not an address: want host:port`},
		"an address on port 0":             {"targets: {a: {tcp: {address: 'h:0'}}}", `1:30: "h:0" is not an address`},
		"an address that is a bad IP":      {"targets: {a: {tcp: {address: '10.0.0.256:1'}}}", `1:30: "10.0.0.256:1" is not an address`},
		"a login with a plus":              {ssh("    logins: [a+b]"), `4:14: "a+b" is not a login`},
		"root as a contractor's login":     {ssh("    logins: [root]"), `4:13: "root" cannot be a contractor's login`},
		"root hidden by other admins":      {ssh("    logins: [root]\n    admin_logins: [adm]"), `4:13: "root" cannot be a contractor's login`},
		"an unknown way with opaque lines": {ssh("    opaque: allow"), `4:13: "allow" is not known here: want deny or execute`},
		"a relative path":                  {ssh("    config_paths: [etc]"), `4:20: "etc" is not a pattern of paths`},
		"a path with dots":                 {ssh("    config_paths: [/etc/../root]"), "is not a pattern of paths"},
		"a double star in the middle":      {ssh("    config_paths: [/a/**/b]"), "is not a pattern of paths"},
		"rules on an ssh target":           {ssh("    rules: []"), `4:12: the key "rules" is only for https targets`},
		"logins on an app":                 {https("    logins: [app]"), `4:13: the key "logins" is only for ssh targets`},
		"an upstream that is ftp":          {"targets: {a: {https: {upstream: 'ftp://h', host: a.example}}}", `1:33: "ftp://h" is not the address of an app`},
		"an upstream with a path":          {"targets: {a: {https: {upstream: 'http://h/x', host: a.example}}}", "is not the address of an app"},
		"an upstream with a password":      {"targets: {a: {https: {upstream: 'http://u:p@h', host: a.example}}}", "is not the address of an app"},
		"an upstream without host":         {"targets: {a: {https: {upstream: 'http://:80', host: a.example}}}", "is not the address of an app"},
		"an app host that is an address":   {"targets: {a: {https: {upstream: 'http://h', host: 10.0.0.1}}}", `1:51: "10.0.0.1" is not a host name`},
		"an app host in upper case":        {"targets: {a: {https: {upstream: 'http://h', host: A.example}}}", `1:51: "A.example" is not a host name`},
		"an app host with an underscore":   {"targets: {a: {https: {upstream: 'http://h', host: a_b.example}}}", "is not a host name"},
		"two apps on one host":             {https("  b: {https: {upstream: 'http://h', host: web.example.com}}"), `4:43: the host "web.example.com" is already that of target "web"`},
		"a rule without path":              {https("    rules: [{match: GET, right: read}]"), `4:21: "GET" is not a match`},
		"a rule for no method":             {https("    rules: [{match: GTE /x, right: read}]"), `4:21: "GTE /x" is not a match`},
		"a rule without right":             {https("    rules:\n      - {match: GET /x}"), `5:9: a rule wants the key "right"`},
		"a rule twice":                     {https("    rules: [{match: GET /x, right: read}, {match: GET /x, right: write}]"), `4:51: "GET /x" has a rule already`},
		"a total without table":            {https("    rules: [{match: GET /x, right: read, total: 5}]"), "4:13: a rule with a total wants the table it counts"},
		"a redaction that is a filter":     {https("    redact: {json: ['$..[?(@.x)]']}"), "4:21: \"$..[?(@.x)]\" is not a path in JSON"},
		"a label that is a list":           {ssh("    labels: {env: [a]}"), "4:19: want a text, not a list"},
		"an anchor":                        {"vendors: &v {}", "1:10: anchors (&) are not allowed"},
		"an alias":                         {"vendors: *v", "1:10: aliases (*) are not allowed"},
		"a key that is a list":             {"vendors: {[a]: b}", "1:14: found an invalid key for this map"},
		"a key that is a number":           {"1.5: {}", `1:1: unknown key "1.5" in the document`},
		"a text that is true":              {vendor("    name: {en: true}"), "4:16: want a text, not true or false: put it in quotes"},
		"an empty text":                    {vendor("    name: {en: ' '}"), "4:16: want a text that is not empty"},
		"a text without end":               {vendor("    name: {en: " + strings.Repeat("あ", 201) + "}"), "4:16: the text is too long: want at most 200"},
		"a text of several lines":          {vendor("    name:\n      en: |\n        a\n        b"), "want a text, not a text block"},
		"a word as number":                 {vendor("    risk: {level: high}"), "4:19: want a number from 0 to 4, not a text"},
		"a label with a space":             {ssh("    labels: {a b: c}"), `4:14: "a b" is not a label`},
		"a tag":                            {"vendors: !!map {}", "1:10: tags (!) are not allowed"},
		"a merge key":                      {"<<: {}", "1:1: merge keys (<<) are not allowed"},
		"two documents":                    {"vendors: {}\n---\npeople: {}", "2:1: a second document begins here: want one document"},
		"an open bracket":                  {"vendors: {", "1:10: "},
		"a tab as indentation":             {"vendors:\n\ta: 1", "2:1: a tab cannot indent: use spaces"},
		"a control character":              {"vendors: {}\n# a\x1b[2J", "2:4: the character U+001B is not allowed"},
		"a NUL":                            {"a\x00", "1:2: the character U+0000 is not allowed"},
		"bytes that are not UTF-8":         {"vendors: {}\n  \xff", "2:3: byte 0xff is not UTF-8"},
		"nesting without end":              {strings.Repeat("[", 100000), "1:65: nested too deeply"},
		"entries without end":              {strings.Repeat("a: b\n", 30000), "20001:2: more than 20000 entries at one indentation"},
		"nested dashes without end":        {strings.Repeat("- ", 100000), "1:129: nested too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := directory.Parse("directory.yaml", []byte(c.doc), options())
			if err == nil {
				t.Fatalf("accepted:\n%s", c.doc)
			}
			if want := "directory.yaml:"; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %q does not begin with %q", err, want)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %q\n   want   %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") && name != "a person of nobody" {
				t.Errorf("one mistake, several errors:\n%v", err)
			}
		})
	}
}

func TestAllMistakesAreNamedAtOnce(t *testing.T) {
	_, err := directory.Parse("d.yaml", []byte("vendors: {a: {type: x, parent: y}}\npeople: {p: {vendor: q}}"), options())
	if err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("error = %v, want three lines", err)
	}
}

func TestADocumentThatIsTooLargeIsRefusedUnread(t *testing.T) {
	_, err := directory.Parse("d.yaml", make([]byte, 5<<20), options())
	if err == nil || !strings.Contains(err.Error(), "d.yaml:1:1: the document has 5242880 bytes: want at most") {
		t.Errorf("error = %v", err)
	}
}

func TestAChainOfVendorsIsBounded(t *testing.T) {
	var doc strings.Builder
	doc.WriteString("vendors:\n  v0: {type: temporary}\n")
	for i := 1; i < 9; i++ {
		doc.WriteString("  v" + string(rune('0'+i)) + ": {type: temporary, parent: v" + string(rune('0'+i-1)) + "}\n")
	}
	_, err := directory.Parse("d.yaml", []byte(doc.String()), options())
	if err == nil || !strings.Contains(err.Error(), `the chain above "v8" has 9 vendors: want at most 8`) {
		t.Errorf("error = %v", err)
	}
}

func TestWithoutAPolicyEveryWindowIsUnknown(t *testing.T) {
	_, err := directory.Parse("d.yaml", []byte(specExample), directory.Options{Zone: tokyo})
	if err == nil || !strings.Contains(err.Error(), `d.yaml:7:15: there is no window "office-hours"`) {
		t.Errorf("error = %v", err)
	}
}

func TestWithoutAZoneNothingIsRead(t *testing.T) {
	if _, err := directory.Parse("d.yaml", []byte("vendors: {}"), directory.Options{}); err == nil {
		t.Error("read without a zone")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(specExample))
	for _, seed := range []string{"", "vendors: {}", "a: [", "- - - x", "vendors:\n  a: {type: temporary, parent: a}", "'a'", "a: |\n  b\n", "? a\n: b",
		"vendors: {a: {type: temporary, networks: [10.0.0.0/8]}}\r\npeople: {}", "x: 0x10", "{a: 'b\n  c'}", "a: >-\n x\n\nb: \"\\u0000\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, yaml []byte) {
		d, err := directory.Parse("d.yaml", yaml, options())
		if err != nil {
			return
		}
		if changes := directory.Diff(d, d); len(changes) != 0 {
			t.Errorf("a directory differs from itself: %v", changes)
		}
		for _, p := range d.People() {
			for _, target := range d.Targets() {
				if in, ok := d.Input(p.ID, target.Name, ""); ok && in.Vendor.ID != p.Vendor {
					t.Errorf("%s of %s was given the vendor %s", p.ID, p.Vendor, in.Vendor.ID)
				}
			}
		}
	})
}
