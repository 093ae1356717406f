package suggest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

const (
	// maxName is the longest name of an object, a DNS label, in bytes.
	maxName = 63
	// maxMatch keeps the names of matches such that a list of them can be read.
	maxMatch = 40
)

// taken are the names in use, by kind.
type taken map[place]bool

// takenNames lists what exists, and what the policy in force is made of.
func takenNames(s *mesh.Snapshot, inUse []mesh.Object) taken {
	t := taken{}
	for _, o := range inUse {
		t[place{kind: o.Kind, name: o.Name}] = true
	}
	for _, a := range s.Access {
		for _, g := range a.Grants {
			name, ok := mesh.ParseName(g.Name)
			if !ok {
				continue
			}
			t[place{kind: smi.KindTrafficTarget, name: name}] = true
			for _, m := range g.Matches {
				group, _, isGroup := strings.Cut(m.Name, "/")
				kind := smi.KindTCPRoute
				if isGroup {
					kind = smi.KindHTTPRouteGroup
				}
				t[place{kind: kind, name: mesh.Name{Namespace: name.Namespace, Name: group}}] = true
			}
		}
	}
	return t
}

// name returns the first wish that is free, else the last one with a number.
func (t taken) name(kind, namespace string, wishes ...string) string {
	for _, wish := range wishes {
		p := place{kind: kind, name: mesh.Name{Namespace: namespace, Name: label(wish, maxName)}}
		if !t[p] {
			t[p] = true
			return p.name.Name
		}
	}
	for n := 2; ; n++ {
		suffix := "-" + strconv.Itoa(n)
		p := place{kind: kind, name: mesh.Name{Namespace: namespace, Name: label(wishes[len(wishes)-1], maxName-len(suffix)) + suffix}}
		if !t[p] {
			t[p] = true
			return p.name.Name
		}
	}
}

// label makes a DNS label of at most limit bytes of any text.
func label(text string, limit int) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(text)) {
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == limit {
			break
		}
	}
	if out := strings.Trim(b.String(), "-"); out != "" {
		return out
	}
	return "x"
}

// targetNames are wishes for the name of a TrafficTarget, the shortest first.
func targetNames(destination mesh.Name, g grant, several bool) []string {
	first := g.sources[0]
	who, exactly := first.Name, first.Namespace+"-"+first.Name
	switch n := len(g.sources); {
	case n == 2:
		who += "-and-" + g.sources[1].Name
		exactly += "-and-" + g.sources[1].Namespace + "-" + g.sources[1].Name
	case n > 2:
		more := fmt.Sprintf("-and-%d-more", n-1)
		who, exactly = who+more, exactly+more
	}
	on := ""
	if g.opaque || several && len(g.ports) > 0 {
		on = "-on" + numbers(g.ports)
	}
	return []string{destination.Name + "-from-" + who + on, destination.Name + "-from-" + exactly + on}
}

// numbers lists ports as part of a name.
func numbers(ports []uint16) string {
	var b strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&b, "-%d", p)
	}
	return b.String()
}

// matchNames names the routes of one group, by their keys, which must be sorted.
// Where a pattern comes with different methods, its names tell them.
func matchNames(keys []string, routes map[string]*route) map[string]string {
	patterns := map[string]int{}
	for _, key := range keys {
		patterns[routes[key].pattern]++
	}
	out, used := map[string]string{}, map[string]bool{}
	for _, key := range keys {
		r := routes[key]
		wish := strings.Join(r.labels, "-")
		if strings.Trim(wish, "-") == "" {
			wish = "root"
		}
		wish = label(wish, maxMatch)
		if patterns[r.pattern] > 1 {
			wish = label(strings.Join(r.methods, "-")+"-"+wish, maxMatch)
		}
		name := wish
		for n := 2; used[name]; n++ {
			name = wish + "-" + strconv.Itoa(n)
		}
		used[name] = true
		out[key] = name
	}
	return out
}
