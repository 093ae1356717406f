// Package xds builds what one sidecar is told: the Envoy resources of a proxy,
// from the snapshot.
//
// Build is pure: the same snapshot and proxy give byte-equal resources. The
// package never knows who is connected, what was sent before or whether it was
// accepted; that is serve's. File names in the resources are relative to the
// directory in which the sidecar starts Envoy, so that no resource depends on a
// machine.
package xds

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// The resource types a sidecar subscribes to.
const (
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	FilterType   = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	RuntimeType  = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
)

// Resources are a proxy's resources: by type, then by name.
type Resources map[string]map[string]proto.Message

func (r Resources) add(typeURL, name string, m proto.Message) {
	if r[typeURL] == nil {
		r[typeURL] = map[string]proto.Message{}
	}
	r[typeURL][name] = m
}

// Settings are what the whole mesh shares besides its objects.
type Settings struct {
	// Module is the digest of the filter module, sha256 in hexadecimal. Empty:
	// there is none yet, and every sidecar denies.
	Module string
	// LeafLifetime is how long a workload's certificate lives. Connections to
	// other sidecars are renewed well before the certificate behind them ends.
	LeafLifetime time.Duration
}

// Build returns the resources of one proxy. A proxy that the snapshot does not
// know gets none: it stops serving.
func Build(s *mesh.Snapshot, proxy mesh.Name, settings Settings) Resources {
	r := Resources{}
	w, ok := s.Workload(proxy)
	if !ok {
		return r
	}
	b := builder{snapshot: s, workload: w, settings: settings, out: r}
	b.outbound()
	b.inbound()
	b.filters()
	b.runtime()
	return r
}

// builder carries the inputs of one Build through its steps.
type builder struct {
	snapshot *mesh.Snapshot
	workload mesh.Workload
	settings Settings
	out      Resources
}

// Table returns the policy at a workload: what is granted to its account.
func Table(s *mesh.Snapshot, w mesh.Workload) *policy.Table {
	return policy.Compile(s.Grants(w.ServiceAccount))
}

// PolicyVersion identifies what decides at a workload, its table and its mode:
// the first 52 bits of a sha256, as a metric's value must survive readers that
// keep numbers as floats.
func PolicyVersion(s *mesh.Snapshot, w mesh.Workload) uint64 {
	return versionOf(Table(s, w).Encode(), w.Mode)
}

func versionOf(table []byte, mode policy.Mode) uint64 {
	h := sha256.New()
	h.Write(table)
	h.Write([]byte{byte(mode)})
	return binary.BigEndian.Uint64(h.Sum(nil)) >> 12
}
