package webproxy

import (
	"fmt"
	"testing"
	"time"
)

func TestAPeerThatFailsAllTheTimeIsOnRecordOnceAMinute(t *testing.T) {
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	if ok, _ := l.pass("a"); !ok {
		t.Error("the first failure was held back")
	}
	for range 5 {
		if ok, _ := l.pass("a"); ok {
			t.Error("the same failure went through again")
		}
	}
	if ok, _ := l.pass("b"); !ok {
		t.Error("another peer was held back")
	}
	now = now.Add(limitEvery)
	if ok, skipped := l.pass("a"); !ok || skipped != 5 {
		t.Errorf("a minute later: %v, %d held back", ok, skipped)
	}
	for i := range 3 * limitKeys {
		if ok, _ := l.pass(fmt.Sprint("peer ", i)); !ok {
			t.Fatal("a new peer was held back")
		}
	}
	if len(l.last) > limitKeys {
		t.Errorf("%d peers are remembered", len(l.last))
	}
}
