package conformance

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/conformance/suite"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// elsewhere is what a folder of manifests cannot show.
const elsewhere = "not here: that the CRDs carry the names TrafficTarget/tt, HTTPRouteGroup/htr and TrafficSplit/ts.\n" +
	"There is no API server in the folder mode; the same steps on Kubernetes are held to that."

// mode is a way to run the mesh, with the specifications judged in it.
type mode struct {
	name           string
	settings       smi.Settings
	specifications []suite.Specification
}

// modes are two: the suite has no TrafficTarget in its TrafficSplit steps and
// runs them on a mesh that allows by default, which TrafficAccess would fail on.
// We run them on such a mesh, and with a target on one that denies.
func modes() []mode {
	return []mode{
		{"permissive", smi.Settings{TrustDomain: trustDomain, Mode: policy.Permissive}, []suite.Specification{suite.TrafficSplit()}},
		{"strict", smi.Settings{TrustDomain: trustDomain}, []suite.Specification{suite.TrafficAccess(), suite.TrafficSpec(), suite.TrafficSplit("allow.yaml")}},
	}
}

func TestConformance(t *testing.T) {
	alone(t)
	programs, err := rig.Build(t.Context(), t.TempDir(), filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	var results []suite.Result
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) { results = append(results, run(t, programs, m)...) })
	}
	suite.Report(os.Stdout, results, elsewhere)
	judged := map[string]bool{}
	for _, r := range results {
		for _, o := range r.Outcomes {
			judged[o.Step.ID] = true
		}
	}
	if len(judged) != suite.Assertions {
		t.Errorf("%d of %d assertions were judged", len(judged), suite.Assertions)
	}
}

// run plays all specifications of a mode on one mesh.
func run(t *testing.T, programs rig.Programs, m mode) []suite.Result {
	var results []suite.Result
	b, err := startBed(context.Background(), programs, t.TempDir(), m.settings)
	if err != nil {
		t.Error(err)
		for _, s := range m.specifications {
			results = append(results, s.Unreached(m.name))
		}
		return results
	}
	t.Cleanup(func() {
		if text, err := b.ControlPlaneLog(); err == nil && t.Failed() {
			t.Logf("the control plane said:\n%s", text)
		}
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range m.specifications {
		r := s.Play(t.Context(), b, m.name)
		r.Judge(func(id string, err error) {
			t.Run(id, func(t *testing.T) {
				if err != nil {
					t.Error(err)
				}
			})
		})
		results = append(results, r)
	}
	return results
}
