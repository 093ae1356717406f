package smi

import (
	"testing"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
