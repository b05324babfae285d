package policy

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

// Limits of a memo.
const (
	memoEntries = 4096
	memoKey     = 2048 // bytes
)

// memo remembers what the rules said by everything they were shown, written out in full: no two questions share a key. Rules
// see no clock, only facts, and these are part of the key: an entry never goes stale while its revision lasts.
type memo[T any] struct {
	mu      sync.RWMutex
	entries map[string]T
}

func (m *memo[T]) get(key []byte) (T, bool) {
	m.mu.RLock()
	v, ok := m.entries[string(key)]
	m.mu.RUnlock()
	return v, ok
}

// put remembers v, unless its key is so long that somebody could fill the memory with such keys.
func (m *memo[T]) put(key []byte, v T) {
	if len(key) > memoKey {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil || len(m.entries) >= memoEntries {
		m.entries = make(map[string]T)
	}
	m.entries[string(key)] = v
}

// appendKey writes everything that a plan depends on. The chain comes first: it tells which rules are asked, so which parts
// of the input follow. A stance is one vendor of one type on one target.
func (q *inquiry) appendKey(key []byte) []byte {
	key = append(key, byte(len(q.links)))
	byPath := q.reads.has(fieldPath | fieldResource)
	for l := range q.links {
		key = binary.LittleEndian.AppendUint64(key, q.links[l].serial)
		byPath = byPath || q.links[l].byPath
	}
	key = append(key, bit(q.guardOnly), bit(q.in.staff()))
	key = q.appendShared(key, q.reads)
	for l := range q.links {
		key = q.links[l].facts.appendKey(key, q.reads)
		key = appendRisk(key, q.links[l].vendor.Risk, q.reads)
	}
	if byPath {
		key = appendTexts(key, q.in.Action.Protocol)
	}
	for _, n := range q.in.Action.Needs {
		key = append(key, n.Right.number())
		if byPath {
			key = appendText(key, n.Resource)
		}
	}
	return key
}

// appendQuestion writes everything that one package of rules is shown about one need.
func (q *inquiry) appendQuestion(key []byte, asked *question, reads fields) []byte {
	key = q.appendShared(key, reads)
	v := asked.vendor
	key = appendField(key, reads, fieldVendorID, v.ID)
	key = appendField(key, reads, fieldVendorType, v.Type)
	if reads.has(fieldOwn) {
		key = append(key, bit(asked.own))
	}
	key = appendRisk(key, v.Risk, reads)
	key = asked.facts.appendKey(key, reads)
	key = appendField(key, reads, fieldRight, string(asked.need.Right))
	key = appendField(key, reads, fieldResource, asked.need.Resource)
	key = appendField(key, reads, fieldPath, asked.path)
	key = appendField(key, reads, fieldCell, asked.cell)
	return appendField(key, reads, fieldOverride, asked.override)
}

// appendShared writes what all questions about an Input share.
func (q *inquiry) appendShared(key []byte, reads fields) []byte {
	in := q.in
	key = appendField(key, reads, fieldPersonID, in.Person.ID)
	key = appendField(key, reads, fieldPersonVendor, in.Person.Vendor)
	if reads.has(fieldRoles) {
		key = appendTexts(key, in.Person.Roles...)
	}
	if reads.has(fieldStaff | fieldUV | fieldOpaque) {
		key = append(key, bit(in.staff()), bit(in.Auth.MFA.UV), bit(in.Action.Opaque))
	}
	if reads.has(fieldChain) {
		key = append(key, byte(len(in.Parents)))
		key = appendText(key, in.Vendor.ID)
		for i := range in.Parents {
			key = appendText(key, in.Parents[i].ID)
		}
	}
	key = appendField(key, reads, fieldAuthKind, in.Auth.Kind)
	key = appendField(key, reads, fieldMethod, in.Auth.MFA.Method)
	if reads.has(fieldIP) {
		ip := in.Source.IP.As16()
		key = append(key, ip[:]...)
		key = appendText(key, in.Source.IP.Zone())
		key = append(key, bit(in.Source.IP.IsValid()), bit(in.Source.IP.Is4()))
	}
	key = appendField(key, reads, fieldTargetName, in.Target.Name)
	key = appendField(key, reads, fieldTargetKind, in.Target.Kind)
	key = appendField(key, reads, fieldLogin, in.Target.Login)
	if reads.has(fieldLabels) {
		key = appendLabels(key, in.Target.Labels)
	}
	key = appendField(key, reads, fieldSensitivity, in.Target.Sensitivity)
	key = appendField(key, reads, fieldEnforcement, in.Target.Enforcement)
	key = appendField(key, reads, fieldProtocol, in.Action.Protocol)
	key = appendField(key, reads, fieldOperation, in.Action.Operation)
	key = appendField(key, reads, fieldCommand, in.Action.Command)
	return appendField(key, reads, fieldWindows, q.clock.key)
}

func (f *facts) appendKey(key []byte, reads fields) []byte {
	key = appendWord(key, reads, fieldCertificate, f.certificate)
	key = appendWord(key, reads, fieldMFA, f.mfa)
	key = appendWord(key, reads, fieldContract, f.contract)
	key = appendWord(key, reads, fieldWindow, f.window)
	key = appendWord(key, reads, fieldNetwork, f.network)
	key = appendWord(key, reads, fieldListed, f.target)
	key = appendWord(key, reads, fieldBreakGlass, f.breakGlass)
	if reads.has(fieldCutOff) {
		key = append(key, bit(f.cutOff))
	}
	return key
}

// appendWord writes a fact if it is read. The words of one fact differ in their first letter or in their length, which
// TestTheWordsOfAFactDiffer holds them to.
func appendWord(key []byte, reads, field fields, word string) []byte {
	if reads.has(field) {
		key = append(key, word[0], byte(len(word)))
	}
	return key
}

func appendRisk(key []byte, level *int, reads fields) []byte {
	switch {
	case !reads.has(fieldRisk):
	case level == nil:
		key = append(key, 0)
	default:
		key = binary.AppendVarint(append(key, 1), int64(*level))
	}
	return key
}

func appendLabels(key []byte, m map[string]string) []byte {
	names := make([]string, 0, 8)
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	key = binary.AppendUvarint(key, uint64(len(names)))
	for _, name := range names {
		key = appendText(appendText(key, name), m[name])
	}
	return key
}

// appendField writes a text if it is read.
func appendField(key []byte, reads, field fields, text string) []byte {
	if reads.has(field) {
		key = appendText(key, text)
	}
	return key
}

// appendTexts writes how many texts there are and each with its length, so that no two lists look alike.
func appendTexts(key []byte, texts ...string) []byte {
	key = binary.AppendUvarint(key, uint64(len(texts)))
	for _, text := range texts {
		key = appendText(key, text)
	}
	return key
}

func appendText(key []byte, text string) []byte {
	if len(text) < 0x80 {
		key = append(key, byte(len(text))) // as AppendUvarint does
	} else {
		key = binary.AppendUvarint(key, uint64(len(text)))
	}
	return append(key, text...)
}

func bit(flag bool) byte {
	if flag {
		return 1
	}
	return 0
}
