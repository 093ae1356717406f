package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/automaton"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// large is a destination with many callers and many patterns: one target with
// all of them, and one for every hundredth caller and pattern.
func large(t testing.TB, sources, patterns int) []policy.Grant {
	all := grant("shop/all")
	all.Sources = nil
	for i := range sources {
		all.Sources = append(all.Sources, fmt.Sprintf("spiffe://cluster.example/ns/team-%03d/sa/caller-%05d", i%97, i))
	}
	for i := range patterns {
		m := policy.Match{Name: fmt.Sprintf("routes/%d", i), Path: path(t, largePattern(i)), Methods: []string{"GET", "PUT"}}
		all.Matches = append(all.Matches, m)
	}
	grants := []policy.Grant{all}
	for i := 0; i < sources; i += 100 {
		one := grant(fmt.Sprintf("shop/one-%05d", i), all.Matches[i%patterns])
		one.Sources = all.Sources[i : i+1]
		grants = append(grants, one)
	}
	return grants
}

// largePattern has what patterns usually have.
func largePattern(i int) string {
	switch i % 4 {
	case 0:
		return fmt.Sprintf("/api/v1/tenants/[^/]+/orders-%03d/[0-9]+$", i)
	case 1:
		return fmt.Sprintf("/api/v2/inventory-%03d(/.*)?$", i)
	case 2:
		return fmt.Sprintf("/catalogue/%03d/(books|records|maps)/[a-z0-9-]+$", i)
	}
	return fmt.Sprintf("/files/%03d/.*", i)
}

// largePath is one that the pattern accepts.
func largePath(i int) string {
	switch i % 4 {
	case 0:
		return fmt.Sprintf("/api/v1/tenants/acme/orders-%03d/4711", i)
	case 1:
		return fmt.Sprintf("/api/v2/inventory-%03d/x", i)
	case 2:
		return fmt.Sprintf("/catalogue/%03d/maps/old-world", i)
	}
	return fmt.Sprintf("/files/%03d/a/b.txt", i)
}

// TestMergingShrinksWhatIsOverTheBudget: the automata of these alone have more
// transitions than a merge may make; side by side they would cost a pass each.
func TestMergingShrinksWhatIsOverTheBudget(t *testing.T) {
	var automata []*automaton.Automaton
	alone := 0
	for i := range 1_000 {
		expr := fmt.Sprintf("/catalogue-%04d/[^/]+/(books|maps)/[0-9]+$", i)
		if i == 500 {
			expr = "/.*$"
		}
		a := path(t, expr)
		automata = append(automata, a)
		for _, u := range automaton.Merge([]*automaton.Automaton{a}) {
			alone += u.Transitions()
		}
	}
	merged := automaton.Merge(automata)
	total := 0
	for _, u := range merged {
		total += u.Transitions()
	}
	if alone <= automaton.MergeBudget || total > automaton.MergeBudget || len(merged) > 2 {
		t.Errorf("%d transitions alone became %d in %d unions, with a budget of %d", alone, total, len(merged), automaton.MergeBudget)
	}
}

// TestLargeTables: ten thousand callers and a thousand patterns are one automaton
// and less than 1 MB, and each pattern allows its path.
func TestLargeTables(t *testing.T) {
	const sources, patterns = 10_000, 1_000
	grants := large(t, sources, patterns)
	compiled := policy.Compile(grants)
	encoded := compiled.Encode()
	table, ok := policy.Decode(encoded)
	if !ok {
		t.Fatal("the encoded table is refused")
	}
	t.Logf("%d bytes, %d passes", len(encoded), table.Passes())
	if len(encoded) > 1_000_000 || table.Passes() != 1 || table.Patterns() != patterns {
		t.Errorf("%d bytes, %d passes for %d patterns", len(encoded), table.Passes(), table.Patterns())
	}
	for i := range patterns {
		r := request(from(grants[0].Sources[i*7]), of(largePath(i)))
		if v := table.Decide(r); !v.Allow || v.Rule != "shop/all" {
			t.Fatalf("%+v: %+v", r, v)
		}
		r.Path = "/none" + r.Path
		if v := table.Decide(r); v.Reason != policy.ReasonPath {
			t.Fatalf("%+v: %+v", r, v)
		}
	}
	r := request(from(grants[0].Sources[5]), of(largePath(5)))
	if n := testing.AllocsPerRun(100, func() { table.Decide(r) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}

// unmergeable are patterns of which each wants a word anywhere: their product has
// two to the power of their number states.
func unmergeable(t testing.TB, n int) []policy.Grant {
	g := grant("shop/words")
	for i := range n {
		g.Matches = append(g.Matches, policy.Match{
			Name: fmt.Sprintf("words/%d", i), Path: path(t, fmt.Sprintf("/.*w%dq.*x%dy$", i, i)),
		})
	}
	return []policy.Grant{g}
}

// TestUnmergeablePatternsStayRight on the slower way.
func TestUnmergeablePatternsStayRight(t *testing.T) {
	const n = 40
	table, ok := policy.Decode(policy.Compile(unmergeable(t, n)).Encode())
	if !ok {
		t.Fatal("the encoded table is refused")
	}
	if p := table.Passes(); p < 2 || p >= n {
		t.Errorf("%d patterns take %d passes", n, p)
	}
	for i := range n {
		r := request(of(fmt.Sprintf("/a/w%dq/b/x%dy", i, i)))
		if v := table.Decide(r); !v.Allow {
			t.Errorf("%s: %+v", r.Path, v)
		}
		r.Path += "/z"
		if v := table.Decide(r); v.Allow || v.Reason != policy.ReasonPath {
			t.Errorf("%s: %+v", r.Path, v)
		}
	}
}

// TestFirstRuleIsNamed wherever the table's index finds it.
func TestFirstRuleIsNamed(t *testing.T) {
	any, books, open := policy.Match{Methods: []string{"PUT"}}, policy.Match{Path: path(t, "/books$")}, policy.Match{Path: path(t, "/b")}
	var grants []policy.Grant
	for i := range 9 {
		m := [][]policy.Match{{any}, {open}, {books, open, any}}[i%3]
		g := grant(fmt.Sprintf("shop/%d", i), m...)
		g.Ports = []policy.PortRange{{First: uint16(80 + i), Last: 99}}
		grants = append(grants, g)
	}
	table := policy.Compile(grants)
	for _, a := range []asked{
		{request(at(79)), "port"}, {request(at(80)), "method"}, {request(at(80), by("PUT")), "shop/0"},
		{request(at(81)), "shop/1"}, {request(at(99)), "shop/1"}, {request(at(99), by("PUT")), "shop/0"},
		{request(at(99), of("/x")), "method"}, {request(at(81), of("/x")), "method"},
	} {
		if v := table.Decide(a.request); v.Rule+string(v.Reason) != a.want {
			t.Errorf("%+v: %+v, want %s", a.request, v, a.want)
		}
	}
}

func BenchmarkCompileLarge(b *testing.B) {
	for _, n := range []struct{ sources, patterns int }{{10, 10}, {100, 100}, {10_000, 1_000}} {
		b.Run(fmt.Sprintf("sources=%d/patterns=%d", n.sources, n.patterns), func(b *testing.B) {
			for b.Loop() {
				policy.Compile(large(b, n.sources, n.patterns)).Encode()
			}
		})
	}
}

func BenchmarkCompileUnmergeable(b *testing.B) {
	grants := unmergeable(b, 300)
	for b.Loop() {
		policy.Compile(grants)
	}
}

// BenchmarkCompileMerge is Compile alone, the patterns being automata already.
func BenchmarkCompileMerge(b *testing.B) {
	for _, n := range []struct{ sources, patterns int }{{10, 1}, {10, 10}, {10_000, 1_000}} {
		grants := large(b, n.sources, n.patterns)
		b.Run(fmt.Sprintf("sources=%d/patterns=%d", n.sources, n.patterns), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.Compile(grants)
			}
		})
	}
}

func BenchmarkDecodeLarge(b *testing.B) {
	encoded := policy.Compile(large(b, 10_000, 1_000)).Encode()
	b.ReportAllocs()
	for b.Loop() {
		policy.Decode(encoded)
	}
}

func BenchmarkDecideLarge(b *testing.B) {
	for _, n := range []struct{ sources, patterns int }{{10, 1}, {10_000, 1}, {10, 1_000}, {10_000, 1_000}} {
		b.Run(fmt.Sprintf("sources=%d/patterns=%d", n.sources, n.patterns), func(b *testing.B) {
			grants := large(b, n.sources, n.patterns)
			table, _ := policy.Decode(policy.Compile(grants).Encode())
			r := request(from(grants[0].Sources[n.sources/2]), of(largePath(n.patterns/2/4*4)))
			if !table.Decide(r).Allow {
				b.Fatal("not allowed")
			}
			b.ReportAllocs()
			for b.Loop() {
				table.Decide(r)
			}
		})
	}
}

// BenchmarkDecideHostile is the longest path an attacker may try: 8 KB, read in
// two ways, once or, where patterns could not be merged, many times.
func BenchmarkDecideHostile(b *testing.B) {
	long := "/files/003/" + strings.Repeat("a/w1q;", 8192/6)
	for name, grants := range map[string][]policy.Grant{
		"merged": large(b, 10_000, 1_000), "40 words": unmergeable(b, 40),
		"open": {grant("shop/a", policy.Match{Path: pathOf(b, "/files/003/(a/w1q)*$")})},
	} {
		b.Run(name, func(b *testing.B) {
			table := policy.Compile(grants)
			r := request(from(grants[0].Sources[0]), of(long))
			b.ReportMetric(float64(table.Passes()), "passes")
			for b.Loop() {
				table.Decide(r)
			}
		})
	}
}

func pathOf(b *testing.B, expr string) *automaton.Automaton {
	return compiled(b, expr, pattern.PathFull)
}
