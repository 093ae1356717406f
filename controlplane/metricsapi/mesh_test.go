package metricsapi_test

import (
	"net/netip"
	"testing"

	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// pod of namespace shop, of an owner such as "ReplicaSet/store-v1-6d4".
func pod(name, ownerKind, owner string, labels map[string]string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: labels}}
	if owner != "" {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{Kind: ownerKind, Name: owner, Controller: &yes}}
	}
	return p
}

// shop is a namespace with one of each kind: store is split among store-v1 and
// store-v2, and vm is no pod.
func shop() *metricsapi.Mesh {
	deployed := func(name, app, version string) *corev1.Pod {
		return pod(name, "ReplicaSet", app+"-6d4", map[string]string{"app": app, "version": version, "pod-template-hash": "6d4", "one": name})
	}
	objects := smi.Objects{
		Namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "books"}}}},
		Pods: []*corev1.Pod{
			deployed("buyer-6d4-a", "buyer", "1"), deployed("store-v1-6d4-a", "store-v1", "1"), deployed("store-v1-6d4-b", "store-v1", "1"),
			deployed("store-v2-6d4-a", "store-v2", "2"), pod("db-0", "StatefulSet", "db", nil), pod("log-x", "DaemonSet", "log", nil),
			pod("once-y", "Job", "once", nil), pod("bare", "", "", map[string]string{"app": "bare"}),
		},
		Workloads: []*v1alpha1.Workload{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "vm", Labels: map[string]string{"app": "vm"}}}},
		TrafficSplits: []*split.TrafficSplit{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "canary", Labels: map[string]string{"app": "store"}}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "broken"}},
		},
	}
	s := &mesh.Snapshot{}
	for _, p := range objects.Pods {
		s.Workloads = append(s.Workloads, mesh.Workload{Name: named(p.Name), Kind: mesh.KindPod, Address: netip.MustParseAddr("10.0.0.1")})
	}
	s.Workloads = append(s.Workloads, mesh.Workload{Name: named("vm"), Kind: mesh.KindWorkload})
	service := func(name string, pods ...string) {
		port := mesh.ServicePort{Port: 80}
		for _, p := range pods {
			port.Endpoints = append(port.Endpoints, mesh.Endpoint{Workload: named(p)})
		}
		s.Services = append(s.Services, mesh.Service{Name: named(name), Ports: []mesh.ServicePort{port}})
	}
	service("store", "store-v1-6d4-a", "store-v1-6d4-b", "store-v2-6d4-a")
	service("store-v1", "store-v1-6d4-a", "store-v1-6d4-b")
	service("store-v2", "store-v2-6d4-a")
	s.Splits = []mesh.Split{{Name: named("canary"), Root: named("store"), Backends: []mesh.Backend{{Service: named("store-v1"), Weight: 90}, {Service: named("store-v2"), Weight: 10}}}}
	return metricsapi.MeshOf(objects, s)
}

func named(name string) mesh.Name { return mesh.Name{Namespace: "shop", Name: name} }

func kind(t testing.TB, resource string) metricsapi.Kind {
	t.Helper()
	k, ok := metricsapi.KindOf(resource)
	if !ok {
		t.Fatalf("%s is no kind", resource)
	}
	return k
}

// object wants that there is one.
func object(t testing.TB, m *metricsapi.Mesh, resource, name string) metricsapi.Object {
	t.Helper()
	k := kind(t, resource)
	n := named(name)
	if !k.Namespaced {
		n.Namespace = ""
	}
	o, ok := m.Get(k, n)
	if !ok {
		t.Fatalf("there is no %s %s", resource, name)
	}
	return o
}

func TestObjects(t *testing.T) {
	m := shop()
	for resource, want := range map[string][]string{
		"deployments": {"buyer", "store-v1", "store-v2"}, "statefulsets": {"db"}, "daemonsets": {"log"}, "jobs": {"once"},
		"pods":      {"bare", "buyer-6d4-a", "db-0", "log-x", "once-y", "store-v1-6d4-a", "store-v1-6d4-b", "store-v2-6d4-a"},
		"workloads": {"vm"}, "trafficsplits": {"canary"}, "namespaces": {"shop"},
	} {
		var got []string
		for _, o := range m.List(kind(t, resource), "") {
			got = append(got, o.Name.Name)
		}
		equal(t, resource, got, want)
	}
	// Labels are those that all instances have, but what tells them apart.
	equal(t, "labels", object(t, m, "deployments", "store-v1").Labels, map[string]string{"app": "store-v1", "version": "1"})
	equal(t, "labels", object(t, m, "namespaces", "shop").Labels, map[string]string{"team": "books"})
	if _, ok := metricsapi.KindOf("nodes"); ok {
		t.Error("nodes have metrics")
	}
	if n := len(m.List(kind(t, "deployments"), "elsewhere")); n != 0 {
		t.Errorf("%d deployments elsewhere", n)
	}
}
