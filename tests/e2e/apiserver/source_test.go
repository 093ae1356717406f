package apiserver

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// reader is a source under test, with its signals counted.
type reader struct {
	t       testing.TB
	source  *kube.Source
	signals chan struct{}
}

func read(t testing.TB, s *server) *reader {
	t.Helper()
	return readAs(t, s, "mesh")
}

func readAs(t testing.TB, s *server, who string) *reader {
	t.Helper()
	clients, err := kube.Connect(kube.Options{Kubeconfig: s.kubeconfig(who)})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, source: kube.NewSource(clients, slog.New(slog.DiscardHandler)), signals: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.source.Watch(ctx, r.signals) }()
	t.Cleanup(func() { cancel(); <-done })
	limited, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	if err := r.source.Await(limited); err != nil {
		t.Fatalf("not everything was listed within 30 s: %v", err)
	}
	return r
}

func (r *reader) reload() (smi.Objects, []mesh.Problem) {
	r.t.Helper()
	objects, problems, err := r.source.Reload()
	if err != nil {
		r.t.Fatal(err)
	}
	return objects, problems
}

// quiet waits until no signal has come for a while.
func (r *reader) quiet() {
	r.t.Helper()
	for range 100 {
		select {
		case <-r.signals:
		case <-time.After(1500 * time.Millisecond):
			return
		}
	}
	r.t.Fatal("the source never comes to rest")
}

// silent fails if a signal comes in that time.
func (r *reader) silent(d time.Duration, what string) {
	r.t.Helper()
	select {
	case <-r.signals:
		r.t.Errorf("%s is no change of the mesh, and was signalled as one", what)
	case <-time.After(d):
	}
}

func (r *reader) has(limit time.Duration, what string, is func(smi.Objects, []mesh.Problem) bool) time.Duration {
	r.t.Helper()
	return eventually(r.t, limit, what, func() bool { return is(r.reload()) })
}

func problem(problems []mesh.Problem, part string) bool {
	return slices.ContainsFunc(problems, func(p mesh.Problem) bool { return strings.Contains(p.String(), part) })
}

func target(o smi.Objects, name string) bool {
	for _, t := range o.TrafficTargets {
		if t.Name == name {
			return true
		}
	}
	return false
}

func TestSource(t *testing.T) {
	t.Parallel() // they wait, mostly
	s := start(t)
	s.roles()
	s.apply(definition("access.smi-spec.io", "TrafficTarget", "traffictargets", "Namespaced", false, "v1alpha3"))
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	r := read(t, s)
	t.Run("missing kind", func(t *testing.T) { missing(t, s, r) })
	t.Run("list and watch", func(t *testing.T) { listAndWatch(t, s, r) })
	t.Run("what is no change", func(t *testing.T) { noChange(t, s, r) })
	t.Run("malformed object", func(t *testing.T) { malformed(t, s, r) })
	t.Run("old version", func(t *testing.T) { oldVersion(t, s, r) })
	t.Run("compaction", func(t *testing.T) { compaction(t, s, r) })
	t.Run("server restarted", func(t *testing.T) { restarted(t, s, r) })
	t.Run("restored to older state", func(t *testing.T) { restored(t, s, r) })
}

// What is not installed is told, the rest works, and it is taken up when it comes.
func missing(t *testing.T, s *server, r *reader) {
	r.t = t
	objects, problems := r.reload()
	for _, kind := range []string{"HTTPRouteGroup", "TrafficSplit", "WasmFilter"} {
		if !problem(problems, "no kind "+kind) {
			t.Errorf("that %s is missing is not told: %v", kind, problems)
		}
	}
	if problem(problems, "no kind TrafficTarget") || len(objects.Namespaces) == 0 {
		t.Errorf("the rest does not work: %d namespaces, %v", len(objects.Namespaces), problems)
	}
	s.apply(definitions())
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	took := r.has(10*time.Second, "the kinds are taken up", func(_ smi.Objects, p []mesh.Problem) bool { return !problem(p, "no kind") })
	t.Logf("taken up after %v", took.Round(time.Millisecond))
}

func listAndWatch(t *testing.T, s *server, r *reader) {
	r.t = t
	s.apply(bookstore)
	s.apply(pod("bookstore-1", "10.244.1.1", true) + pod("stranger", "10.244.1.2", false))
	r.has(5*time.Second, "all objects are there", func(o smi.Objects, p []mesh.Problem) bool {
		return target(o, "buyers") && len(o.HTTPRouteGroups) == 1 && len(p) == 0
	})
	objects, _ := r.reload()
	if h := objects.HTTPRouteGroups[0].Spec.Matches[0].Headers; h["x-version"] != "v2" {
		t.Errorf("headers as a map were read as %v", h)
	}
	fresh, _ := read(t, s).reload()
	if !same(objects, fresh) {
		t.Error("a source that starts anew sees something else")
	}
	s.kubectl("", "delete", "traffictarget", "-n", "shop", "buyers")
	r.has(5*time.Second, "the deletion is seen", func(o smi.Objects, _ []mesh.Problem) bool { return !target(o, "buyers") })
	s.apply(bookstore)
	r.has(5*time.Second, "it is there again", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "buyers") })
}

// same says whether two sets of objects describe one mesh, with the same problems.
func same(a, b smi.Objects) bool {
	settings := smi.Settings{TrustDomain: "cluster.local"}
	one, told := smi.Snapshot(a, settings)
	other, toldThere := smi.Snapshot(b, settings)
	return a.Len() == b.Len() && reflect.DeepEqual(one, other) && slices.Equal(told, toldThere)
}

func pod(name, ip string, injected bool) string {
	label := ""
	if injected {
		label = ", wasmesh.io/sidecar: injected"
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: shop, labels: {app: bookstore%s}}
spec: {serviceAccountName: bookstore, containers: [{name: app, image: app, ports: [{containerPort: 80}]}]}
`, name, label)
}

// Heartbeats, statuses and labels of nobody's interest change nothing.
func noChange(t *testing.T, s *server, r *reader) {
	r.t = t
	r.quiet()
	r.silent(2*time.Second, "time that passes")
	s.kubectl("", "annotate", "--overwrite", "-n", "shop", "service/bookstore", "other.io/heartbeat=1")
	s.kubectl("", "annotate", "--overwrite", "-n", "shop", "traffictarget/buyers", "other.io/heartbeat=1")
	s.kubectl("", "annotate", "--overwrite", "namespace/shop", "other.io/heartbeat=1")
	s.kubectl("", "patch", "-n", "shop", "pod/bookstore-1", "--subresource=status", "--type=merge",
		"-p", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`)
	r.silent(2*time.Second, "an annotation, or a status")
	s.kubectl("", "label", "--overwrite", "namespace/shop", "wasmesh.io/mode=audit")
	select {
	case <-r.signals:
	case <-time.After(5 * time.Second):
		t.Error("a label of the mesh is a change, and was not signalled")
	}
	s.kubectl("", "label", "namespace/shop", "wasmesh.io/mode-")
	r.quiet()
}

// One malformed object harms only itself, and its last good form stays.
func malformed(t *testing.T, s *server, r *reader) {
	r.t = t
	bad := strings.Replace(bookstore[strings.LastIndex(bookstore, "---"):], "name: books, ", "name: books, match: [x], ", 1)
	s.apply(bad)
	r.has(5*time.Second, "the unknown field is told", func(o smi.Objects, p []mesh.Problem) bool {
		return problem(p, "TrafficTarget shop/buyers: spec.rules[0].match: the field is unknown") && target(o, "buyers")
	})
	s.apply(strings.ReplaceAll(bad, "name: buyers", "name: others"))
	r.has(5*time.Second, "one that never was good is left out", func(o smi.Objects, p []mesh.Problem) bool {
		return problem(p, "TrafficTarget shop/others") && !target(o, "others") && target(o, "buyers")
	})
	s.apply(strings.ReplaceAll(bookstore, "name: buyers", "name: third"))
	r.has(5*time.Second, "others still come", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "third") })
	// The same name, made anew, is not the old object.
	s.kubectl("", "delete", "traffictarget", "-n", "shop", "buyers", "others", "third")
	s.apply(bad)
	r.has(5*time.Second, "what was granted before does not come back", func(o smi.Objects, p []mesh.Problem) bool {
		return problem(p, "TrafficTarget shop/buyers") && !target(o, "buyers")
	})
	s.apply(bookstore)
	r.has(5*time.Second, "it heals", func(o smi.Objects, p []mesh.Problem) bool { return target(o, "buyers") && len(p) == 0 })
}

// Of an installation that serves only old versions the best is read.
func oldVersion(t *testing.T, s *server, r *reader) {
	r.t = t
	s.kubectl("", "delete", "crd", "trafficsplits.split.smi-spec.io")
	r.has(20*time.Second, "the kind is missing", func(_ smi.Objects, p []mesh.Problem) bool { return problem(p, "no kind TrafficSplit") })
	s.apply(definition("split.smi-spec.io", "TrafficSplit", "trafficsplits", "Namespaced", false, "v1alpha1"))
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	s.apply(`---
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: halves, namespace: shop}
spec: {service: bookstore, backends: [{service: a, weight: 500m}, {service: b, weight: "1"}]}
`)
	r.has(15*time.Second, "a quantity is read as its version means it", func(o smi.Objects, _ []mesh.Problem) bool {
		return len(o.TrafficSplits) == 1 && o.TrafficSplits[0].Spec.Backends[0].Weight == 500 && o.TrafficSplits[0].Spec.Backends[1].Weight == 1000
	})
}
