package policy_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wasmesh/wasmesh/filters/automaton"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// generator makes tables and requests of few parts, so that each clause of a
// generated grant holds for a good share of the generated requests.
type generator struct {
	*rand.Rand
	paths, values []*automaton.Automaton
}

func newGenerator(t testing.TB, seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
	for _, expr := range []string{"/a", "/a$", "/b(/.*)?$", "/", "/a/b", "[^;]*$"} {
		g.paths = append(g.paths, path(t, expr))
	}
	for _, expr := range []string{"1", "[12]", ".*", `h\.test`} {
		g.values = append(g.values, value(t, expr))
	}
	return g
}

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

// some returns up to most made values.
func some[T any](g *generator, most int, make func() T) []T {
	var out []T
	for range g.IntN(most + 1) {
		out = append(out, make())
	}
	return out
}

func (g *generator) peer() string   { return fmt.Sprintf("spiffe://mesh.test/ns/n/sa/%d", g.IntN(4)) }
func (g *generator) method() string { return pick(g, []string{"GET", "PUT", "get"}) }

func (g *generator) grants(n int) []policy.Grant {
	var out []policy.Grant
	for i := range n {
		out = append(out, policy.Grant{
			Name:        fmt.Sprintf("n/%d", i),
			Sources:     some(g, 3, g.peer),
			Connections: g.IntN(2) == 0,
			Ports: some(g, 2, func() policy.PortRange {
				return pick(g, []policy.PortRange{policy.EveryPort(), {First: 80, Last: 80}, {First: 81, Last: 90}, {First: 9, Last: 8}})
			}),
			Matches: some(g, 3, g.match),
		})
	}
	return out
}

func (g *generator) match() policy.Match {
	m := policy.Match{Name: "m", Methods: some(g, 2, g.method)}
	if g.IntN(4) > 0 {
		m.Path = pick(g, g.paths)
	}
	m.Headers = some(g, 1, func() policy.HeaderMatch {
		return policy.HeaderMatch{Name: pick(g, []string{"x", "host"}), Value: pick(g, g.values)}
	})
	return m
}

func (g *generator) request() policy.Request {
	return policy.Request{
		Peer:   g.peer(),
		Port:   pick(g, []uint16{80, 85, 443}),
		Method: g.method(),
		Path:   pick(g, []string{"/a", "/a/b", "/b/x?y", "/b/../a", "/a;x", "/a//b", "/c", "/a%2f", "*"}),
		Headers: some(g, 2, func() policy.Header {
			return policy.Header{Name: pick(g, []string{"x", "host", ":authority"}), Value: pick(g, []string{"1", " 2", "H.test:8", "3"})}
		}),
	}
}
