// Package status is what a control plane tells of itself and of its proxies, and
// how a person reads it.
//
// It is plain values and one view of them, for the command and for the demo. It
// never asks anybody, never looks at a clock or a terminal, and lets no name move
// a cursor.
package status

import (
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// Status is the control plane's state for people and scripts.
type Status struct {
	// Module is the digest of the filter module in use; empty if there is none.
	Module string
	// Filters are the digests of the modules that users' filters run, by the names
	// of the WasmFilters.
	Filters  map[string]string `json:",omitempty"`
	Problems []string
	// Relaxed are the namespaces that are not closed yet.
	Relaxed []Relaxed
	// Replicas are those of the control plane in a cluster, the one that was asked
	// first; Proxies are those of all that answered.
	Replicas []Replica `json:",omitempty"`
	// Proxies are those that are connected, Workloads those that should be; both
	// sorted by name.
	Proxies   []serve.Proxy
	Workloads []Workload
}

// Replica is one control plane of several.
type Replica struct {
	Name string
	// Proxies is how many it serves.
	Proxies int
	// Error is why it did not say; its proxies are missing then.
	Error string `json:",omitempty"`
}

// Relaxed is a namespace that lets pass what its policy does not allow, or lets
// callers without a sidecar in.
type Relaxed struct {
	Namespace string
	Mode      policy.Mode
	Plaintext bool
}

// Workload is one of the manifests, with the ports as its sidecar reads them.
type Workload struct {
	Name           mesh.Name
	ServiceAccount mesh.Name
	Ports          []mesh.WorkloadPort
}

// WorkloadsOf lists those of a snapshot.
func WorkloadsOf(s *mesh.Snapshot) []Workload {
	out := []Workload{}
	for _, w := range s.Workloads {
		out = append(out, Workload{w.Name, w.ServiceAccount, w.Ports})
	}
	return out
}
