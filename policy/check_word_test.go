package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheWordsOfFactsAreThoseThatFactsHave(t *testing.T) {
	for _, name := range fieldNames {
		if fact, ok := strings.CutPrefix(name, "facts."); ok && fact != "cut_off" && factWords[fact] == nil {
			t.Errorf("the words of input.%s are not known", name)
		}
	}
	windows, err := parseWindows([]byte("night: {zone: UTC, days: [mon, tue, wed], from: \"22:00\", to: \"04:00\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	seen := map[string]map[string]bool{}
	for range 20_000 {
		in := anyInput(rng)
		f := factsOf(&in, &in.Vendor, 12*time.Hour, readClock(windows, in.Time.Now), &ends{now: in.Time.Now})
		for fact, word := range map[string]string{"certificate": f.certificate, "mfa": f.mfa, "contract": f.contract,
			"window": f.window, "network": f.network, "target": f.target, "break_glass": f.breakGlass} {
			if seen[fact] == nil {
				seen[fact] = map[string]bool{}
			}
			seen[fact][word] = true
		}
	}
	for fact, words := range factWords {
		for word := range seen[fact] {
			if !slices.Contains(words, word) {
				t.Errorf("input.facts.%s can be %q, which is not among its words", fact, word)
			}
		}
		for _, word := range words {
			if !seen[fact][word] {
				t.Errorf("input.facts.%s is never %q", fact, word)
			}
		}
	}
}

// anyInput has each control met or unmet by chance.
func anyInput(rng *rand.Rand) Input {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rng.IntN(30*24)) * time.Hour)
	about := func() time.Time {
		return [...]time.Time{{}, now.Add(-13 * time.Hour), now.Add(-time.Hour), now.Add(time.Minute / 2), now.Add(time.Hour)}[rng.IntN(5)]
	}
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	v := Vendor{ID: pick("acme", StaffVendor), Contract: Contract{From: about(), Until: about()}}
	if rng.IntN(2) == 0 {
		v.Windows, v.Networks = []string{"night"}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		v.Targets = []string{"db1"}
	}
	return Input{
		Person: Person{ID: "p", Vendor: v.ID}, Vendor: v,
		Auth: Auth{Kind: "human", Cert: Cert{Serial: pick("", "1"), NotAfter: about()},
			MFA: MFA{Method: pick("", "totp", "webauthn"), At: about(), UV: rng.IntN(2) == 0}},
		Source:     Source{IP: netip.MustParseAddr(pick("192.0.2.1", "198.51.100.1"))},
		Target:     Target{Name: pick("db1", "db2", GatewayTarget)},
		Time:       Clock{Now: now},
		BreakGlass: &BreakGlass{ID: "g-1", Until: about()},
	}
}
