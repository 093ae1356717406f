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
	"net/netip"
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
	// Scraper is the SPIFFE ID that may read a sidecar's metrics; empty: nobody may.
	Scraper string
	// AccessLog is the share of requests and connections that sidecars log, in
	// percent; 0: they log nothing. Like Tracing it is the same for all the life of a
	// control plane: listeners are kept from one Mesh to the next.
	AccessLog float64
	// Tracing is where sidecars tell of requests.
	Tracing Tracing
	// PlaintextMetrics: everybody who reaches a workload's address may.
	PlaintextMetrics bool
	// Filters are those of users that can run.
	Filters map[mesh.Name]Attached
}

// Build returns the resources of one proxy. A proxy that the snapshot does not
// know gets none: it stops serving.
func Build(s *mesh.Snapshot, proxy mesh.Name, settings Settings) Resources {
	return Prepare(s, settings, nil).Build(proxy)
}

// Mesh builds the resources of all proxies of one snapshot, each message that
// proxies share once. It belongs to one goroutine.
type Mesh struct {
	snapshot *mesh.Snapshot
	settings Settings
	scope    *mesh.Scope
	tables   map[mesh.Name][]byte
	// kept and before are the messages of this Mesh and of the one before it.
	kept, before map[resourceKey]proto.Message
}

// resourceKey names a message; proxy is empty for one that proxies share.
type resourceKey struct {
	proxy         mesh.Name
	typeURL, name string
}

// Prepare returns what builds the proxies of s. before, if not nil, is what built
// them last: a message that is the same again is then the very same value, so
// that to compare two builds costs little where little changed.
func Prepare(s *mesh.Snapshot, settings Settings, before *Mesh) *Mesh {
	m := &Mesh{
		snapshot: s, settings: settings, scope: s.Scope(),
		tables: map[mesh.Name][]byte{}, kept: map[resourceKey]proto.Message{},
	}
	if before != nil {
		m.before = before.kept
	}
	return m
}

// Build returns the resources of one proxy.
func (m *Mesh) Build(proxy mesh.Name) Resources {
	r := Resources{}
	w, ok := m.snapshot.Workload(proxy)
	if !ok {
		return r
	}
	b := builder{mesh: m, snapshot: m.snapshot, workload: w, settings: m.settings, out: r}
	if w.Captured {
		b.capture()
	}
	b.collector()
	b.outbound()
	b.inbound()
	b.filters()
	b.scrape()
	b.runtime()
	return r
}

// keep returns the message of the Mesh before where it is the same.
func (m *Mesh) keep(key resourceKey, made proto.Message) proto.Message {
	if old, ok := m.before[key]; ok && proto.Equal(old, made) {
		made = old
	}
	m.kept[key] = made
	return made
}

// share returns a message that all proxies get alike.
func (m *Mesh) share(typeURL, name string, build func() proto.Message) proto.Message {
	key := resourceKey{typeURL: typeURL, name: name}
	if made, ok := m.kept[key]; ok {
		return made
	}
	return m.keep(key, build())
}

// fixed returns a message that its name says everything about: it is not made
// again where the Mesh before had it.
func (m *Mesh) fixed(typeURL, name string, build func() proto.Message) proto.Message {
	key := resourceKey{typeURL: typeURL, name: name}
	made, ok := m.kept[key]
	if !ok {
		if made, ok = m.before[key]; !ok {
			made = build()
		}
		m.kept[key] = made
	}
	return made
}

// table returns the policy at the workloads of an account, encoded.
func (m *Mesh) table(account mesh.Name) []byte {
	encoded, ok := m.tables[account]
	if !ok {
		encoded = m.scope.Table(account).Encode()
		m.tables[account] = encoded
	}
	return encoded
}

// builder carries the inputs of one Build through its steps.
type builder struct {
	mesh     *Mesh
	snapshot *mesh.Snapshot
	workload mesh.Workload
	settings Settings
	out      Resources
	// taken are the endpoints at which a listener stands already.
	taken map[netip.AddrPort]bool
}

// add puts a resource of this proxy alone into what is built.
func (b *builder) add(typeURL, name string, made proto.Message) {
	key := resourceKey{proxy: b.workload.Name, typeURL: typeURL, name: name}
	b.out.add(typeURL, name, b.mesh.keep(key, made))
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
