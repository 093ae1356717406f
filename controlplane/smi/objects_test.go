package smi_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	split "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	kyaml "sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

var settings = smi.Settings{TrustDomain: "cluster.local"}

// objects reads manifests. It is not package files: that one tolerates and
// reports, and these tests are about what comes after.
func objects(t *testing.T, manifests string) smi.Objects {
	t.Helper()
	var out smi.Objects
	for _, doc := range strings.Split(manifests, "\n---\n") {
		var header struct{ Kind string }
		if err := kyaml.Unmarshal([]byte(doc), &header); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		switch header.Kind {
		case smi.KindService:
			out.Services = append(out.Services, decode[corev1.Service](t, doc))
		case smi.KindServiceAccount:
			out.ServiceAccounts = append(out.ServiceAccounts, decode[corev1.ServiceAccount](t, doc))
		case smi.KindTrafficTarget:
			out.TrafficTargets = append(out.TrafficTargets, decode[access.TrafficTarget](t, doc))
		case smi.KindHTTPRouteGroup:
			out.HTTPRouteGroups = append(out.HTTPRouteGroups, decode[specs.HTTPRouteGroup](t, doc))
		case smi.KindTCPRoute:
			out.TCPRoutes = append(out.TCPRoutes, decode[specs.TCPRoute](t, doc))
		case smi.KindTrafficSplit:
			out.TrafficSplits = append(out.TrafficSplits, decode[split.TrafficSplit](t, doc))
		case smi.KindWorkload:
			out.Workloads = append(out.Workloads, decode[v1alpha1.Workload](t, doc))
		case smi.KindNamespace:
			out.Namespaces = append(out.Namespaces, decode[corev1.Namespace](t, doc))
		case smi.KindPod:
			out.Pods = append(out.Pods, decode[corev1.Pod](t, doc))
		case "EndpointSlice":
			out.EndpointSlices = append(out.EndpointSlices, decode[discoveryv1.EndpointSlice](t, doc))
		case "":
		default:
			t.Fatalf("kind %q", header.Kind)
		}
	}
	return out
}

func decode[T any](t *testing.T, doc string) *T {
	t.Helper()
	out := new(T)
	if err := kyaml.UnmarshalStrict([]byte(doc), out); err != nil {
		t.Fatalf("%v in:\n%s", err, doc)
	}
	return out
}

// shuffled returns the same objects in another order.
func shuffled(o smi.Objects, r *rand.Rand) smi.Objects {
	return smi.Objects{
		Services: shuffle(o.Services, r), ServiceAccounts: shuffle(o.ServiceAccounts, r),
		TrafficTargets: shuffle(o.TrafficTargets, r), HTTPRouteGroups: shuffle(o.HTTPRouteGroups, r),
		TCPRoutes: shuffle(o.TCPRoutes, r), TrafficSplits: shuffle(o.TrafficSplits, r), Workloads: shuffle(o.Workloads, r),
	}
}

func shuffle[T any](in []T, r *rand.Rand) []T {
	out := slices.Clone(in)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// lines returns the problems as a person reads them.
func lines(problems []mesh.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, string(p.Effect)+" "+p.String())
	}
	return out
}

// wantProblems compares problems with the beginnings of lines expected.
func wantProblems(t *testing.T, problems []mesh.Problem, want ...string) {
	t.Helper()
	got := lines(problems)
	for i, line := range got {
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("problem %d:\n got %s\nwant %s", i, line, at(want, i))
		}
	}
	for _, missing := range want[min(len(got), len(want)):] {
		t.Errorf("missing problem: %s", missing)
	}
	for _, p := range problems {
		advised := p.Try != "" || strings.HasPrefix(p.Cause, "pattern ") // those end with advice
		if p.Cause == "" || !advised || !strings.HasSuffix(p.Cause, ".") {
			t.Errorf("problem without a cause and advice in sentences: %s", p)
		}
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "none"
}
