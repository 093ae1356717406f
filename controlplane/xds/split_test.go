package xds

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// conditional is the shop with splits that have conditions, before and after
// the one that has none.
func conditional() *mesh.Snapshot {
	s := shop()
	split := func(n, backend string, c ...mesh.Condition) mesh.Split {
		return mesh.Split{Name: name(n), Root: name("shop/store"), Conditional: true, Conditions: c,
			Backends: []mesh.Backend{{Service: name(backend), Weight: 1}}}
	}
	s.Splits = append(append([]mesh.Split{
		split("shop/z", "shop/store-v1",
			mesh.Condition{Match: policy.Match{Name: "g/a", Methods: []string{"GET", "X*"}}, Path: "(?:/a)(?s:.*)", Headers: []mesh.HeaderCondition{{Name: "host", Value: "store"}, {Name: "x-user", Value: "Fire.*"}}},
			mesh.Condition{Match: policy.Match{Name: "g/b"}}),
	}, s.Splits...),
		split("shop/a", "shop/store-v2", mesh.Condition{Match: policy.Match{Name: "g/c"}, Path: "/c"}),
		split("shop/b", "shop/store-v2"),
		split("shop/c", "shop/missing", mesh.Condition{Match: policy.Match{Name: "g/d"}, Path: "/d"}))
	return s
}

// Conditional splits come first, oldest first, whatever the names (smi-rules 73
// to 78). One without a usable condition, or without a backend, has no route.
func TestConditionalSplitsAreRoutes(t *testing.T) {
	table := Build(conditional(), name("shop/caller"), settings())[RouteType][OutboundName(name("shop/store"), 8080)].(*routev3.RouteConfiguration)
	if err := table.ValidateAll(); err != nil {
		t.Error(err)
	}
	var got []string
	for _, route := range table.GetVirtualHosts()[0].GetRoutes() {
		line := route.GetName() + ": " + route.GetMatch().GetSafeRegex().GetRegex() + route.GetMatch().GetPrefix()
		for _, h := range route.GetMatch().GetHeaders() {
			line += " " + h.GetName() + "=" + h.GetStringMatch().GetSafeRegex().GetRegex()
		}
		line += " -> " + route.GetRoute().GetCluster()
		for _, w := range route.GetRoute().GetWeightedClusters().GetClusters() {
			line += fmt.Sprintf("%s=%d ", w.GetName(), w.GetWeight().GetValue())
		}
		got = append(got, line)
	}
	want := []string{
		`shop/z g/a: (?:/a)(?s:.*) :method=GET|X\* :authority=store x-user=Fire.* -> outbound|shop/store-v1|8080`,
		"shop/z g/b: / -> outbound|shop/store-v1|8080",
		"shop/a g/c: /c -> outbound|shop/store-v2|8080",
		": / -> outbound|shop/store-v1|8080=50 outbound|shop/store-v2|8080=0 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What a TCP listener uses has no conditions (smi-rules 79).
func TestBackendsAreThoseWithoutConditions(t *testing.T) {
	s := conditional()
	want := []share{{"outbound|shop/store-v1|8080", 50}, {"outbound|shop/store-v2|8080", 0}}
	if got := backends(s, name("shop/store"), 8080); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, other := range []string{"shop/store-v1", "shop/nobody"} {
		if got := backends(s, name(other), 8080); got != nil {
			t.Errorf("%s: got %v", other, got)
		}
	}
	if got := backends(s, name("shop/store"), 9); got != nil {
		t.Errorf("a port that the root does not have: got %v", got)
	}
}

// A split is the callers' affair: the side that is called knows nothing of it,
// so who calls without a sidecar is not split (smi-rules 60).
func TestSplitsAreAppliedByTheCaller(t *testing.T) {
	with, without := conditional(), shop()
	without.Splits = nil
	for _, s := range []*mesh.Snapshot{with, without} {
		s.Access[0].Grants[0].Sources = []string{"spiffe://test/ns/shop/sa/store"}
	}
	a, b := Build(with, name("shop/store-v1"), settings()), Build(without, name("shop/store-v1"), settings())
	for typeURL, byName := range a {
		for resource, m := range byName {
			isRootsRoute := typeURL == RouteType && resource == OutboundName(name("shop/store"), 8080)
			if proto.Equal(m, b[typeURL][resource]) == isRootsRoute {
				t.Errorf("%s: the same with and without splits is %v\n%s", resource, !isRootsRoute, prototext.Format(m))
			}
		}
	}
}

// A backend that is a root is not split again, and a circle of splits is
// harmless (smi-rules 69, 70).
func TestSplitsAreNotFollowed(t *testing.T) {
	s := shop()
	one := func(root, backend string) mesh.Split {
		return mesh.Split{Name: name(root), Root: name(root), Backends: []mesh.Backend{{Service: name(backend), Weight: 1}, {Service: name(root), Weight: 1}}}
	}
	s.Splits = []mesh.Split{one("shop/store", "shop/store-v1"), one("shop/store-v1", "shop/store")}
	for root, want := range map[string][]share{
		"shop/store":    {{"outbound|shop/store-v1|8080", 1}, {"outbound|shop/store|8080", 1}},
		"shop/store-v1": {{"outbound|shop/store|8080", 1}, {"outbound|shop/store-v1|8080", 1}},
	} {
		if got := backends(s, name(root), 8080); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", root, got, want)
		}
	}
}

// Methods may have letters that mean something in an expression.
func TestAlternativesAreWords(t *testing.T) {
	words := []string{"GET", "M.SEARCH", "A+*", "X|Y"}
	re := regexp.MustCompile("^(?:" + alternatives(words) + ")$")
	for _, w := range words {
		if !re.MatchString(w) {
			t.Errorf("%s does not match", w)
		}
	}
	for _, w := range []string{"get", "MXSEARCH", "AA", "X", "Y", ""} {
		if re.MatchString(w) {
			t.Errorf("%q matches", w)
		}
	}
}
