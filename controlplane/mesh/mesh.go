// Package mesh is the snapshot: everything the mesh knows at one moment, as
// plain values that no one changes after they were made.
//
// It holds names, addresses, grants and splits that smi has already resolved,
// so that xds only has to look things up. It says which split a request meets,
// never whether the request may pass; it never reads a manifest and never does
// I/O.
package mesh

import (
	"net/netip"
	"sort"
	"strings"

	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// Name is a namespaced object name.
type Name struct {
	Namespace string
	Name      string
}

// String returns "namespace/name", or the name alone where an object is in no
// namespace.
func (n Name) String() string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "/" + n.Name
}

// ParseName reads "namespace/name"; both parts must be there.
func ParseName(s string) (Name, bool) {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return Name{}, false
	}
	return Name{namespace, name}, true
}

// Compare orders names by namespace, then by name.
func (n Name) Compare(o Name) int {
	if c := strings.Compare(n.Namespace, o.Namespace); c != 0 {
		return c
	}
	return strings.Compare(n.Name, o.Name)
}

// SPIFFEID returns the identity of a service account, as SPIFFE writes it:
// spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
func SPIFFEID(trustDomain string, serviceAccount Name) string {
	return SPIFFEPrefix(trustDomain) + serviceAccount.Namespace + "/sa/" + serviceAccount.Name
}

// SPIFFEPrefix is how the identity of every service account of a trust domain
// begins. It is no identity itself: one that may connect only to it, connects
// to nobody.
func SPIFFEPrefix(trustDomain string) string { return "spiffe://" + trustDomain + "/ns/" }

// ParseSPIFFEID reads what SPIFFEID wrote. Another trust domain, and names that
// no manifest can hold, are refused.
func ParseSPIFFEID(trustDomain, id string) (serviceAccount Name, ok bool) {
	rest, ours := strings.CutPrefix(id, SPIFFEPrefix(trustDomain))
	namespace, name, ok := strings.Cut(rest, "/sa/")
	if !ours || !ok || !identity.IsDNSLabel(namespace) || !identity.IsDNSName(name) {
		return Name{}, false
	}
	return Name{namespace, name}, true
}

// Protocol is how a port's bytes are read.
type Protocol string

// The protocols of a port. Anything that is not HTTP is opaque.
const (
	HTTP1 Protocol = "http"
	HTTP2 Protocol = "http2"
	TCP   Protocol = "tcp"
)

// Opaque reports whether nothing of the bytes can be understood, so that only
// whole connections can be granted and spread.
func (p Protocol) Opaque() bool { return p == TCP }

// Snapshot is the whole mesh. Splits are sorted by age, everything else by
// name, so that two snapshots of the same objects are equal.
type Snapshot struct {
	TrustDomain string
	Services    []Service
	Workloads   []Workload
	Access      []Access
	Splits      []Split
}

// Service is a name that callers dial, with the endpoints behind each port.
type Service struct {
	Name  Name
	Ports []ServicePort
	// Addresses are those at which redirected callers dial the service: its cluster
	// IPs, at most one of each family. A headless service has none.
	Addresses []netip.Addr
	// Headless: callers choose an endpoint themselves and dial its own address.
	Headless bool
	// Offset is the host part of the service's address in the loopback network
	// of every workload; see Workload.AddressOf.
	Offset uint16
}

// ServicePort is one port of a service. Endpoints are sorted by workload.
type ServicePort struct {
	Port      uint16
	Name      string
	Protocol  Protocol
	Endpoints []Endpoint
}

// Endpoint is one workload's port that stands behind a service port.
type Endpoint struct {
	Workload       Name
	ServiceAccount Name
	// Address and Port are where the workload's sidecar accepts mesh traffic.
	// Port equals the container port (smi-rules 29).
	Address netip.Addr
	Port    uint16
}

// The kinds of object that a workload can come from, as its certificate names
// them.
const (
	KindWorkload = "workload"
	KindPod      = "pod"
)

// Workload is one instance of an application with a sidecar beside it.
type Workload struct {
	Name           Name
	ServiceAccount Name
	// Kind is KindWorkload or KindPod. Who proves to be one is never the other.
	Kind string
	// Owner is the object that a pod is an instance of, for metrics; it may say nothing.
	Owner identity.Owner
	// Captured: its connections are redirected to its sidecar, both ways. Callers
	// then dial the addresses of services themselves, and Loopback is unused.
	Captured bool
	// Address is where the sidecar accepts connections from other sidecars.
	Address netip.Addr
	// Addresses are all that a captured workload is dialled at, at most one of each
	// family, Address first.
	Addresses []netip.Addr
	// Application is where the sidecar finds the application itself.
	Application netip.Addr
	// Loopback is the /16 network inside 127.0.0.0/8 in which this sidecar gives
	// every service an address of its own.
	Loopback netip.Prefix
	Ports    []WorkloadPort
	// Mode is what its namespace does with what the policy does not allow.
	Mode policy.Mode
	// Grace lets callers without a sidecar in: plaintext, about which the policy
	// cannot say anything, passes unasked (smi-rules 35).
	Grace bool
	// Filters are what requests pass before the policy judges them, in this order.
	Filters []Filter
}

// Metered is what metrics call the workload.
func (w Workload) Metered() identity.Workload {
	kind := w.Kind
	if kind == "" {
		kind = KindWorkload
	}
	return identity.WorkloadOf(identity.Label{Namespace: w.Name.Namespace, Kind: kind, Name: w.Name.Name}, w.Owner)
}

// WorkloadPort is a port the application listens on: the container port.
type WorkloadPort struct {
	Port     uint16
	Name     string
	Protocol Protocol
}

// AddressOf returns the address at which this workload's application dials s.
func (w Workload) AddressOf(s Service) netip.Addr {
	a := w.Loopback.Addr().As4()
	a[2], a[3] = byte(s.Offset>>8), byte(s.Offset)
	return netip.AddrFrom4(a)
}

// AddressesOf returns every address at which this workload's application dials
// s. A captured one has those of the service itself.
func (w Workload) AddressesOf(s Service) []netip.Addr {
	if w.Captured {
		return s.Addresses
	}
	return []netip.Addr{w.AddressOf(s)}
}

// Access is everything granted at the workloads of one service account.
type Access struct {
	ServiceAccount Name
	Grants         []policy.Grant
}

// Service returns the service of that name.
func (s *Snapshot) Service(n Name) (Service, bool) {
	i := sort.Search(len(s.Services), func(i int) bool { return s.Services[i].Name.Compare(n) >= 0 })
	if i < len(s.Services) && s.Services[i].Name == n {
		return s.Services[i], true
	}
	return Service{}, false
}

// Workload returns the workload of that name.
func (s *Snapshot) Workload(n Name) (Workload, bool) {
	i := sort.Search(len(s.Workloads), func(i int) bool { return s.Workloads[i].Name.Compare(n) >= 0 })
	if i < len(s.Workloads) && s.Workloads[i].Name == n {
		return s.Workloads[i], true
	}
	return Workload{}, false
}

// Grants returns what is granted at the workloads of a service account; none
// means that every request is refused.
func (s *Snapshot) Grants(serviceAccount Name) []policy.Grant {
	i := sort.Search(len(s.Access), func(i int) bool { return s.Access[i].ServiceAccount.Compare(serviceAccount) >= 0 })
	if i < len(s.Access) && s.Access[i].ServiceAccount == serviceAccount {
		return s.Access[i].Grants
	}
	return nil
}
