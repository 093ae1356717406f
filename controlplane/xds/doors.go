package xds

import (
	"net/netip"
	"slices"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// door is where this workload's application dials a port of a service.
type door struct {
	// name is that of the listener.
	name      string
	addresses []netip.Addr
	port      uint16
}

// String says everything that listeners for HTTP differ in.
func (d door) String() string {
	text := d.name + " " + strconv.Itoa(int(d.port))
	for _, a := range d.addresses {
		text += " " + a.String()
	}
	return text
}

// doors lists those of a port: one, or where the service is headless and callers
// dial its endpoints, one for each of these. A listener for all of them would be
// made anew with every pod that comes or goes, and take the connections to the
// others with it.
func (b *builder) doors(service mesh.Service, port mesh.ServicePort) []door {
	name := OutboundName(service.Name, port.Port)
	if !b.workload.Captured || !service.Headless {
		return []door{{name, b.workload.AddressesOf(service), port.Port}}
	}
	var out []door
	for _, e := range port.Endpoints {
		w, ok := b.snapshot.Workload(e.Workload)
		// What a workload dials at its own address never leaves it.
		if !ok || w.Name == b.workload.Name {
			continue
		}
		at := w.Addresses
		if len(at) == 0 {
			at = []netip.Addr{w.Address}
		}
		if b.take(netip.AddrPortFrom(at[0], e.Port)) {
			out = append(out, door{name + "|" + e.Address.String() + "|" + strconv.Itoa(int(e.Port)), slices.Clone(at), e.Port})
		}
	}
	return out
}

// take reports whether an endpoint's address is still free. Two headless services
// may have the same pods; the proxy takes one listener for an address, and that is
// the first's.
func (b *builder) take(at netip.AddrPort) bool {
	if b.taken == nil {
		b.taken = map[netip.AddrPort]bool{}
	}
	free := !b.taken[at]
	b.taken[at] = true
	return free
}

// rootCluster names the cluster of a service's own endpoints: that from which the
// proxy chooses one, or that of the one which the application has chosen.
func (b *builder) rootCluster(service mesh.Service, port mesh.ServicePort) string {
	if b.workload.Captured && service.Headless {
		return "dialled|" + service.Name.String() + "|" + strconv.Itoa(int(port.Port))
	}
	return OutboundName(service.Name, port.Port)
}

// dialledCluster reaches the sidecar at the address that was dialled, if it proves
// to be one of those behind the port.
func (b *builder) dialledCluster(port mesh.ServicePort, name string) *clusterv3.Cluster {
	cluster := b.toSidecars(port, name)
	cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
	cluster.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	return cluster
}
