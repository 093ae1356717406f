package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// shelfOf returns an empty shelf of a kind and the count of its signals.
func shelfOf(t *testing.T, kind string) (*shelf, *int) {
	t.Helper()
	changes := 0
	for _, f := range feeds() {
		if f.kind == kind {
			return newSupply(f, Clients{}, nil, func() { changes++ }).shelf, &changes
		}
	}
	t.Fatalf("there is no feed of %s", kind)
	return nil, nil
}

func target(uid, field string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget",
		"metadata": map[string]any{"name": "buyers", "namespace": "shop", "uid": uid, "resourceVersion": "1", "managedFields": []any{map[string]any{}}},
		"spec":     map[string]any{field: map[string]any{"kind": "ServiceAccount", "name": "bookstore"}},
	}}
}

var buyers = mesh.Name{Namespace: "shop", Name: "buyers"}

// A malformed object keeps its last good form, as long as it is the same object.
func TestLastReadableForm(t *testing.T) {
	s, changes := shelfOf(t, smi.KindTrafficTarget)
	good := func() bool { i, _ := s.get(buyers); return i.value != nil }
	told := func() bool {
		i, _ := s.get(buyers)
		return len(i.problems) == 1 && strings.Contains(i.problems[0].String(), "spec.destinatio: the field is unknown")
	}
	for _, step := range []struct {
		name       string
		do         func() error
		good, told bool
		changes    int
	}{
		{"bad from the beginning", func() error { return s.Add(target("1", "destinatio")) }, false, true, 1},
		{"mended", func() error { return s.Update(target("1", "destination")) }, true, false, 2},
		{"seen again", func() error { return s.Update(target("1", "destination")) }, true, false, 2},
		{"listed again", func() error { return s.Replace([]any{target("1", "destination")}, "") }, true, false, 3},
		{"listed once more", func() error { return s.Replace([]any{target("1", "destination")}, "") }, true, false, 3},
		{"bad again", func() error { return s.Update(target("1", "destinatio")) }, true, true, 4},
		{"bad in a list", func() error { return s.Replace([]any{target("1", "destinatio")}, "") }, true, true, 4},
		{"made anew, bad, while nobody watched", func() error { return s.Replace([]any{target("2", "destinatio")}, "") }, false, true, 5},
		{"deleted", func() error { return s.Delete(target("2", "destinatio")) }, false, false, 6},
		{"deleted again", func() error { return s.Delete(target("2", "destinatio")) }, false, false, 6},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if good() != step.good || told() != step.told || *changes != step.changes {
			t.Errorf("%s: good %v, told %v, %d signals", step.name, good(), told(), *changes)
		}
	}
}

// The first list is a signal even if it is empty: then all is known.
func TestFirstListSignals(t *testing.T) {
	s, changes := shelfOf(t, smi.KindService)
	if s.isSynced() {
		t.Error("nothing was listed yet")
	}
	if err := s.Replace(nil, ""); err != nil || !s.isSynced() || *changes != 1 {
		t.Errorf("%v, synced %v, %d signals", err, s.isSynced(), *changes)
	}
	if err := s.Resync(); err != nil || *changes != 1 {
		t.Error("a resync is a signal")
	}
}

// Statuses are kept for whoever writes them, and are no change.
func TestStatusIsNoChange(t *testing.T) {
	s, changes := shelfOf(t, smi.KindWorkload)
	w := func(status any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "wasmesh.io/v1alpha1", "kind": "Workload", "metadata": map[string]any{"name": "buyers", "namespace": "shop", "uid": "1", "generation": int64(4)},
			"spec": map[string]any{"address": "10.0.0.1", "serviceAccount": "a"}, "status": status,
		}}
	}
	for _, status := range []any{nil, map[string]any{"conditions": []any{map[string]any{"type": "Accepted", "status": "True"}}}, map[string]any{"conditions": "odd"}, "odd"} {
		if err := s.Update(w(status)); err != nil {
			t.Fatal(err)
		}
		i, _ := s.get(buyers)
		if i.value == nil || i.generation != 4 || *changes != 1 {
			t.Errorf("status %v: %+v, %d signals", status, i, *changes)
		}
		if m, ok := status.(map[string]any); ok && m["conditions"] != "odd" && (len(i.conditions) != 1 || i.conditions[0].Type != "Accepted") {
			t.Errorf("conditions are %+v", i.conditions)
		}
	}
}

// What a Reflector gathers is trimmed on the way.
func TestTransformer(t *testing.T) {
	s, _ := shelfOf(t, smi.KindPod)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", ManagedFields: []metav1.ManagedFieldsEntry{{}}}}
	out, err := s.Transformer()(p)
	if slim, ok := out.(*corev1.Pod); err != nil || !ok || len(slim.ManagedFields) != 0 {
		t.Errorf("%v %v", out, err)
	}
	s, _ = shelfOf(t, smi.KindTrafficTarget)
	out, err = s.Transformer()(target("1", "destination"))
	if slim, ok := out.(*unstructured.Unstructured); err != nil || !ok || slim.GetManagedFields() != nil {
		t.Errorf("%v %v", out, err)
	}
}
