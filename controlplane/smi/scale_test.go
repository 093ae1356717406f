package smi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

const (
	many = 3000
	// manyTimeout is far above what these tests need, less than a second each, and
	// far below what comparing each with each for each cost: minutes.
	manyTimeout = 30 * time.Second
)

func meta(kind string, i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "store", Name: fmt.Sprintf("%s-%d", kind, i)}
}

// lattice has a group for every target, and every target refers to its own with
// this ending.
func lattice(pathRegex, ending string) smi.Objects {
	account := access.IdentityBindingSubject{Kind: smi.KindServiceAccount, Name: "account-0", Namespace: "store"}
	o := smi.Objects{ServiceAccounts: []*corev1.ServiceAccount{{ObjectMeta: meta("account", 0)}}}
	for i := range many {
		o.HTTPRouteGroups = append(o.HTTPRouteGroups, &specs.HTTPRouteGroup{
			ObjectMeta: meta("group", i),
			Spec:       specs.HTTPRouteGroupSpec{Matches: []specs.HTTPMatch{{Name: "m", PathRegex: pathRegex}}},
		})
		o.TrafficTargets = append(o.TrafficTargets, &access.TrafficTarget{ObjectMeta: meta("target", i), Spec: access.TrafficTargetSpec{
			Destination: account, Sources: []access.IdentityBindingSubject{account},
			Rules: []access.TrafficTargetRule{{Kind: smi.KindHTTPRouteGroup, Name: meta("group", i).Name + ending}},
		}})
	}
	return o
}

// Suggestions are a help for a person, who reads the first hundred; to make them
// all took two minutes, for which no policy changed.
func TestManyReferencesToNothing(t *testing.T) {
	start := time.Now()
	_, problems := smi.Snapshot(lattice("/a", "x"), settings)
	suggested := 0
	for _, p := range problems {
		if !strings.Contains(p.Cause, "does not exist in namespace store") || p.Try == "" {
			t.Fatalf("%v says too little", p)
		}
		if strings.Contains(p.Try, "Did you mean") {
			suggested++
		}
	}
	if len(problems) != many || suggested == 0 || suggested > 100 {
		t.Errorf("there are %d problems, %d of them with a suggestion", len(problems), suggested)
	}
	if took := time.Since(start); took > manyTimeout {
		t.Errorf("it took %v", took)
	}
}

// Objects that all break at once all keep their last form, and so do those that
// all lose their places at once.
func TestManyThatBreakAtOnce(t *testing.T) {
	start := time.Now()
	_, good, problems := smi.Settle(smi.Objects{}, lattice("/a$", ""), settings)
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	broken := lattice("/a(", "")
	snapshot, kept, problems := smi.Settle(good, broken, settings)
	if len(problems) != many || kept.HTTPRouteGroups[many-1].Spec.Matches[0].PathRegex != "/a$" {
		t.Errorf("%d problems; the last group is %+v", len(problems), kept.HTTPRouteGroups[many-1].Spec)
	}
	if len(snapshot.Access) != 1 || len(snapshot.Access[0].Grants) != many {
		t.Errorf("grants were lost: %d accounts", len(snapshot.Access))
	}
	if took := time.Since(start); took > manyTimeout {
		t.Errorf("it took %v", took)
	}
}

func TestManyThatLoseTheirPlacesAtOnce(t *testing.T) {
	const half = 2000
	start := time.Now()
	// The first half moves onto the places of the second.
	services := func(shift int) smi.Objects {
		var o smi.Objects
		for i := range 2 * half {
			place := i
			if i < half {
				place += shift
			}
			// Names sort in the order of i: of two equally old the first has the claim.
			o.Services = append(o.Services, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "store", Name: fmt.Sprintf("s%05d", i)},
				Spec:       corev1.ServiceSpec{ClusterIP: fmt.Sprintf("127.127.%d.%d", place/200, 1+place%200)},
			})
		}
		return o
	}
	_, good, _ := smi.Settle(smi.Objects{}, services(0), settings)
	snapshot, kept, problems := smi.Settle(good, services(half), settings)
	if len(kept.Services) != 2*half || len(snapshot.Services) != 2*half || len(problems) < half {
		t.Errorf("%d are kept and %d served, with %d problems", len(kept.Services), len(snapshot.Services), len(problems))
	}
	for i, s := range snapshot.Services {
		if want := uint16(i/200)<<8 | uint16(1+i%200); s.Offset != want {
			t.Fatalf("%s moved to %x, want %x", s.Name, s.Offset, want)
		}
	}
	if took := time.Since(start); took > manyTimeout {
		t.Errorf("it took %v", took)
	}
}
