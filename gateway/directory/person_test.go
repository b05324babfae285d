package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/gateway/directory"
)

func TestSeveralIdsOfOnePersonAreKnownWhicheverNamesTheOther(t *testing.T) {
	d := parse(t, `
vendors: {acme: {type: temporary}}
people:
  a: {vendor: acme, same_as: b}
  b: {vendor: "@staff", same_as: c}
  c: {vendor: acme}
  d: {vendor: acme, same_as: c}
  e: {vendor: acme, same_as: f}
  f: {vendor: acme, same_as: e}
  g: {vendor: acme}
`)
	for id, want := range map[string]string{"a": "a b c d", "b": "a b c d", "c": "a b c d", "d": "a b c d", "e": "e f", "f": "e f", "g": "g", "x": "x"} {
		if got := strings.Join(d.Same(id), " "); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
	if p, _ := d.Person("a"); p.SameAs != "b" {
		t.Errorf("person %+v", p)
	}
}

func TestACircleOfIdsIsOnePerson(t *testing.T) {
	d := parse(t, `
vendors: {acme: {type: temporary}}
people: {a: {vendor: acme, same_as: b}, b: {vendor: acme, same_as: c}, c: {vendor: acme, same_as: a}}
`)
	if got := d.Same("b"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("b is %v", got)
	}
}

func TestAnOtherIdHasToBeSomebodys(t *testing.T) {
	const head = "vendors: {acme: {type: temporary}}\npeople:\n"
	many := head
	for i := range 17 {
		many += fmt.Sprintf("  p%d: {vendor: acme, same_as: p%d}\n", i, (i+1)%17)
	}
	for name, c := range map[string]struct{ yaml, want string }{
		"nobody's":     {head + "  a: {vendor: acme, same_as: zeta}\n", `directory.yaml:3:30: there is no person "zeta"`},
		"their own":    {head + "  a: {vendor: acme, same_as: a}\n", `directory.yaml:3:30: "a" is the same as itself anyway`},
		"no id":        {head + "  a: {vendor: acme, same_as: 'A B'}\n", `directory.yaml:3:30: "A B" is not an id`},
		"several":      {head + "  a: {vendor: acme, same_as: [b, c]}\n", "directory.yaml:3:30: want a text"},
		"too many ids": {many, "with more than 16 ids"},
	} {
		_, err := directory.Parse("directory.yaml", []byte(c.yaml), options())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAnOtherIdIsAChange(t *testing.T) {
	const people = "vendors: {acme: {type: temporary}}\npeople: {b: {vendor: acme}, a: {vendor: acme%s}}\n"
	before, after := parse(t, fmt.Sprintf(people, "")), parse(t, fmt.Sprintf(people, ", same_as: b"))
	changes := directory.Diff(before, after)
	if len(changes) != 1 || changes[0].String() != "+ people.a.same_as: b" {
		t.Errorf("changes %v", changes)
	}
}
