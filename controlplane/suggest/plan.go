package suggest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// plan is what to grant at one destination, before it has names.
type plan struct {
	// routes by their key; each becomes one match.
	routes map[string]*route
	grants []grant
}

// route is a pattern and the methods seen with it.
type route struct {
	path
	methods []string
}

func (r *route) key() string { return r.pattern + " " + strings.Join(r.methods, " ") }

// grant is what some sources did alike.
type grant struct {
	sources []mesh.Name
	// ports is empty for every port that speaks HTTP.
	ports  []uint16
	opaque bool
	// routes are keys, sorted.
	routes []string
	seen   tally
	last   time.Time
}

// shape is all that two grants of different sources must share to be one.
func (g grant) shape() string { return fmt.Sprint(g.opaque, g.ports, strings.Join(g.routes, "\n")) }

// planFor turns the observations of one destination into grants.
func planFor(seen []observe.Observation, c *sieve) plan {
	p := plan{routes: map[string]*route{}}
	bySource := map[mesh.Name][]observe.Observation{}
	for _, o := range seen {
		bySource[o.Source] = append(bySource[o.Source], o)
	}
	together := map[string]*grant{}
	for _, source := range slices.SortedFunc(maps.Keys(bySource), mesh.Name.Compare) {
		for _, g := range p.grantsOf(bySource[source], c) {
			if same := together[g.shape()]; same != nil {
				same.sources = append(same.sources, source)
				same.add(g)
				continue
			}
			g.sources = []mesh.Name{source}
			together[g.shape()] = &g
		}
	}
	for _, g := range together {
		p.grants = append(p.grants, *g)
	}
	slices.SortFunc(p.grants, func(a, b grant) int {
		return cmp.Or(slices.CompareFunc(a.sources, b.sources, mesh.Name.Compare), strings.Compare(a.shape(), b.shape()))
	})
	return p
}

func (g *grant) add(o grant) {
	g.seen.add(o.seen)
	if o.last.After(g.last) {
		g.last = o.last
	}
}

// grantsOf plans for one source: one grant for all ports on which it sent the
// same requests, and one for its opaque connections.
func (p *plan) grantsOf(seen []observe.Observation, c *sieve) []grant {
	byPort := map[uint16][]observe.Observation{}
	opaque := grant{opaque: true}
	for _, o := range seen {
		if o.Opaque {
			opaque.ports = append(opaque.ports, o.Port)
			opaque.add(grant{seen: tallyOf(o), last: o.Last})
			continue
		}
		byPort[o.Port] = append(byPort[o.Port], o)
	}
	alike := map[string]*grant{}
	for _, port := range slices.Sorted(maps.Keys(byPort)) {
		g := p.requests(byPort[port], c)
		if len(g.routes) == 0 {
			continue
		}
		if same := alike[g.shape()]; same != nil {
			same.ports = append(same.ports, port)
			same.add(g)
			continue
		}
		shape := g.shape()
		g.ports = []uint16{port}
		alike[shape] = &g
	}
	all := c.httpPorts(seen[0].Destination)
	var out []grant
	for _, shape := range slices.Sorted(maps.Keys(alike)) {
		g := alike[shape]
		if slices.Equal(g.ports, all) {
			g.ports = nil
		}
		out = append(out, *g)
	}
	if len(opaque.ports) > 0 {
		out = append(out, opaque)
	}
	return out
}

// requests plans for what one source sent to one port. Paths are folded by
// method: many values under GET do not open one more to POST.
func (p *plan) requests(seen []observe.Observation, c *sieve) grant {
	var g grant
	byMethod := map[string]*node{}
	for _, o := range seen {
		root := byMethod[o.Method]
		if root == nil {
			root = newNode("", "", true)
			byMethod[o.Method] = root
		}
		read, ok := policy.Normalize(o.Path)
		if !ok || !root.add(read, tallyOf(o)) {
			c.drop(o.Destination, o.Source, "backends that drop parameters read other segments in the path, which no pattern can follow", tallyOf(o))
			continue
		}
		g.add(grant{seen: tallyOf(o), last: o.Last})
	}
	found := map[string]*route{}
	for _, method := range slices.Sorted(maps.Keys(byMethod)) {
		root := byMethod[method]
		root.fold()
		for _, path := range root.paths() {
			if _, err := pattern.PathFull(path.pattern); err != nil {
				c.drop(seen[0].Destination, seen[0].Source, fmt.Sprintf("a pattern would be too large: %v", err), path.seen)
				continue
			}
			if r := found[path.pattern]; r != nil {
				r.methods = append(r.methods, method)
				r.add(path)
				continue
			}
			found[path.pattern] = &route{path, []string{method}}
		}
	}
	for _, r := range found {
		key := r.key()
		if known := p.routes[key]; known != nil {
			known.add(r.path)
		} else {
			p.routes[key] = r
		}
		g.routes = append(g.routes, key)
	}
	slices.Sort(g.routes)
	return g
}

// add takes in what else was seen under the same pattern.
func (p *path) add(o path) {
	p.seen.add(o.seen)
	for i := range p.wilds {
		p.wilds[i].values = maps.Clone(p.wilds[i].values)
		maps.Copy(p.wilds[i].values, o.wilds[i].values)
	}
}
