package policy_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// TestExplainAgreesWithDecide on generated tables: some trial allows exactly
// where the verdict does, and otherwise the furthest trial is the reason.
func TestExplainAgreesWithDecide(t *testing.T) {
	g := newGenerator(t, 1)
	met := map[policy.Reason]int{}
	for range 3000 {
		table := policy.Compile(g.grants(g.IntN(5)))
		for range 5 {
			met[explained(t, table, g.request())]++
		}
	}
	for _, reason := range order {
		if met[reason] == 0 {
			t.Errorf("no generated request ended with %q", reason)
		}
	}
}

// order is the one in which the clauses are looked at; what allows is last.
var order = []policy.Reason{
	policy.ReasonReject, policy.ReasonPolicy, policy.ReasonSource, policy.ReasonPort,
	policy.ReasonPath, policy.ReasonMethod, policy.ReasonHeader, policy.ReasonNone,
}

func explained(t *testing.T, table *policy.Table, r policy.Request) policy.Reason {
	t.Helper()
	v, e := table.Decide(r), table.Explain(r)
	if e.Verdict != v {
		t.Fatalf("%+v: Decide %+v, Explain %+v", r, v, e.Verdict)
	}
	furthest, rule := 0, ""
	for _, trial := range e.Trials {
		depth := depthOf(t, trial.Failed)
		if depth > furthest {
			furthest, rule = depth, trial.Rule
		}
		if (trial.Failed == policy.ReasonHeader) != (trial.Header != "") {
			t.Fatalf("%+v: a trial fails by %q and names the header %q", r, trial.Failed, trial.Header)
		}
	}
	switch {
	case v.Reason == policy.ReasonReject || v.Reason == policy.ReasonPolicy:
		if len(e.Trials) != 0 {
			t.Fatalf("%+v: %q, yet %+v was tried", r, v.Reason, e.Trials)
		}
	case order[furthest] != v.Reason:
		t.Fatalf("%+v: verdict %+v, furthest trial %q of %+v", r, v, order[furthest], e.Trials)
	case v.Allow && rule != v.Rule:
		t.Fatalf("%+v: verdict %+v, first trial that allows is of %q", r, v, rule)
	}
	if v.Allow != (v.Reason == policy.ReasonNone) || v.Allow != (v.Rule != "") {
		t.Fatalf("%+v: verdict %+v contradicts itself", r, v)
	}
	return v.Reason
}

func depthOf(t *testing.T, r policy.Reason) int {
	t.Helper()
	for i, o := range order {
		if o == r {
			return i
		}
	}
	t.Fatalf("a trial failed by %q", r)
	return 0
}

// TestAddingAGrantNeverRemovesAccess is rule 5, and rule 3's promise.
func TestAddingAGrantNeverRemovesAccess(t *testing.T) {
	g := newGenerator(t, 2)
	allowed := 0
	for range 3000 {
		grants := g.grants(4)
		less, more := policy.Compile(grants[:3]), policy.Compile(grants)
		for range 5 {
			r := g.request()
			if less.Decide(r).Allow {
				allowed++
				if !more.Decide(r).Allow {
					t.Fatalf("%+v: allowed, until %+v was added", r, grants[3])
				}
			}
		}
	}
	if allowed < 100 {
		t.Errorf("only %d requests were allowed", allowed)
	}
}

// TestNothingUnresolvedWidens takes from a grant what an unresolved reference
// leaves out, and looks for a request that it then allows.
func TestNothingUnresolvedWidens(t *testing.T) {
	g := newGenerator(t, 3)
	for range 3000 {
		full := g.grants(1)
		less := []policy.Grant{full[0]}
		switch g.IntN(3) {
		case 0:
			less[0].Sources = nil
		case 1:
			less[0].Ports = nil
		default:
			less[0].Matches = nil
		}
		if r := g.request(); policy.Compile(less).Decide(r).Allow {
			t.Fatalf("%+v: allowed by %+v", r, less[0])
		}
	}
}

func TestCompileIgnoresOrderAndKeepsInput(t *testing.T) {
	g := newGenerator(t, 4)
	for range 300 {
		grants := g.grants(6)
		g.Shuffle(len(grants), func(i, j int) { grants[i], grants[j] = grants[j], grants[i] })
		before := make([]policy.Grant, len(grants))
		for i, grant := range grants {
			before[i] = grant
			before[i].Sources = append([]string(nil), grant.Sources...)
			before[i].Matches = append([]policy.Match(nil), grant.Matches...)
		}
		want := policy.Compile(grants).Encode()
		if !reflect.DeepEqual(grants, before) {
			t.Fatal("Compile changed its input")
		}
		g.Shuffle(len(grants), func(i, j int) { grants[i], grants[j] = grants[j], grants[i] })
		for _, grant := range grants {
			s := grant.Sources
			g.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
		}
		if got := policy.Compile(grants).Encode(); !bytes.Equal(got, want) {
			t.Fatalf("shuffled grants give another table:\n%x\n%x", got, want)
		}
	}
}

// FuzzDecide looks for a request on which Decide and Explain differ, or that
// makes either panic.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(1), "spiffe://mesh.test/ns/n/sa/1", uint16(80), "GET", "/a?x", "x", "1", "host", "h.test")
	f.Add(uint64(9), "", uint16(0), "", "/b/..;/a", ":authority", "[::1]:80", "", "")
	g := newGenerator(f, 0)
	f.Fuzz(func(t *testing.T, seed uint64, peer string, port uint16, method, path, name1, value1, name2, value2 string) {
		seeded := &generator{Rand: newGenerator(t, seed).Rand, paths: g.paths, values: g.values}
		table := policy.Compile(seeded.grants(4))
		r := policy.Request{Peer: peer, Port: port, Method: method, Path: path, Headers: []policy.Header{{Name: name1, Value: value1}, {Name: name2, Value: value2}}}
		explained(t, table, r)
		r.Peer = seeded.peer()
		explained(t, table, r)
	})
}
