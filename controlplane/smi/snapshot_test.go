package smi_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// everything is all cases of this package in one mesh, names made distinct.
func everything(t *testing.T) smi.Objects {
	t.Helper()
	var b strings.Builder
	b.WriteString(shops)
	for i, c := range accessCases {
		b.WriteString(strings.NewReplacer("name: t}", fmt.Sprintf("name: t%d}", i), "name: a}", fmt.Sprintf("name: a%d}", i)).Replace(c.manifests))
	}
	for i, c := range splitCases {
		b.WriteString(strings.NewReplacer("name: s}", fmt.Sprintf("name: s%d}", i), "name: a}", fmt.Sprintf("name: as%d}", i)).Replace(c.manifests))
	}
	for _, c := range worldCases[3:] {
		b.WriteString(c.manifests)
	}
	return unique(objects(t, b.String()))
}

// unique keeps one object of each name.
func unique(o smi.Objects) smi.Objects {
	o.Services = first(o.Services)
	o.Workloads = first(o.Workloads)
	o.TrafficTargets = first(o.TrafficTargets)
	o.TrafficSplits = first(o.TrafficSplits)
	o.TCPRoutes = first(o.TCPRoutes)
	o.HTTPRouteGroups = first(o.HTTPRouteGroups)
	return o
}

func first[T interface{ GetName() string }](in []T) []T {
	seen := map[string]bool{}
	return slices.DeleteFunc(in, func(o T) bool {
		twice := seen[o.GetName()]
		seen[o.GetName()] = true
		return twice
	})
}

// Shuffled input gives the same output, and is itself left as it was.
func TestSnapshotIsAFunction(t *testing.T) {
	all := everything(t)
	before, err := json.Marshal(all.TrafficTargets)
	if err != nil {
		t.Fatal(err)
	}
	wantSnapshot, want := smi.Snapshot(all, settings)
	if len(want) < 30 || len(wantSnapshot.Access) == 0 || len(wantSnapshot.Splits) == 0 {
		t.Fatalf("the test says little: %d problems", len(want))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		input := shuffled(all, r)
		services := slices.Clone(input.Services)
		snapshot, problems := smi.Snapshot(input, settings)
		if !reflect.DeepEqual(snapshot, wantSnapshot) {
			t.Fatal("another order gave another snapshot")
		}
		if !reflect.DeepEqual(problems, want) {
			t.Fatalf("another order gave other problems:\n%s\n%s", lines(problems), lines(want))
		}
		if !slices.Equal(services, input.Services) {
			t.Fatal("the input was sorted in place")
		}
	}
	if after, _ := json.Marshal(all.TrafficTargets); string(after) != string(before) {
		t.Error("the input was written to")
	}
}

func TestEmptySnapshot(t *testing.T) {
	snapshot, problems := smi.Snapshot(smi.Objects{}, settings)
	if len(problems) != 0 || len(snapshot.Services) != 0 || snapshot.Grants(mesh.Name{Namespace: "a", Name: "b"}) != nil {
		t.Errorf("got %+v, %v", snapshot, problems)
	}
}

// granting is a mesh in which every kind of reference occurs.
var granting = shop +
	target("a", toStore, "sources: [{kind: ServiceAccount, name: reader, namespace: people}, {kind: ServiceAccount, name: clerk}]",
		"rules: [{kind: HTTPRouteGroup, name: books, matches: [list, buy]}, {kind: TCPRoute, name: web}]") +
	target("b", toStore, byReader, "rules: [{kind: TCPRoute, name: admin}, {kind: TCPRoute, name: web}]") +
	target("c", toStore, "sources: [{kind: ServiceAccount, name: thief, namespace: people}]", "rules: [{kind: HTTPRouteGroup, name: books}]")

// Whatever is deleted, misspelt or broken, no request passes that did not pass
// before (smi-rules, decided 3).
func TestNothingUnresolvedWidens(t *testing.T) {
	before := allowed(t, objects(t, granting))
	if len(before) < 10 || len(before) == len(grid()) {
		t.Fatalf("the test says little: %d of %d requests pass", len(before), len(grid()))
	}
	harms := harms(objects(t, granting))
	for i, harm := range harms {
		o := objects(t, granting)
		harm(&o)
		for request := range allowed(t, o) {
			if !before[request] {
				t.Errorf("harm %d of %d lets pass: %s", i, len(harms), request)
			}
		}
	}
	if len(harms) < 40 {
		t.Errorf("only %d harms", len(harms))
	}
}

func grid() []string {
	var out []string
	for _, peer := range []string{"people/reader", "people/thief", "people/clerk", "store/clerk", "store/reader", "people/gone"} {
		for _, port := range []string{"0", "1", "8080", "8081", "9000", "65535"} {
			for _, line := range []string{"GET /books", "POST /buy", "GET /buy", "PUT /any", "GET /beta", "GET /beta x-beta=on host=store", "GET /beta host=store", "GET /"} {
				out = append(out, peer+" "+port+" "+line)
			}
		}
	}
	return out
}

func allowed(t *testing.T, o smi.Objects) map[string]bool {
	t.Helper()
	snapshot, _ := smi.Snapshot(o, settings)
	out := map[string]bool{}
	for _, a := range snapshot.Access {
		table := policy.Compile(a.Grants)
		for _, request := range grid() {
			if table.Decide(parse(t, request)).Allow {
				out[a.ServiceAccount.String()+" for "+request] = true
			}
		}
	}
	return out
}

// harms returns everything bad that can happen to one reference or object.
func harms(o smi.Objects) []func(*smi.Objects) {
	var out []func(*smi.Objects)
	add := func(harm func(*smi.Objects)) { out = append(out, harm) }
	for i := range o.ServiceAccounts {
		add(func(o *smi.Objects) { o.ServiceAccounts = slices.Delete(o.ServiceAccounts, i, i+1) })
	}
	for i := range o.TCPRoutes {
		add(func(o *smi.Objects) { o.TCPRoutes = slices.Delete(o.TCPRoutes, i, i+1) })
		for j := range o.TCPRoutes[i].Spec.Matches.Ports {
			add(func(o *smi.Objects) { o.TCPRoutes[i].Spec.Matches.Ports[j] = 1<<16 + 1 })
		}
	}
	for i, g := range o.HTTPRouteGroups {
		add(func(o *smi.Objects) { o.HTTPRouteGroups = slices.Delete(o.HTTPRouteGroups, i, i+1) })
		for j := range g.Spec.Matches {
			add(func(o *smi.Objects) { o.HTTPRouteGroups[i].Spec.Matches[j].PathRegex = "(" })
			add(func(o *smi.Objects) { o.HTTPRouteGroups[i].Spec.Matches[j].Name = "other" })
			add(func(o *smi.Objects) { o.HTTPRouteGroups[i].Spec.Matches[j].Methods = []string{"get"} })
			add(func(o *smi.Objects) {
				for name := range o.HTTPRouteGroups[i].Spec.Matches[j].Headers {
					o.HTTPRouteGroups[i].Spec.Matches[j].Headers[name] = "("
				}
			})
		}
	}
	for i, target := range o.TrafficTargets {
		add(func(o *smi.Objects) { o.TrafficTargets = slices.Delete(o.TrafficTargets, i, i+1) })
		destination := func(o *smi.Objects) *access.IdentityBindingSubject { return &o.TrafficTargets[i].Spec.Destination }
		add(func(o *smi.Objects) { destination(o).Kind = "Group" })
		add(func(o *smi.Objects) { destination(o).Name = "gone" })
		add(func(o *smi.Objects) { destination(o).Namespace = "people"; destination(o).Name = "clerk" })
		for j := range target.Spec.Sources {
			add(func(o *smi.Objects) { o.TrafficTargets[i].Spec.Sources[j].Name = "gone" })
			add(func(o *smi.Objects) { o.TrafficTargets[i].Spec.Sources[j].Kind = "" })
		}
		for j, rule := range target.Spec.Rules {
			add(func(o *smi.Objects) { o.TrafficTargets[i].Spec.Rules[j].Name = "gone" })
			add(func(o *smi.Objects) { o.TrafficTargets[i].Spec.Rules[j].Kind = "Route" })
			for k := range rule.Matches {
				add(func(o *smi.Objects) { o.TrafficTargets[i].Spec.Rules[j].Matches[k] = "" })
			}
		}
	}
	return out
}
