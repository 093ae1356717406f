package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

const (
	trustDomain = "scenarios.test"
	// serverNamespace is where the services of the cast are.
	serverNamespace = "bookstore"
	castFile        = "cast.yaml"
)

func settings() smi.Settings { return smi.Settings{TrustDomain: trustDomain} }

// stage is a scenario's policy beside the cast, as every judge gets it.
type stage struct {
	scenario scenario
	// folder holds the manifests, snapshot is what they mean.
	folder   string
	snapshot *mesh.Snapshot
	problems []mesh.Problem
}

// setStage writes the cast and a scenario's policy into a folder.
func setStage(folder string, s scenario) (stage, error) {
	cast, err := os.ReadFile(filepath.Join("testdata", castFile))
	if err != nil {
		return stage{}, err
	}
	if err := os.WriteFile(filepath.Join(folder, castFile), cast, 0o600); err != nil {
		return stage{}, err
	}
	if err := os.WriteFile(filepath.Join(folder, policyFile), s.policy, 0o600); err != nil {
		return stage{}, err
	}
	loaded, err := files.Load(folder)
	if err != nil {
		return stage{}, err
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	return stage{s, folder, snapshot, append(loaded.Problems, problems...)}, nil
}

// broken reports whether a running control plane would keep the last good form
// of something, from whichever scenario that was.
func (s stage) broken() bool {
	return slices.ContainsFunc(s.problems, func(p mesh.Problem) bool { return p.Effect == mesh.Broken })
}

// surprises compares the problems with those that the scenario names.
func (s stage) surprises() error {
	var got, full []string
	for _, p := range s.problems {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Effect, p.Object, p.Field)))
		full = append(full, p.String())
	}
	want := slices.Sorted(slices.Values(s.scenario.problems))
	slices.Sort(got)
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s: the policy has the problems\n\t%s\nand the scenario names\n\t%s\nin full they are\n\t%s", s.scenario.file,
		strings.Join(got, "\n\t"), strings.Join(want, "\n\t"), strings.Join(full, "\n\t"))
}

// call is a request whose names have been found in the cast.
type call struct {
	request
	caller  mesh.Workload
	service mesh.Service
	// server is the workload behind the service, port its container port.
	server mesh.Workload
	port   uint16
}

// callOf finds the names of a request in the snapshot.
func callOf(s *mesh.Snapshot, r request) (call, error) {
	c := call{request: r}
	i := slices.IndexFunc(s.Workloads, func(w mesh.Workload) bool { return w.Name.Name == r.from })
	if i < 0 {
		return c, fmt.Errorf("%s: there is no workload %q in %s", r.at, r.from, castFile)
	}
	c.caller = s.Workloads[i]
	var ok bool
	if c.service, ok = s.Service(mesh.Name{Namespace: serverNamespace, Name: r.to}); !ok {
		return c, fmt.Errorf("%s: there is no service %q in %s", r.at, r.to, castFile)
	}
	for _, p := range c.service.Ports {
		if p.Port != r.port {
			continue
		}
		if len(p.Endpoints) != 1 {
			return c, fmt.Errorf("%s: %s has %d workloads behind it, and a verdict needs exactly one", r.at, r.to, len(p.Endpoints))
		}
		c.port = p.Endpoints[0].Port
		c.server, _ = s.Workload(p.Endpoints[0].Workload)
		return c, nil
	}
	return c, fmt.Errorf("%s: service %s has no port %d", r.at, r.to, r.port)
}

func callsOf(t *testing.T, s stage) []call {
	t.Helper()
	var calls []call
	for _, r := range s.scenario.requests {
		c, err := callOf(s.snapshot, r)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	return calls
}
