package splits

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
	trustDomain     = "splits.test"
	serverNamespace = "bookstore"
	castFile        = "cast.yaml"
	policyFile      = "policy.yaml"
)

func settings() smi.Settings { return smi.Settings{TrustDomain: trustDomain} }

// stage is a scenario's policy beside the cast, as every judge gets it.
type stage struct {
	folder   string
	snapshot *mesh.Snapshot
	problems []mesh.Problem
}

// setStage writes the cast and a policy into a folder.
func setStage(folder string, policy []byte) (stage, error) {
	cast, err := os.ReadFile(filepath.Join("testdata", castFile))
	if err != nil {
		return stage{}, err
	}
	for name, text := range map[string][]byte{castFile: cast, policyFile: policy} {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			return stage{}, err
		}
	}
	loaded, err := files.Load(folder)
	if err != nil {
		return stage{}, err
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	return stage{folder, snapshot, append(loaded.Problems, problems...)}, nil
}

// surprises compares the problems with those that were expected.
func (s stage) surprises(expected []string) error {
	var got, full []string
	for _, p := range s.problems {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Effect, p.Object, p.Field)))
		full = append(full, p.String())
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(expected))
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("the policy has the problems\n\t%s\nand the scenario names\n\t%s\nin full they are\n\t%s",
		strings.Join(got, "\n\t"), strings.Join(want, "\n\t"), strings.Join(full, "\n\t"))
}

// call is a request whose names have been found in the snapshot.
type call struct {
	request
	caller  mesh.Workload
	service mesh.Service
}

func callOf(s *mesh.Snapshot, r request) (call, error) {
	c := call{request: r}
	i := slices.IndexFunc(s.Workloads, func(w mesh.Workload) bool { return w.Name.Name == r.from })
	if i < 0 {
		return c, fmt.Errorf("%s: there is no workload %q", r.at, r.from)
	}
	c.caller = s.Workloads[i]
	var ok bool
	if c.service, ok = s.Service(mesh.Name{Namespace: serverNamespace, Name: r.to}); !ok {
		return c, fmt.Errorf("%s: there is no service %q", r.at, r.to)
	}
	if _, ok := c.service.Port(r.port); !ok {
		return c, fmt.Errorf("%s: service %s has no port %d", r.at, r.to, r.port)
	}
	return c, nil
}

// behind returns what answers at a backend's port.
func behind(s *mesh.Snapshot, backend mesh.Name, port uint16) []mesh.Endpoint {
	service, _ := s.Service(backend)
	at, _ := service.Port(port)
	return at.Endpoints
}
