package demo

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// TrustDomain is the authority of all identities in the demo.
const TrustDomain = "wasmesh.local"

// The names that the manifests use. Applications are addressed by their
// Workload's own name, which differs from all others.
const (
	Buyer     = "bookbuyer"
	Thief     = "bookthief"
	StoreOne  = "bookstore-v1"
	StoreTwo  = "bookstore-v2"
	Warehouse = "bookwarehouse"
)

// Bookstore is the service that clients dial, and BookWarehouse the one that
// the stores dial.
var (
	Bookstore     = mesh.Name{Namespace: "bookstore", Name: "bookstore"}
	BookWarehouse = mesh.Name{Namespace: "bookwarehouse", Name: "bookwarehouse"}
)

// clientRate is how many requests per second each client makes.
const clientRate = 10

// member is one of those who play: a workload and what its application does.
type member struct {
	workload mesh.Name
	role     string
}

// cast lists who plays, those who are called first.
func cast() []member {
	in := func(namespace, name, role string) member {
		return member{mesh.Name{Namespace: namespace, Name: name}, role}
	}
	return []member{
		in("bookwarehouse", Warehouse, "warehouse"),
		in("bookstore", StoreOne, "store"),
		in("bookstore", StoreTwo, "store"),
		in("bookbuyer", Buyer, "buyer"),
		in("bookthief", Thief, "thief"),
	}
}

// calls reports whether the member only calls others and serves nobody.
func (m member) calls() bool { return m.role == "buyer" || m.role == "thief" }

// Dial returns the address at which a workload's application dials the first
// port of a service.
func Dial(s *mesh.Snapshot, from, service mesh.Name) (netip.AddrPort, error) {
	w, ok := s.Workload(from)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("the manifests have no usable Workload %s; wasmesh check tells why", from)
	}
	target, ok := s.Service(service)
	if !ok || len(target.Ports) == 0 {
		return netip.AddrPort{}, fmt.Errorf("the manifests have no usable Service %s; wasmesh check tells why", service)
	}
	return netip.AddrPortFrom(w.AddressOf(target), target.Ports[0].Port), nil
}

// arguments are the command line of a member's application.
func (m member) arguments(s *mesh.Snapshot, dir string) ([]string, error) {
	args := []string{"-role", m.role, "-name", m.workload.Name, "-counts", string(countsSocket(dir, m))}
	w, ok := s.Workload(m.workload)
	if !ok {
		return nil, fmt.Errorf("the manifests have no usable Workload %s; wasmesh check tells why", m.workload)
	}
	service, option := BookWarehouse, "-warehouse"
	if m.calls() {
		service, option = Bookstore, "-bookstore"
	}
	if m.role != "warehouse" {
		at, err := Dial(s, m.workload, service)
		if err != nil {
			return nil, err
		}
		args = append(args, option, at.String())
	}
	if m.calls() {
		return append(args, "-rate", strconv.Itoa(clientRate)), nil
	}
	if len(w.Ports) != 1 {
		return nil, fmt.Errorf("the Workload %s has %d usable ports; the demo's application listens on exactly one", m.workload, len(w.Ports))
	}
	return append(args, "-listen", netip.AddrPortFrom(w.Application, w.Ports[0].Port).String()), nil
}

func countsSocket(dir string, m member) Socket {
	return Socket(filepath.Join(dir, m.workload.Name+".counts"))
}
