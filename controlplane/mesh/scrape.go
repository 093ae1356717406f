package mesh

import (
	"fmt"
	"net/netip"
	"slices"
)

const (
	// ScrapePort is where a sidecar tells its metrics to the control plane.
	ScrapePort = 15090
	// PrometheusPort is where it tells them to everybody, if it does.
	PrometheusPort = 15091
)

// ScrapeAt is where the sidecar of a workload tells its metrics, at ScrapePort or
// PrometheusPort. It does not, and why says so, where its application has that port,
// or where another workload tells its own at the same address.
func (s *Snapshot) ScrapeAt(w Workload, port uint16) (at netip.AddrPort, why string) {
	if slices.ContainsFunc(w.Ports, func(p WorkloadPort) bool { return p.Port == port }) {
		return netip.AddrPort{}, fmt.Sprintf("its application has port %d, at which the sidecar would tell", port)
	}
	if !w.Captured { // a captured one has its addresses for itself
		first := slices.IndexFunc(s.Workloads, func(o Workload) bool { return o.Address == w.Address })
		if other := s.Workloads[max(first, 0)].Name; other != w.Name {
			return netip.AddrPort{}, "Workload " + other.String() + " has the same address, and tells there"
		}
	}
	return netip.AddrPortFrom(w.Address, port), ""
}
