package smi_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
)

var clusterSettings = smi.Settings{TrustDomain: "cluster.local", Kubernetes: true}

// aPod is a running pod of namespace store on the n-th address of both families.
func aPod(name string, n int, more ...string) string {
	return fmt.Sprintf("\n---\nkind: Pod\nmetadata: {namespace: store, name: %s, labels: {app: %s, wasmesh.io/sidecar: injected}}\n"+
		"spec: {serviceAccountName: store, %s}\nstatus: {phase: Running, podIPs: [{ip: 10.1.0.%d}, {ip: 'fd00::%x'}]}\n",
		name, strings.TrimRight(name, "0123456789-"), strings.Join(more, ", "), n, n)
}

const oneContainer = "containers: [{name: app, ports: [{name: web, containerPort: 8080}]}]"

// endpointsOf is a slice of a Service of namespace store; each endpoint is the
// text of its fields behind the address.
func endpointsOf(service, ports string, endpoints ...string) string {
	return "\n---\nkind: EndpointSlice\nmetadata: {namespace: store, name: " + service + "-abc, labels: {kubernetes.io/service-name: " + service + "}}\n" +
		"addressType: IPv4\nports: [" + ports + "]\nendpoints: [" + strings.Join(endpoints, ", ") + "]\n"
}

func standing(n int, conditions string) string {
	return fmt.Sprintf("{addresses: [10.1.0.%d], targetRef: {kind: Pod, name: p%d}, conditions: {%s}}", n, n, conditions)
}

const (
	joined  = "\n---\nkind: Namespace\nmetadata: {name: store, labels: {wasmesh.io/inject: enabled}}\n"
	relaxed = "\n---\nkind: Namespace\nmetadata: {name: store, labels: {wasmesh.io/inject: enabled, wasmesh.io/plaintext: grace, wasmesh.io/mode: audit}}\n"
)

func TestPod(t *testing.T) {
	o := objects(t, relaxed+aPod("web-0", 7,
		"initContainers: [{name: wasmesh-sidecar, restartPolicy: Always, ports: [{containerPort: 15021}]}, "+
			"{name: setup, ports: [{containerPort: 1}]}, {name: log, restartPolicy: Always, ports: [{name: tcp-log, containerPort: 5000}]}]",
		"containers: [{name: app, ports: [{name: web, containerPort: 8080}, {containerPort: 53, protocol: UDP}]}, {name: side, ports: [{name: admin, containerPort: 9000}]}]")+
		service("web", "clusterIP: 10.96.0.1", "clusterIPs: [10.96.0.1, 'fd00:96::1']", "selector: {app: web}",
			"ports: [{name: grpc, port: 80, targetPort: web}, {name: tcp-db, port: 5432}, {name: http, port: 15020}]"))
	snapshot, problems := smi.Snapshot(o, clusterSettings)
	wantProblems(t, problems)
	four, six := netip.MustParseAddr("10.1.0.7"), netip.MustParseAddr("fd00::7")
	want := mesh.Workload{
		Name: mesh.Name{Namespace: "store", Name: "web-0"}, ServiceAccount: mesh.Name{Namespace: "store", Name: "store"},
		Kind: mesh.KindPod, Owner: identity.Owner{Kind: "Pod", Name: "web-0"}, Captured: true, Address: four, Application: four, Addresses: []netip.Addr{four, six},
		Mode: policy.Audit, Grace: true,
		Ports: []mesh.WorkloadPort{
			{Port: 5000, Name: "tcp-log", Protocol: mesh.TCP}, {Port: 5432, Protocol: mesh.TCP},
			{Port: 8080, Name: "web", Protocol: mesh.HTTP2}, {Port: 9000, Name: "admin", Protocol: mesh.HTTP1},
		},
	}
	if !reflect.DeepEqual(snapshot.Workloads, []mesh.Workload{want}) {
		t.Errorf("got  %+v\nwant %+v", snapshot.Workloads, want)
	}
}

// clusterCases list the endpoints that are left, next to the problems.
var clusterCases = []struct {
	name, manifests, left string
	problems              []string
}{{
	name: "ready endpoints of both families, each once",
	manifests: joined + aPod("p1", 1, oneContainer) + aPod("p2", 2, oneContainer) +
		service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 80, targetPort: web}]") +
		endpointsOf("p", "{name: http, port: 8080}", standing(1, "ready: true"), standing(2, "ready: false"), "{addresses: ['fd00::1'], targetRef: {name: p1}}"),
	left: "p 80: p1:8080",
}, {
	name: "those that are ending serve while nobody is ready",
	manifests: joined + aPod("p1", 1, oneContainer) + aPod("p2", 2, oneContainer) +
		service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 80}]") +
		endpointsOf("p", "{name: http, port: 8080}", standing(1, "ready: false, serving: true, terminating: true"), standing(2, "ready: false, serving: false, terminating: true")),
	left:     "p 80: p1:8080",
	problems: []string{},
}, {
	name: "a headless service has all of its pods, ready or not",
	manifests: joined + aPod("p1", 1, oneContainer) + aPod("p2", 2, oneContainer) +
		service("p", "clusterIP: None", "selector: {app: p}", "ports: [{name: http, port: 8080}]") +
		endpointsOf("p", "{name: http, port: 8080}", standing(1, "ready: true"), standing(2, "ready: false")),
	left: "p 8080: p1:8080 p2:8080",
}, {
	name: "two containers, each behind a port of its own, by name and by number",
	manifests: joined + aPod("p1", 1, "containers: [{name: a, ports: [{name: web, containerPort: 8080}]}, {name: b}]") +
		service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 80, targetPort: web}, {name: tcp-b, port: 81, targetPort: 9090}]") +
		endpointsOf("p", "{name: http, port: 8080}, {name: tcp-b, port: 9090}", standing(1, "ready: true")),
	left: "p 80: p1:8080; p 81: p1:9090",
}, {
	name: "of endpoints without a sidecar nothing is used, and it is told",
	manifests: joined + aPod("p1", 1, oneContainer) +
		service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 80, targetPort: web}]") +
		endpointsOf("p", "{name: http, port: 8080}", standing(1, "ready: true"), standing(2, "ready: true"), standing(3, "ready: true")),
	left:     "p 80: p1:8080",
	problems: []string{"inert Service store/p: spec.selector: 2 endpoints of the service have no sidecar, p2 among them"},
}, {
	name:      "a service whose pods all lack one is the mesh's all the same, and nobody answers",
	manifests: joined + service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 80}]") + endpointsOf("p", "{name: http, port: 8080}", standing(2, "ready: true")),
	left:      "p 80:",
	problems:  []string{"inert Service store/p: spec.selector: 1 endpoint of the service has no sidecar, p2 among them"},
}, {
	name:      "under grace it is reached as before",
	manifests: relaxed + service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 80}]") + endpointsOf("p", "{name: http, port: 8080}", standing(2, "ready: true")),
}, {
	name: "services outside the mesh pass through: without selector, of type ExternalName, of other namespaces",
	manifests: service("away", "clusterIP: 10.96.0.1", "ports: [{port: 443}]") + endpointsOf("away", "{port: 443}", "{addresses: [192.0.2.1]}") +
		service("name", "type: ExternalName", "externalName: example.com") +
		service("other", "clusterIP: 10.96.0.2", "selector: {app: q}", "ports: [{port: 80}]"),
}, {
	name: "a service without selector is the mesh's where an endpoint has a sidecar",
	manifests: joined + aPod("p1", 1, oneContainer) + service("hand", "clusterIP: 10.96.0.1", "ports: [{name: http, port: 80}]") +
		endpointsOf("hand", "{name: http, port: 8080}", "{addresses: [10.1.0.1]}"),
	left: "hand 80: p1:8080",
}, {
	name: "the sidecar's own ports belong to no application",
	manifests: joined + aPod("p1", 1, oneContainer) + service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 15006}]") +
		endpointsOf("p", "{name: http, port: 15006}", standing(1, "ready: true")),
	left:     "p 15006:",
	problems: []string{"inert Service store/p: spec.ports[0].targetPort: the sidecar of Pod store/p1 does not serve port 15006"},
}, {
	name: "the older service says how a port is read",
	manifests: joined + aPod("p1", 1, oneContainer) +
		service("a", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: tcp, port: 80, targetPort: 8080}]") +
		service("b", "clusterIP: 10.96.0.2", "selector: {app: p}", "ports: [{name: http, port: 80, targetPort: 8080}]") +
		endpointsOf("a", "{name: tcp, port: 8080}", standing(1, "ready: true")) + endpointsOf("b", "{name: http, port: 8080}", standing(1, "ready: true")),
	left:     "a 80: p1:8080; b 80:",
	problems: []string{"inert Service store/b: spec.ports[0].appProtocol: port 80 is read as http, and an older Service has port 8080 of Pod store/p1 read as tcp"},
}, {
	name: "UDP is told",
	manifests: joined + aPod("p1", 1, oneContainer) + service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: dns, port: 53, protocol: UDP}]") +
		endpointsOf("p", "{name: dns, port: 53, protocol: UDP}", standing(1, "ready: true")),
	left:     "p",
	problems: []string{"inert Service store/p: spec.ports[0].protocol: UDP is not the mesh's"},
}, {
	name: "pods that have ended, have no address, use the host's network or have no sidecar are none",
	manifests: joined + strings.ReplaceAll(aPod("p1", 1, oneContainer), "Running", "Succeeded") + strings.ReplaceAll(aPod("p2", 2, oneContainer), "wasmesh.io/sidecar: injected", "x: y") +
		aPod("p3", 3, "hostNetwork: true, "+oneContainer) + strings.Replace(aPod("p4", 4, oneContainer), "[{ip: 10.1.0.4}, {ip: 'fd00::4'}]", "[]", 1),
}, {
	name: "of two pods with one address the newer one has it",
	manifests: joined + aPod("p1", 1, oneContainer) + strings.Replace(aPod("q1", 1, oneContainer), "metadata: {", "metadata: {creationTimestamp: '2026-01-01T00:00:00Z', ", 1) +
		service("q", "clusterIP: 10.96.0.1", "selector: {app: q}", "ports: [{name: http, port: 80, targetPort: web}]") + endpointsOf("q", "{name: http, port: 8080}", standing(1, "ready: true")),
	left:     "q 80: q1:8080",
	problems: []string{"inert Pod store/p1: status.podIPs: Pod store/q1 is newer and has the same address"},
}}

func TestServicesOfACluster(t *testing.T) {
	for _, c := range clusterCases {
		t.Run(c.name, func(t *testing.T) {
			snapshot, problems := smi.Snapshot(objects(t, c.manifests), clusterSettings)
			wantProblems(t, problems, c.problems...)
			if got := endpointsLeft(snapshot); got != c.left {
				t.Errorf("left is %q, want %q", got, c.left)
			}
		})
	}
}

func endpointsLeft(s *mesh.Snapshot) string {
	var out []string
	for _, service := range s.Services {
		if len(service.Ports) == 0 {
			out = append(out, service.Name.Name)
		}
		for _, p := range service.Ports {
			text := fmt.Sprintf("%s %d:", service.Name.Name, p.Port)
			for _, e := range p.Endpoints {
				text += fmt.Sprintf(" %s:%d", e.Workload.Name, e.Port)
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, "; ")
}

// TestSplitRootOfACluster: requests to a root are split although nobody stands
// behind it, so it is a service of the mesh.
func TestSplitRootOfACluster(t *testing.T) {
	o := objects(t, joined+aPod("p1", 1, oneContainer)+
		service("root", "clusterIP: 10.96.0.9", "ports: [{name: http, port: 80}]")+
		service("p", "clusterIP: 10.96.0.1", "selector: {app: p}", "ports: [{name: http, port: 80, targetPort: web}]")+
		endpointsOf("p", "{name: http, port: 8080}", standing(1, "ready: true"))+
		"\n---\nkind: TrafficSplit\nmetadata: {namespace: store, name: s}\nspec: {service: root.store, backends: [{service: p, weight: 1}]}\n")
	snapshot, problems := smi.Snapshot(o, clusterSettings)
	wantProblems(t, problems)
	if got := endpointsLeft(snapshot); got != "p 80: p1:8080; root 80:" || len(snapshot.Splits) != 1 {
		t.Errorf("left is %q with %d splits", got, len(snapshot.Splits))
	}
}

// TestClusterInAnyOrder: the same objects in any order give the same snapshot.
func TestClusterInAnyOrder(t *testing.T) {
	var text strings.Builder
	text.WriteString(joined)
	for i := range 12 {
		text.WriteString(aPod(fmt.Sprintf("p%d", i+1), i+1, oneContainer))
		name := fmt.Sprintf("s%d", i)
		text.WriteString(service(name, fmt.Sprintf("clusterIP: 10.96.0.%d", i+1), "selector: {app: p}", "ports: [{name: http, port: 80, targetPort: web}, {name: tcp, port: 81, targetPort: 8080}]"))
		text.WriteString(endpointsOf(name, "{name: http, port: 8080}", standing(i+1, "ready: true"), standing(20, "")))
	}
	o := objects(t, text.String())
	want, problems := smi.Snapshot(o, clusterSettings)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		r.Shuffle(len(o.Pods), func(i, j int) { o.Pods[i], o.Pods[j] = o.Pods[j], o.Pods[i] })
		r.Shuffle(len(o.Services), func(i, j int) { o.Services[i], o.Services[j] = o.Services[j], o.Services[i] })
		r.Shuffle(len(o.EndpointSlices), func(i, j int) {
			o.EndpointSlices[i], o.EndpointSlices[j] = o.EndpointSlices[j], o.EndpointSlices[i]
		})
		got, told := smi.Snapshot(o, clusterSettings)
		if !reflect.DeepEqual(got, want) || !slices.Equal(told, problems) {
			t.Fatal("another order gives another snapshot")
		}
	}
}

// TestWorkloadNamedAsAPod: a name means one of them, and a pod is never taken for
// the other.
func TestWorkloadNamedAsAPod(t *testing.T) {
	o := objects(t, shop+joined+aPod("web1", 1, oneContainer)+workload("web1", 1, webPort)+workload("web2", 2, webPort))
	snapshot, problems := smi.Snapshot(o, clusterSettings)
	wantProblems(t, problems, "broken Workload store/web1: metadata.name: a Pod of the namespace has the same name")
	kinds := ""
	for _, w := range snapshot.Workloads {
		kinds += w.Name.Name + " " + w.Kind + ";"
	}
	if kinds != "web1 pod;web2 workload;" {
		t.Error(kinds)
	}
}

// TestLargeCluster bounds the work: not every service looks at every pod of its
// namespace.
func TestLargeCluster(t *testing.T) {
	o := smi.Objects{Namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "store", Labels: map[string]string{smi.InjectLabel: smi.InjectEnabled}}}}}
	for i := range 5000 {
		app := fmt.Sprintf("app%d", i%500)
		ip := netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}).String()
		o.Pods = append(o.Pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "store", Name: fmt.Sprintf("pod%d", i), Labels: map[string]string{"app": app, smi.SidecarLabel: smi.SidecarInjected}},
			Status:     corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: ip}}},
		})
		if i >= 500 {
			continue
		}
		name, number := "http", int32(80)
		o.Services = append(o.Services, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "store", Name: app}, Spec: corev1.ServiceSpec{
			ClusterIP: fmt.Sprintf("10.96.%d.%d", i>>8, i&255), Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Name: name, Port: number}},
		}})
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "store", Name: app, Labels: map[string]string{discoveryv1.LabelServiceName: app}},
			Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &number}}}
		for n := i; n < 5000; n += 500 {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{netip.AddrFrom4([4]byte{10, 2, byte(n >> 8), byte(n)}).String()}})
		}
		o.EndpointSlices = append(o.EndpointSlices, slice)
	}
	began := time.Now()
	snapshot, problems := smi.Snapshot(o, clusterSettings)
	took := time.Since(began)
	wantProblems(t, problems)
	if len(snapshot.Services) != 500 || len(snapshot.Services[3].Ports[0].Endpoints) != 10 {
		t.Fatalf("%d services", len(snapshot.Services))
	}
	t.Logf("5,000 pods behind 500 services: %v", took)
	if took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}
