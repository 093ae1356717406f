package network

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Ports gives every port of every Service that has cluster IPs.
func (v View) Ports() []Port {
	var ports []Port
	for _, s := range v.Services {
		for _, text := range s.Spec.ClusterIPs {
			ip, err := netip.ParseAddr(text)
			if err != nil || ip == APIServerIP { // headless; the API server listens there itself
				continue
			}
			for _, p := range s.Spec.Ports {
				ports = append(ports, Port{
					At:       netip.AddrPortFrom(ip, uint16(p.Port)),
					UDP:      p.Protocol == corev1.ProtocolUDP,
					Backends: v.backends(s, p.Name, ip.Is6()),
				})
			}
		}
	}
	return ports
}

// backends gives the ready endpoints of a Service's port; where none is ready,
// those that still serve while they end, as kube-proxy does.
func (v View) backends(s *corev1.Service, port string, v6 bool) []netip.AddrPort {
	var ready, ending []netip.AddrPort
	v.each(s.Namespace, s.Name, v6, func(e discoveryv1.Endpoint, a netip.Addr, slice *discoveryv1.EndpointSlice) {
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name != nil && *p.Name != port {
				continue
			}
			at := netip.AddrPortFrom(a, uint16(*p.Port))
			if isReady(e) {
				ready = append(ready, at)
			} else if c := e.Conditions; c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating {
				ending = append(ending, at)
			}
		}
	})
	if len(ready) == 0 {
		return ending
	}
	return ready
}

// Lookup answers for <service>.<namespace>.svc.cluster.local and, of headless
// Services, <hostname>.<service>.<namespace>.svc.cluster.local.
func (v View) Lookup(name string) ([]netip.Addr, string, bool) {
	labels := strings.Split(strings.TrimSuffix(name, ".svc."+Domain), ".")
	if !strings.HasSuffix(name, ".svc."+Domain) || len(labels) < 2 || len(labels) > 3 {
		return nil, "", false
	}
	host := ""
	if len(labels) == 3 {
		host, labels = labels[0], labels[1:]
	}
	for _, s := range v.Services {
		if s.Name != labels[0] || s.Namespace != labels[1] {
			continue
		}
		switch {
		case s.Spec.Type == corev1.ServiceTypeExternalName:
			return nil, strings.TrimSuffix(s.Spec.ExternalName, "."), host == ""
		case s.Spec.ClusterIP == corev1.ClusterIPNone:
			return v.headless(s, host)
		case host != "":
			return nil, "", false
		}
		var addresses []netip.Addr
		for _, text := range s.Spec.ClusterIPs {
			if a, err := netip.ParseAddr(text); err == nil {
				addresses = append(addresses, a)
			}
		}
		return addresses, "", true
	}
	return nil, "", false
}

func (v View) headless(s *corev1.Service, host string) (addresses []netip.Addr, alias string, found bool) {
	for _, v6 := range []bool{false, true} {
		v.each(s.Namespace, s.Name, v6, func(e discoveryv1.Endpoint, a netip.Addr, _ *discoveryv1.EndpointSlice) {
			named := e.Hostname != nil && *e.Hostname == host
			if (host == "" || named) && (isReady(e) || s.Spec.PublishNotReadyAddresses) {
				addresses = append(addresses, a)
			}
		})
	}
	return addresses, "", host == "" || len(addresses) > 0
}

func (v View) each(namespace, service string, v6 bool, f func(discoveryv1.Endpoint, netip.Addr, *discoveryv1.EndpointSlice)) {
	for _, slice := range v.Slices {
		if slice.Namespace != namespace || slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, e := range slice.Endpoints {
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil && a.Is6() == v6 {
					f(e, a, slice)
				}
			}
		}
	}
}

func isReady(e discoveryv1.Endpoint) bool {
	return e.Conditions.Ready == nil || *e.Conditions.Ready
}
