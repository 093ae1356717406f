package smi

import (
	"testing"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// A route group that becomes invalid keeps what it granted; one that always was
// is nothing to go back to.
func TestSettleKeepsTheLastGoodForm(t *testing.T) {
	group := func(pattern string) Objects {
		return Objects{HTTPRouteGroups: []*specs.HTTPRouteGroup{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "routes"},
			Spec:       specs.HTTPRouteGroupSpec{Matches: []specs.HTTPMatch{{Name: "a", PathRegex: "/a"}, {Name: "b", PathRegex: pattern}}},
		}}}
	}
	settings := Settings{TrustDomain: "test"}
	_, good, problems := Settle(Objects{}, group("/b"), settings)
	if len(problems) != 0 || len(good.HTTPRouteGroups) != 1 {
		t.Fatalf("a good group is not: %v", problems)
	}
	_, kept, problems := Settle(good, group("/b("), settings)
	if len(problems) == 0 || kept.HTTPRouteGroups[0].Spec.Matches[1].PathRegex != "/b" {
		t.Errorf("got %v with %v, want the form before", kept.HTTPRouteGroups, problems)
	}
	_, fresh, _ := Settle(Objects{}, group("/b("), settings)
	if len(fresh.HTTPRouteGroups) != 0 {
		t.Errorf("a group that never was good counts as good: %v", fresh.HTTPRouteGroups)
	}
}

// A service that moves onto the place of another is the one that loses, whatever
// their names: the other goes on where it was.
func TestSettleKeepsAPlaceForWhoHeldIt(t *testing.T) {
	service := func(name, clusterIP string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec:       corev1.ServiceSpec{ClusterIP: clusterIP, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
		}
	}
	settings := Settings{TrustDomain: "test"}
	before := Objects{Services: []*corev1.Service{service("a", "127.127.1.1"), service("z", "127.127.1.2")}}
	_, good, _ := Settle(Objects{}, before, settings)
	for _, next := range [][]*corev1.Service{
		{service("a", "127.127.1.2"), service("z", "127.127.1.2")},
		{service("a", "127.127.1.1"), service("z", "127.127.1.1")},
		{service("0", "127.127.1.2"), service("a", "127.127.1.1"), service("z", "127.127.1.2")},
	} {
		snapshot, kept, problems := Settle(good, Objects{Services: next}, settings)
		a, hasA := snapshot.Service(mesh.Name{Namespace: "shop", Name: "a"})
		z, hasZ := snapshot.Service(mesh.Name{Namespace: "shop", Name: "z"})
		if !anyBroken(problems) || !hasA || !hasZ || a.Offset != 0x0101 || z.Offset != 0x0102 || len(kept.Services) != 2 {
			t.Errorf("got %+v of %d with %v", snapshot.Services, len(kept.Services), problems)
		}
	}
	// What is gone gives its place free at once.
	snapshot, _, problems := Settle(good, Objects{Services: []*corev1.Service{service("a", "127.127.1.2")}}, settings)
	if a, ok := snapshot.Service(mesh.Name{Namespace: "shop", Name: "a"}); !ok || a.Offset != 0x0102 || anyBroken(problems) {
		t.Errorf("got %+v with %v", snapshot.Services, problems)
	}
}
