package apiserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// chartDefinition is a CustomResourceDefinition as the chart has it.
func chartDefinition(t *testing.T, plural string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "charts", "wasmesh", "files", "crds", plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A definition that is deleted takes its objects with it: what they granted ends
// at once, and the rest goes on. One that is not served for a while takes none.
func definitionDeleted(t *testing.T, s *server, r *reader) {
	r.t = t
	const name = "traffictargets.access.smi-spec.io"
	s.apply(bookstore)
	r.has(5*time.Second, "the target is there", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "buyers") })
	served := func(is string) {
		s.kubectl("", "patch", "crd", name, "--type=json", "-p", `[{"op":"replace","path":"/spec/versions/0/served","value":`+is+`}]`)
	}
	served("false") // the twin
	r.has(20*time.Second, "that it is not served is told", func(o smi.Objects, p []mesh.Problem) bool { return problem(p, "no kind TrafficTarget") })
	if o, _ := r.reload(); !target(o, "buyers") || len(o.HTTPRouteGroups) == 0 {
		t.Error("an object that was not deleted is gone at once")
	}
	served("true")
	r.has(20*time.Second, "it is served again", func(o smi.Objects, p []mesh.Problem) bool {
		return !problem(p, "no kind TrafficTarget") && target(o, "buyers")
	})
	s.apply(strings.ReplaceAll(bookstore, "name: buyers", "name: third"))
	r.has(15*time.Second, "it is watched again", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "third") })
	s.kubectl("", "delete", "crd", name)
	took := r.has(5*time.Second, "what was granted has ended", func(o smi.Objects, _ []mesh.Problem) bool { return len(o.TrafficTargets) == 0 })
	t.Logf("nothing is granted %v after kubectl returned", took.Round(time.Millisecond))
	r.has(20*time.Second, "the rest is there, and what is missing is told", func(o smi.Objects, p []mesh.Problem) bool {
		return problem(p, "no kind TrafficTarget") && !problem(p, "no kind HTTPRouteGroup") && len(o.HTTPRouteGroups) > 0
	})
	s.apply(definition("access.smi-spec.io", "TrafficTarget", "traffictargets", "Namespaced", false, "v1alpha3"))
	s.kubectl("", "wait", "--for=condition=Established", "crd/"+name)
	s.apply(bookstore)
	r.has(15*time.Second, "it is taken up again", func(o smi.Objects, p []mesh.Problem) bool {
		return target(o, "buyers") && !problem(p, "no kind TrafficTarget")
	})
}

// What an earlier installation stored in an old version is served as soon as the
// chart's definition is there; where the old version says what the new one cannot
// (rule 34), nothing is granted, and the API server refuses the definition.
func oldStored(t *testing.T, s *server, r *reader) {
	r.t = t
	for _, crd := range []string{"trafficsplits.split.smi-spec.io", "traffictargets.access.smi-spec.io"} {
		s.kubectl("", "delete", "crd", crd)
	}
	s.apply(definition("split.smi-spec.io", "TrafficSplit", "trafficsplits", "Namespaced", false, "v1alpha2", "v1alpha1") +
		definition("access.smi-spec.io", "TrafficTarget", "traffictargets", "Namespaced", false, "v1alpha2", "v1alpha1"))
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	s.apply(`---
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: old, namespace: shop}
spec: {service: bookstore, backends: [{service: a, weight: 30}, {service: b, weight: 70}]}
---
apiVersion: access.smi-spec.io/v1alpha2
kind: TrafficTarget
metadata: {name: old, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: bookstore, namespace: shop, port: 80}
  sources: [{kind: ServiceAccount, name: bookbuyer, namespace: shop}]
`)
	split := func(o smi.Objects, _ []mesh.Problem) bool {
		return len(o.TrafficSplits) == 1 && 3*o.TrafficSplits[0].Spec.Backends[1].Weight == 7*o.TrafficSplits[0].Spec.Backends[0].Weight
	}
	r.has(20*time.Second, "the old split is served, the old target is not", func(o smi.Objects, p []mesh.Problem) bool {
		return split(o, p) && problem(p, "no kind TrafficTarget") && !target(o, "old")
	})

	out, err := s.tryKubectl(chartDefinition(t, "traffictargets"), "apply", "--server-side", "--force-conflicts", "-f", "-")
	if err == nil || !strings.Contains(out, "status.storedVersions") || !strings.Contains(out, "v1alpha2") {
		t.Errorf("the API server takes a definition without the version of stored objects: %v: %s", err, out)
	}
	s.kubectl(chartDefinition(t, "trafficsplits"), "apply", "--server-side", "--force-conflicts", "-f", "-")
	const stored = "jsonpath={.status.storedVersions}"
	if got := s.kubectl("", "get", "crd", "trafficsplits.split.smi-spec.io", "-o", stored); got != `["v1alpha2","v1alpha4"]` {
		t.Errorf("stored versions are %s", got)
	}
	r.has(10*time.Second, "it is served after the upgrade", split)
	if got := s.kubectl("", "get", "trafficsplits.v1alpha4.split.smi-spec.io", "-n", "shop", "old", "-o", "jsonpath={.spec.backends[1].weight}"); got != "70" {
		t.Errorf("in the newest version the weight is %q", got)
	}
	// Migrated: written once, and the old version is forgotten.
	s.kubectl("", "annotate", "trafficsplit", "-n", "shop", "--all", "migrated=yes")
	s.kubectl("", "patch", "crd", "trafficsplits.split.smi-spec.io", "--subresource=status", "--type=merge", "-p", `{"status":{"storedVersions":["v1alpha4"]}}`)
	// The documented way for targets: they are written anew in the version that is read.
	s.kubectl("", "delete", "crd", "traffictargets.access.smi-spec.io")
	s.kubectl(chartDefinition(t, "traffictargets"), "apply", "--server-side", "-f", "-")
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	s.apply(bookstore)
	r.has(20*time.Second, "both are served", func(o smi.Objects, p []mesh.Problem) bool {
		return split(o, p) && target(o, "buyers") && !target(o, "old") && !problem(p, "no kind")
	})
}
