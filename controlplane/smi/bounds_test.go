package smi_test

import (
	"fmt"
	"strings"
	"testing"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// TestSharedMatchesAreBounded: targets that share one group of a thousand
// matches multiply what a sidecar would hold; the oldest keep theirs.
func TestSharedMatchesAreBounded(t *testing.T) {
	const shared, targets, fit = 1_000, 60, 50
	o := lattice("/a", "")
	o.TrafficTargets = o.TrafficTargets[:targets]
	var matches []specs.HTTPMatch
	for i := range shared {
		matches = append(matches, specs.HTTPMatch{Name: fmt.Sprint(i), Methods: []string{"GET"}})
	}
	o.HTTPRouteGroups[0].Spec.Matches = matches
	for _, target := range o.TrafficTargets {
		target.Spec.Rules = []access.TrafficTargetRule{{Kind: smi.KindHTTPRouteGroup, Name: o.HTTPRouteGroups[0].Name}}
	}
	s, problems := smi.Snapshot(o, settings)
	if got := len(s.Grants(mesh.Name{Namespace: "store", Name: "account-0"})); got != fit {
		t.Errorf("%d targets grant something, want %d", got, fit)
	}
	if len(problems) != targets-fit {
		t.Fatalf("%d problems, want one for each target left out: %v", len(problems), problems)
	}
	for _, p := range problems {
		if p.Effect != mesh.Inert || p.Object.Kind != smi.KindTrafficTarget || !strings.Contains(p.Cause, "more than 50000") {
			t.Errorf("got %v", p)
		}
	}
}

func TestPortsOfOneServiceAreBounded(t *testing.T) {
	service := &corev1.Service{ObjectMeta: meta("service", 0)}
	for i := range 1_001 {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("p%d", i), Port: int32(i + 1)})
	}
	s, problems := smi.Snapshot(smi.Objects{Services: []*corev1.Service{service}}, settings)
	told := false
	for _, p := range problems {
		told = told || p.Effect == mesh.Broken && p.Field == "spec.ports"
	}
	if len(s.Services) != 0 || !told {
		t.Errorf("%d services are served; problems: %v", len(s.Services), problems)
	}
}

// TestProblemsStayShort: a name of a megabyte is told by its ends.
func TestProblemsStayShort(t *testing.T) {
	p := mesh.Problem{Object: mesh.Object{Kind: "Service", Name: mesh.Name{Namespace: "a", Name: strings.Repeat("n", 1<<20)}},
		Field: "spec", Cause: strings.Repeat("c", 1<<20) + "the end", Try: "Shorten it."}
	if line := p.String(); len(line) > 3_000 || !strings.Contains(line, "the end") || !strings.HasPrefix(line, "Service a/nnn") {
		t.Errorf("%d bytes: %.100s", len(line), line)
	}
}

// TestAMatchMayBeNamedAfterAPlace: it does not swallow the match without a name
// that is called after that place (smi-rules 19, 44).
func TestAMatchMayBeNamedAfterAPlace(t *testing.T) {
	o := lattice("/a", "")
	o.TrafficTargets, o.HTTPRouteGroups = o.TrafficTargets[:1], o.HTTPRouteGroups[:1]
	o.HTTPRouteGroups[0].Spec.Matches = []specs.HTTPMatch{{Methods: []string{"PUT"}}, {Name: "matches[0]", Methods: []string{"GET"}}}
	s, _ := smi.Snapshot(o, settings)
	if grants := s.Grants(mesh.Name{Namespace: "store", Name: "account-0"}); len(grants) != 1 || len(grants[0].Matches) != 2 {
		t.Errorf("got %+v, want two matches", grants)
	}
}
