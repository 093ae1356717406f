package smi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// shops are three services that one workload stands behind.
var shops = shop + workload("web1", 1, webPort) +
	service("root", "selector: {app: web}", webPort) +
	service("v1", "selector: {app: web}", webPort) +
	service("v2", "selector: {app: web}", webPort)

func splitOf(name, root string, backends ...string) string {
	return "\n---\nkind: TrafficSplit\nmetadata: {namespace: store, name: " + name + "}\nspec: {service: " + root + ", backends: [" + strings.Join(backends, ", ") + "]}\n"
}

func backend(name string, weight int) string {
	return fmt.Sprintf("{service: %s, weight: %d}", name, weight)
}

// Each case is named by the smi-rules it tests and lists the splits in force.
var splitCases = []struct {
	name      string
	manifests string
	want      string
	problems  []string
}{{
	name:      "54, 55, 61: relative weights, 0 is kept",
	manifests: splitOf("s", "root", backend("v2", 0), backend("v1", 1000)),
	want:      "s root v1=1000 v2=0",
}, {
	name:      "56, 69: the root may be its own backend",
	manifests: splitOf("s", "root", backend("root", 1)),
	want:      "s root root=1",
}, {
	name:      "62: DNS names of the own namespace",
	manifests: splitOf("s", "root.store.svc.cluster.local", backend("v1.store", 1), backend("v2.store.svc", 1)),
	want:      "s root v1=1 v2=1",
}, {
	name:      "62, 63: no other namespace",
	manifests: splitOf("a", "root.people", backend("v1", 1)) + splitOf("b", "root", backend("v1", 1), backend("v2.people.svc.cluster.local", 1)),
	want:      "b root v1=1",
	problems:  []string{`inert TrafficSplit store/a: spec.service: "root.people" does not name`, `inert TrafficSplit store/b: spec.backends[1].service: "v2.people.svc.cluster.local" does not name`},
}, {
	name:      "57: all weights 0",
	manifests: splitOf("s", "root", backend("v1", 0), backend("v2", 0)) + splitOf("t", "root"),
	problems:  []string{"inert TrafficSplit store/s: spec.backends: no backend that exists has a weight above 0", "inert TrafficSplit store/t: spec.backends: no backend is listed"},
}, {
	name:      "58: weights that are none",
	manifests: splitOf("s", "root", backend("v1", -1), backend("v2", 2)) + splitOf("t", "root", backend("v1", 4294967295), backend("v2", 1)),
	problems:  []string{"broken TrafficSplit store/s: spec.backends[0].weight: weight -1 is negative", "broken TrafficSplit store/t: spec.backends[1].weight: the weights add up to more than"},
}, {
	name:      "64: the share of a missing backend goes to the others",
	manifests: splitOf("s", "root", backend("v1", 1), backend("v3", 9)),
	want:      "s root v1=1",
	problems:  []string{`inert TrafficSplit store/s: spec.backends[1].service: Service "v3" does not exist in namespace store. Its share goes to the other backends until it does. Did you mean "v1"?`},
}, {
	name:      "64: no other is left",
	manifests: splitOf("s", "root", backend("v1", 0), backend("nirvana", 9)),
	problems:  []string{"inert TrafficSplit store/s: spec.backends: no backend that exists", `inert TrafficSplit store/s: spec.backends[1].service: Service "nirvana" does not`},
}, {
	name:      "a missing root, and a broken one",
	manifests: splitOf("s", "roott", backend("v1", 1)) + service("bad", "clusterIP: 1.2.3.4", "selector: {app: web}") + splitOf("t", "bad", backend("v1", 1)),
	problems: []string{`broken Service store/bad: spec.clusterIP`,
		`inert TrafficSplit store/s: spec.service: Service "roott" does not exist in namespace store. The split routes nothing until it does. Did you mean "root"?`,
		`inert TrafficSplit store/t: spec.service: Service "bad" is left out because of a problem of its own. The split routes nothing until that is solved. Solve`},
}, {
	name:      "65: ports are compared by number",
	manifests: service("v3", "selector: {app: web}", "ports: [{port: 80, targetPort: 8080}]") + splitOf("s", "root", backend("v1", 1), backend("v3", 1)),
	want:      "s root v1=1 v3=1",
	problems:  []string{`inert TrafficSplit store/s: spec.backends[1].service: service "v3" has no port 8080`},
}, {
	name:      "72: the older split wins, the name between twins",
	manifests: splitOf("b", "root", backend("v1", 1)) + splitOf("a", "root", backend("v2", 1)),
	want:      "a root v2=1",
	problems:  []string{`inert TrafficSplit store/b: spec.service: TrafficSplit a already splits service "root"`},
}, {
	name:      "70: backends that are roots, even of each other",
	manifests: splitOf("s", "root", backend("v1", 1)) + splitOf("t", "v1", backend("root", 1)),
	want:      "s root v1=1 t v1 root=1",
}, {
	name:      "one backend twice has both weights",
	manifests: splitOf("s", "root", backend("v1", 1), backend("v2", 1), backend("v1", 2)),
	want:      "s root v1=3 v2=1",
}}

func TestSplits(t *testing.T) {
	for _, c := range splitCases {
		t.Run(c.name, func(t *testing.T) {
			snapshot, problems := smi.Snapshot(objects(t, shops+c.manifests), settings)
			wantProblems(t, problems, c.problems...)
			var words []string
			for _, s := range snapshot.Splits {
				words = append(words, s.Name.Name, s.Root.Name)
				for _, b := range s.Backends {
					words = append(words, fmt.Sprintf("%s=%d", b.Service.Name, b.Weight))
				}
			}
			if got := strings.Join(words, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOldestSplitWins(t *testing.T) {
	o := objects(t, shops+splitOf("a", "root", backend("v1", 1))+splitOf("b", "root", backend("v2", 1)))
	o.TrafficSplits[0].CreationTimestamp = metav1.NewTime(time.Unix(2, 0))
	o.TrafficSplits[1].CreationTimestamp = metav1.NewTime(time.Unix(1, 0))
	snapshot, _ := smi.Snapshot(o, settings)
	if len(snapshot.Splits) != 1 || snapshot.Splits[0].Name.Name != "b" {
		t.Errorf("got %+v", snapshot.Splits)
	}
}
