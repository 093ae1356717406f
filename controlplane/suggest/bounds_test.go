package suggest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/controlplane/suggest"
)

// Service accounts may have names that no object's name can hold.
func TestLongAndOddNames(t *testing.T) {
	long := strings.Repeat("a-very-long-name.", 14) + "x"
	s := &mesh.Snapshot{TrustDomain: trustDomain}
	var seen observe.Report
	ports := []mesh.WorkloadPort{{Port: 80, Protocol: mesh.HTTP1}, {Port: 81, Protocol: mesh.HTTP1}}
	for i, n := range []string{long, long + "y", "1.2", "1-2", "x"} {
		name := mesh.Name{Namespace: "shop", Name: n}
		s.Workloads = append(s.Workloads, mesh.Workload{Name: name, ServiceAccount: name, Ports: ports})
		for j, to := range []string{long, "1.2", "1-2"} {
			seen.Observations = append(seen.Observations, observe.Observation{
				Source: name, Destination: mesh.Name{Namespace: "shop", Name: to}, Port: 80,
				Method: "GET", Path: fmt.Sprintf("/%s/%d/%d", strings.Repeat("%20", 99), i, j), Count: 1,
			})
		}
	}
	out := suggest.Suggest(seen, s)
	namesAreLabels(t, out)
	if len(out.Groups) != 3 || len(out.Targets) < 3 || len(out.Routes) != 3 {
		t.Errorf("%d groups, %d targets, %d routes", len(out.Groups), len(out.Targets), len(out.Routes))
	}
}

// A second suggestion, made after more was seen, does not take the names of the
// first, although the routes of a port leave no trace in a snapshot.
func TestNamesInUse(t *testing.T) {
	before := snapshotOf(t, cast(t))
	o := observe.Observation{
		Source: mesh.Name{Namespace: "shop", Name: "web"}, Destination: mesh.Name{Namespace: "shop", Name: "office"},
		Port: 80, Method: "GET", Path: "/desk", Count: 1,
	}
	first := suggest.Suggest(observe.Report{Observations: []observe.Observation{o}}, before)
	text, err := first.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var inUse []mesh.Object
	for _, r := range first.Routes {
		inUse = append(inUse, mesh.Object{Kind: r.Kind, Name: mesh.Name{Namespace: r.Namespace, Name: r.Name}})
	}
	more := o
	more.Path = "/chair"
	seen := observe.Report{Observations: []observe.Observation{o, more}}
	again, err := suggest.Suggest(seen, snapshotOf(t, cast(t), string(text)), inUse...).YAML()
	if err != nil {
		t.Fatal(err)
	}
	after := tablesOf(snapshotOf(t, cast(t), string(text), string(again))) // which wants no name to be there twice
	if len(inUse) != 1 || !after.allows(o) || !after.allows(more) {
		t.Errorf("%d names in use; first:\n%s\nthen:\n%s", len(inUse), text, again)
	}
}

// A pattern that would not compile is left out and told; the rest stays.
func TestPatternsThatWouldBeTooLarge(t *testing.T) {
	before := snapshotOf(t, cast(t))
	o := observe.Observation{
		Source: mesh.Name{Namespace: "shop", Name: "web"}, Destination: mesh.Name{Namespace: "shop", Name: "store"},
		Port: 80, Method: "GET", Path: "/" + strings.Repeat("(", 1000), Count: 3,
	}
	small := o
	small.Path = "/small"
	s := suggest.Suggest(observe.Report{Observations: []observe.Observation{o, small}}, before)
	if len(s.Groups) != 1 || len(s.Groups[0].Spec.Matches) != 1 || len(s.Remarks) != 1 ||
		!strings.Contains(s.Remarks[0].Text, "3 calls of 1 kind from shop/web: a pattern would be too large") {
		t.Errorf("got %v, %v", s.Groups, s.Remarks)
	}
}

// The most that is kept is suggested in reasonable time and can be read back.
func TestTheMostThatIsKept(t *testing.T) {
	var seen observe.Report
	most := observe.MaxOfDestination
	if testing.Short() {
		most /= 10
	}
	for i := range most {
		seen.Observations = append(seen.Observations, observe.Observation{
			Source: mesh.Name{Namespace: "shop", Name: "web"}, Destination: mesh.Name{Namespace: "shop", Name: "store"},
			Port: 80, Method: "GET", Path: fmt.Sprintf("/a%d/b%d/c%d/d%d/e%d", i%8, i/8%8, i/64%8, i/512%8, i/4096), Count: 1,
		})
	}
	text, err := suggest.Suggest(seen, snapshotOf(t, cast(t))).YAML()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := files.Load(dir)
	if err != nil || len(loaded.Problems) > 0 || len(loaded.Objects.HTTPRouteGroups) != 1 {
		t.Fatalf("%d bytes: %v, %v", len(text), err, loaded.Problems)
	}
	if n := len(loaded.Objects.HTTPRouteGroups[0].Spec.Matches); n != most {
		t.Errorf("%d matches", n)
	}
}
