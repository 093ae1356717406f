package xds

import (
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// What a sidecar may fetch is what its Envoy is told to load, of every mesh.
func TestReferencesAreWhatBuildNames(t *testing.T) {
	s := shop()
	settings := Settings{Module: strings.Repeat("ab", 32)}
	named := 0
	for _, w := range s.Workloads {
		built, asked := Modules(Build(s, w.Name, settings)), References(s, w.Name, settings)
		if !slices.Equal(built, asked) {
			t.Errorf("%s: its configuration names %v, and it may fetch %v", w.Name, built, asked)
		}
		if len(w.Ports) > 0 && !slices.Equal(asked, []string{settings.Module}) {
			t.Errorf("%s may fetch %v", w.Name, asked)
		}
		named += len(asked)
	}
	if named == 0 {
		t.Error("no workload has a module: that proves nothing")
	}
	if got := References(s, mesh.Name{Namespace: "no", Name: "body"}, settings); len(got) > 0 {
		t.Errorf("whom the mesh does not know may fetch %v", got)
	}
	if got := References(s, s.Workloads[0].Name, Settings{}); len(got) > 0 {
		t.Errorf("without a module there is %v", got)
	}
}
