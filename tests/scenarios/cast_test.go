package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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

// stage is one step of a scenario beside the cast, as every judge gets it.
type stage struct {
	file string
	step
	// settings are the mesh's, folder holds the manifests, snapshot is what they
	// mean.
	settings smi.Settings
	folder   string
	snapshot *mesh.Snapshot
	found    []mesh.Problem
	// before is the step that this one is an edit of; nil for the first.
	before *stage
}

// setStage writes the cast and a step's policy into a folder.
func setStage(folder string, s scenario, step step) (stage, error) {
	cast, err := os.ReadFile(filepath.Join("testdata", castFile))
	if err != nil {
		return stage{}, err
	}
	if err := os.WriteFile(filepath.Join(folder, castFile), cast, 0o600); err != nil {
		return stage{}, err
	}
	if err := os.WriteFile(filepath.Join(folder, policyFile), step.policy, 0o600); err != nil {
		return stage{}, err
	}
	loaded, err := files.Load(folder)
	if err != nil {
		return stage{}, err
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, s.settings)
	return stage{
		file: s.file, step: step, settings: s.settings,
		folder: folder, snapshot: snapshot, found: append(loaded.Problems, problems...),
	}, nil
}

// broken reports whether a running control plane would keep the last good form
// of something, from whichever scenario that was.
func (s stage) broken() bool {
	return slices.ContainsFunc(s.found, func(p mesh.Problem) bool { return p.Effect == mesh.Broken })
}

// surprises compares the problems with those that the scenario names.
func (s stage) surprises() error {
	var got, full []string
	for _, p := range s.found {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Effect, p.Object, p.Field)))
		full = append(full, p.String())
	}
	want := slices.Sorted(slices.Values(s.problems))
	slices.Sort(got)
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s: the policy has the problems\n\t%s\nand the scenario names\n\t%s\nin full they are\n\t%s", s.file,
		strings.Join(got, "\n\t"), strings.Join(want, "\n\t"), strings.Join(full, "\n\t"))
}

// call is a request whose names have been found in the cast.
type call struct {
	request
	// caller is empty for one from outside.
	caller  mesh.Workload
	service mesh.Service
	// server is the workload behind the service, port its container port.
	server mesh.Workload
	port   mesh.WorkloadPort
}

// callOf finds the names of a request in the snapshot.
func callOf(s *mesh.Snapshot, r request) (call, error) {
	c := call{request: r}
	i := slices.IndexFunc(s.Workloads, func(w mesh.Workload) bool { return w.Name.Name == r.from })
	switch {
	case i >= 0:
		c.caller = s.Workloads[i]
	case !r.outside():
		return c, fmt.Errorf("%s: there is no workload %q in %s", r.at, r.from, castFile)
	}
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
		c.server, _ = s.Workload(p.Endpoints[0].Workload)
		i := slices.IndexFunc(c.server.Ports, func(own mesh.WorkloadPort) bool { return own.Port == p.Endpoints[0].Port })
		c.port = c.server.Ports[i]
		if c.port.Protocol.Opaque() != (r.wire == tcp) {
			return c, fmt.Errorf("%s: port %d of %s speaks %s; %s", r.at, r.port, r.to, c.port.Protocol, requestForm)
		}
		return c, nil
	}
	return c, fmt.Errorf("%s: service %s has no port %d", r.at, r.to, r.port)
}

func callsOf(s stage) ([]call, error) {
	var calls []call
	for _, r := range s.requests {
		c, err := callOf(s.snapshot, r)
		if err != nil {
			return nil, err
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// greets reports whether the application speaks first on an opaque port.
func greets(p mesh.WorkloadPort) bool { return strings.HasSuffix(p.Name, "-greets") }
