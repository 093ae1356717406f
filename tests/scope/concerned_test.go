package scope

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// quiet is how long nothing more may come for an edit to be over.
const quiet = 300 * time.Millisecond

// testConcerned counts the bytes that each of seven proxies is sent after
// each of a row of edits: none but those that gain, lose or judge something get
// any at all.
func testConcerned(t *testing.T, s *street) {
	thief := grant{"store", []string{"thief"}, "/books"}
	another := grant{"store", []string{"thief"}, "/other"}
	split := func(p policy, store, annex int) policy {
		p.split = map[string]int{"store": store, "annex": annex}
		return p
	}
	remarked := usual()
	remarked.remark = "nothing else is new"
	withoutClerk := policy{grants: usual().grants[:1]}
	for _, step := range []struct {
		what      string
		edit      policy
		concerned []string
	}{
		{"a caller gains", usual().with(thief), []string{"store", "thief"}},
		{"another path of a caller", usual().with(another), []string{"store"}},
		{"a caller loses", usual(), []string{"store", "thief"}},
		{"a remark", remarked, nil},
		{"a split at a weight of 0", split(usual(), 1, 0), []string{"buyer"}},
		{"a split in use", split(usual(), 1, 1), []string{"buyer", "clerk"}},
		{"other weights", split(usual(), 2, 1), []string{"buyer", "clerk"}},
		{"no split", usual(), []string{"buyer", "clerk"}},
		{"the last grant of a destination goes", withoutClerk, []string{"annex", "clerk"}},
		{"the first grant of a destination comes", usual(), []string{"annex", "clerk"}},
		{"an opaque port", usual().with(grant{"store", []string{"porter"}, ""}), []string{"porter", "store"}},
		{"an opaque port no more", usual(), []string{"porter", "store"}},
	} {
		before := s.sent()
		if len(before) < 7 {
			t.Fatalf("only %d proxies are connected: %v", len(before), sorted(before))
		}
		s.edit(step.edit)
		time.Sleep(quiet)
		after := s.sent()
		var concerned, line []string
		for _, proxy := range sorted(after) {
			n := after[proxy] - before[proxy]
			line = append(line, fmt.Sprintf("%s %d", proxy, n))
			if n > 0 {
				concerned = append(concerned, proxy)
			}
		}
		t.Logf("%-40s %s", step.what, strings.Join(line, ", "))
		if !slices.Equal(concerned, step.concerned) {
			t.Errorf("%s: bytes were sent to %v, want %v alone", step.what, concerned, step.concerned)
		}
	}
}
