package smi_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// workload writes a Workload of namespace store, on the n-th address.
func workload(name string, n int, spec ...string) string {
	return fmt.Sprintf("\n---\nkind: Workload\nmetadata: {namespace: store, name: %s, labels: {app: %s}}\nspec:\n  "+
		"{serviceAccount: store, address: 127.10.0.%d, application: 127.20.0.%d, loopback: 127.%d.0.0/16, %s}\n",
		name, strings.TrimRight(name, "0123456789"), n, n, 30+n, strings.Join(spec, ", "))
}

// service writes a Service of namespace store.
func service(name string, spec ...string) string {
	return "\n---\nkind: Service\nmetadata: {namespace: store, name: " + name + "}\nspec:\n  {" + strings.Join(spec, ", ") + "}\n"
}

const webPort = "ports: [{name: web, port: 8080}]"

func TestServices(t *testing.T) {
	manifests := shop +
		workload("web1", 1, "ports: [{name: main, port: 8080}, {name: rpc, port: 9090, appProtocol: grpc}]") +
		workload("web2", 2, "ports: [{name: main, port: 8081}]") +
		workload("job1", 3) +
		service("shop", "clusterIP: 127.9.3.4", "selector: {app: web}",
			"ports: [{name: http, port: 80, targetPort: main}, {name: grpc-api, port: 90, targetPort: 9090}, {port: 8080}]")
	snapshot, problems := smi.Snapshot(objects(t, manifests), settings)
	wantProblems(t, problems,
		"inert Service store/shop: spec.ports[1].targetPort: Workload store/web2 serves no port 9090",
		"inert Service store/shop: spec.ports[2].targetPort: Workload store/web2 serves no port 8080")
	endpoint := func(n int, port uint16) mesh.Endpoint {
		return mesh.Endpoint{
			Workload:       mesh.Name{Namespace: "store", Name: fmt.Sprintf("web%d", n)},
			ServiceAccount: mesh.Name{Namespace: "store", Name: "store"},
			Address:        netip.AddrFrom4([4]byte{127, 10, 0, byte(n)}), Port: port,
		}
	}
	want := mesh.Service{Name: mesh.Name{Namespace: "store", Name: "shop"}, Offset: 0x0304, Ports: []mesh.ServicePort{
		{Port: 80, Name: "http", Protocol: mesh.HTTP1, Endpoints: []mesh.Endpoint{endpoint(1, 8080), endpoint(2, 8081)}},
		{Port: 90, Name: "grpc-api", Protocol: mesh.HTTP2, Endpoints: []mesh.Endpoint{endpoint(1, 9090)}},
		{Port: 8080, Protocol: mesh.HTTP1, Endpoints: []mesh.Endpoint{endpoint(1, 8080)}},
	}}
	if !reflect.DeepEqual(snapshot.Services, []mesh.Service{want}) {
		t.Errorf("got %+v\nwant %+v", snapshot.Services, want)
	}
	web1, _ := snapshot.Workload(mesh.Name{Namespace: "store", Name: "web1"})
	if a := web1.AddressOf(want); a != netip.MustParseAddr("127.31.3.4") {
		t.Errorf("web1 dials the service at %s", a)
	}
}

// Each case lists what is left over next to its problems.
var worldCases = []struct {
	name      string
	manifests string
	left      string
	problems  []string
}{{
	name:      "a selector without labels selects nothing",
	manifests: workload("web1", 1, webPort) + service("shop", "selector: {}", webPort),
	left:      "Service shop 8080: Workload web1 8080",
	problems:  []string{"inert Service store/shop: spec.selector: the service has no selector"},
}, {
	name:      "workloads of other namespaces are not selected",
	manifests: strings.Replace(strings.Replace(workload("web1", 1, webPort), "namespace: store", "namespace: people", 1), "serviceAccount: store", "serviceAccount: reader", 1) + service("shop", "selector: {app: web}", webPort),
	left:      "Service shop 8080: Workload web1 8080",
	problems:  []string{"inert Service store/shop: spec.selector: no usable Workload in namespace store carries the labels app=web, so"},
}, {
	name: "opaque ports go to opaque ports only",
	manifests: workload("web1", 1, "ports: [{port: 8080}, {port: 3306, appProtocol: tcp}, {port: 443, name: tls-x}]") +
		service("shop", "selector: {app: web}", "ports: [{port: 8080}, {port: 3306, appProtocol: mysql}, {port: 25, name: tcp-mail, targetPort: 8080}, {port: 80, targetPort: 443}, {port: 53, protocol: UDP}]"),
	left: "Service shop 25: 80: 3306:web1 8080:web1 Workload web1 443 3306 8080",
	problems: []string{
		"inert Service store/shop: spec.ports[2].targetPort: the service's port 25 is read as tcp, and port 8080 of Workload store/web1 as http, so it gets nothing of it. Give both the same appProtocol.",
		"inert Service store/shop: spec.ports[3].targetPort: the service's port 80 is read as http, and port 443 of Workload store/web1 as tcp",
		"inert Service store/shop: spec.ports[4].protocol: UDP is not served",
	},
}, {
	name: "ports that cannot be",
	manifests: service("a", "selector: {app: web}", "ports: [{port: 0}, {port: 80}, {port: 80}]") +
		workload("web1", 1, "ports: [{port: 70000}, {port: 80, name: x}, {port: 80}, {port: 81, name: x}, {port: 82, appProtocol: htttp}]"),
	problems: []string{
		"broken Service store/a: spec.ports[0].port: 0 is not", "broken Service store/a: spec.ports[2].port: port 80 is listed twice",
		"broken Workload store/web1: spec.ports[0].port: 70000 is not", "broken Workload store/web1: spec.ports[2].port: port 80 is listed twice",
		`broken Workload store/web1: spec.ports[3].name: two ports are named "x"`, `broken Workload store/web1: spec.ports[4].appProtocol: protocol "htttp" is unknown`,
	},
}, {
	name: "clusterIP gives the address, and the older service keeps it",
	manifests: workload("web1", 1, webPort) +
		service("b", "clusterIP: 127.1.3.4", "selector: {app: web}", webPort) + service("a", "clusterIP: 127.2.3.4", "selector: {app: web}", webPort),
	left: "Service a 8080:web1 Workload web1 8080",
	problems: []string{"broken Service store/b: spec.clusterIP: its address would end in 3.4, as that of Service store/a already does; the service is left out. " +
		"Set spec.clusterIP to an address with another end, such as 127.127.3.5."},
}, {
	name: "clusterIP that is none",
	manifests: workload("web1", 1) + service("a", "clusterIP: 10.0.0.1", "selector: {app: web}") + service("b", "clusterIP: 127.0.0.255", "selector: {app: web}") +
		service("c", "clusterIP: None", "selector: {app: web}") + service("d", "type: ExternalName", "externalName: x.y"),
	left: "Service c Workload web1",
	problems: []string{`broken Service store/a: spec.clusterIP: "10.0.0.1" is not an address for services`,
		`broken Service store/b: spec.clusterIP: "127.0.0.255" is not`, "inert Service store/d: spec.type: services of type ExternalName are not"},
}, {
	name:      "a workload without an identity",
	manifests: strings.Replace(workload("web1", 1), "serviceAccount: store", "serviceAccount: sotre", 1) + strings.Replace(workload("web2", 2), "serviceAccount: store, ", "", 1),
	problems: []string{`broken Workload store/web1: spec.serviceAccount: ServiceAccount "sotre" does not exist in namespace store, so the workload has no identity. Did you mean "store"?`,
		"broken Workload store/web2: spec.serviceAccount: a workload without"},
}, {
	name: "addresses that are none",
	manifests: strings.Replace(workload("w1", 1), "127.10.0.1", "localhost", 1) + strings.Replace(workload("w2", 2), "127.10.0.2", "0.0.0.0", 1) +
		strings.Replace(workload("w3", 3), "address: 127.10.0.3, ", "", 1) + strings.Replace(workload("w4", 4), "127.20.0.4", "127.10.0.4", 1) +
		strings.Replace(workload("w5", 5), "127.35.0.0/16", "127.35.0.0/8", 1) + strings.Replace(workload("w6", 6), "127.36.0.0/16", "127.10.0.0/16", 1),
	problems: []string{
		`broken Workload store/w1: spec.address: "localhost" is not an IP address`, "broken Workload store/w2: spec.address: 0.0.0.0 is not the address of one machine",
		"broken Workload store/w3: spec.address: the address is missing", "broken Workload store/w4: spec.address: the sidecar and the application would both listen on 127.10.0.4",
		`broken Workload store/w5: spec.loopback: "127.35.0.0/8" is not a /16 network`, "broken Workload store/w6: spec.address: 127.10.0.6 lies inside spec.loopback 127.10.0.0/16",
	},
}, {
	name: "what two workloads cannot both have stays with the first",
	manifests: workload("w1", 1, webPort) + strings.Replace(workload("w2", 2, webPort), "127.10.0.2", "127.10.0.1", 1) +
		strings.Replace(workload("w3", 3, webPort), "127.20.0.3", "127.10.0.1", 1) + strings.Replace(workload("w4", 4), "127.34.0.0", "127.31.0.0", 1) +
		strings.Replace(workload("w5", 5, webPort), "127.10.0.5", "10.0.0.5", 1) + strings.Replace(strings.Replace(workload("w6", 6, webPort), "127.10.0.6", "10.0.0.6", 1), "127.20.0.6", "127.20.0.5", 1),
	left: "Workload w1 8080 Workload w5 8080 Workload w6 8080",
	problems: []string{
		"broken Workload store/w2: spec.address: the sidecar would listen on 127.10.0.1:8080, where the sidecar of Workload store/w1 already listens.",
		"broken Workload store/w3: spec.application: the application would listen on 127.10.0.1:8080, where the sidecar of Workload store/w1 already listens.",
		"broken Workload store/w4: spec.loopback: network 127.31.0.0/16 is already used by Workload store/w1",
	},
}}

func TestWorld(t *testing.T) {
	for _, c := range worldCases {
		t.Run(c.name, func(t *testing.T) {
			snapshot, problems := smi.Snapshot(objects(t, shop+c.manifests), settings)
			wantProblems(t, problems, c.problems...)
			if got := summary(snapshot); got != c.left {
				t.Errorf("left over: %s\nwant: %s", got, c.left)
			}
		})
	}
}

// summary names services with the workloads behind each port, then workloads
// with their ports.
func summary(s *mesh.Snapshot) string {
	var words []string
	for _, svc := range s.Services {
		words = append(words, "Service "+svc.Name.Name)
		for _, p := range svc.Ports {
			var behind []string
			for _, e := range p.Endpoints {
				behind = append(behind, e.Workload.Name)
			}
			words = append(words, fmt.Sprintf("%d:%s", p.Port, strings.Join(behind, ",")))
		}
	}
	for _, w := range s.Workloads {
		words = append(words, "Workload "+w.Name.Name)
		for _, p := range w.Ports {
			words = append(words, fmt.Sprint(p.Port))
		}
	}
	return strings.Join(words, " ")
}

// An address depends on the service's name alone, is never a network's or a
// broadcast address, and of two services the older keeps it.
func TestOffsets(t *testing.T) {
	var manifests strings.Builder
	for i := range 2000 {
		manifests.WriteString(service(fmt.Sprintf("s%d", i), "selector: {app: web}"))
	}
	all := objects(t, shop+workload("web1", 1)+manifests.String())
	snapshot, problems := smi.Snapshot(all, settings)
	if len(snapshot.Services)+len(problems) != 2000 || len(problems) == 0 {
		t.Fatalf("%d services, %d problems", len(snapshot.Services), len(problems))
	}
	taken := map[uint16]mesh.Name{}
	for _, s := range snapshot.Services {
		if last := byte(s.Offset); last == 0 || last == 255 || s.Offset < 0x0100 || s.Offset > 0xfffe {
			t.Errorf("%s has offset %#04x", s.Name, s.Offset)
		}
		if holder, ok := taken[s.Offset]; ok {
			t.Errorf("%s and %s share %#04x", s.Name, holder, s.Offset)
		}
		taken[s.Offset] = s.Name
	}
	younger := problems[0].Object.Name
	for _, s := range all.Services {
		if s.Name != younger.Name {
			s.CreationTimestamp = metav1.NewTime(time.Unix(1, 0))
		}
	}
	snapshot, _ = smi.Snapshot(all, settings)
	if !slices.ContainsFunc(snapshot.Services, func(s mesh.Service) bool { return s.Name == younger }) {
		t.Errorf("%s is now the oldest, and still left out", younger)
	}
}
