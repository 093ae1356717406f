package xds

import (
	"net/netip"
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// The ports to which the connections of a captured workload are redirected: those
// of its applications, and those of others to it. injector/redirect has the same.
const (
	outboundPort = 15001
	inboundPort  = 15006
)

// The listeners at those ports, and the clusters of what passes through them.
const (
	outboundName = "outbound"
	inboundName  = "inbound"
	// passThrough is where applications get what is not of the mesh, passInbound
	// how ports that the mesh knows nothing of are reached under grace.
	passThrough = "passthrough"
	passInbound = "passthrough|inbound"
)

// The addresses from which a captured workload's sidecar dials its application.
// By them the redirection tells it from a sidecar that dials its own workload as
// one endpoint of a service; injector/redirect has the same.
const (
	inside4 = "127.0.0.6"
	inside6 = "::1"
)

// capture makes the two listeners that take every redirected connection and hand
// it to the one at its original destination. What has none is theirs: going out
// it passes through, coming in it is closed. No policy has a say in them.
func (b *builder) capture() {
	b.add(ListenerType, outboundName, b.capturedOutbound())
	b.add(ListenerType, inboundName, b.capturedInbound())
	b.add(ClusterType, passThrough, passing(passThrough, nil))
	if b.workload.Grace {
		b.add(ClusterType, passInbound, passing(passInbound, fromInside()))
	}
}

// capturedOutbound listens on loopback only: nobody outside has business there.
func (b *builder) capturedOutbound() *listenerv3.Listener {
	l := redirected(outboundName, corev3.TrafficDirection_OUTBOUND)
	setAddresses(l, b.eachFamily("127.0.0.1", "::1"), outboundPort)
	l.FilterChains = []*listenerv3.FilterChain{b.loop(outboundPort), b.loop(inboundPort)}
	l.DefaultFilterChain = &listenerv3.FilterChain{
		Name: "elsewhere", Filters: []*listenerv3.Filter{networkFilter(tcpProxyName, toCluster(passThrough))},
	}
	return l
}

// capturedInbound listens everywhere, as connections from inside and outside are
// redirected to different addresses. Under grace it passes on what was meant for
// this workload, and nothing else: it must not dial for strangers.
func (b *builder) capturedInbound() *listenerv3.Listener {
	l := redirected(inboundName, corev3.TrafficDirection_INBOUND)
	setAddresses(l, b.eachFamily("0.0.0.0", "::"), inboundPort)
	l.FilterChains = []*listenerv3.FilterChain{b.loop(inboundPort), b.loop(outboundPort)}
	l.DefaultFilterChain = &listenerv3.FilterChain{Name: "unknown", Filters: []*listenerv3.Filter{hangUp()}}
	if b.workload.Grace {
		l.FilterChains = append(l.FilterChains, &listenerv3.FilterChain{
			Name:             "plaintext",
			FilterChainMatch: &listenerv3.FilterChainMatch{PrefixRanges: exactly(b.workload.Addresses)},
			Filters:          []*listenerv3.Filter{networkFilter(tcpProxyName, toCluster(passInbound))},
		})
		return l
	}
	l.AccessLog = append(b.logUnknown(), counter(b.workload.Name.String(), string(policy.ReasonPort)))
	return l
}

func redirected(name string, direction corev3.TrafficDirection) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:             name,
		TrafficDirection: direction,
		UseOriginalDst:   wrapperspb.Bool(true),
		EnableReusePort:  wrapperspb.Bool(false),
	}
}

// loop closes connections that were dialled to one of the two listeners itself,
// and would be passed on to it without end.
func (b *builder) loop(port uint32) *listenerv3.FilterChain {
	own := append(exactly(b.workload.Addresses), cidr("127.0.0.0", 8), cidr("::1", 128))
	return &listenerv3.FilterChain{
		Name:             "loop|" + strconv.Itoa(int(port)),
		FilterChainMatch: &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(port), PrefixRanges: own},
		Filters:          []*listenerv3.Filter{hangUp()},
	}
}

// passing is a cluster of whatever address a connection was meant for.
func passing(name string, from *corev3.BindConfig) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:       durationpb.New(connectTimeout),
		UpstreamBindConfig:   from,
	}
}

// fromInside binds what a sidecar dials to the addresses that say so.
func fromInside() *corev3.BindConfig {
	socket := func(ip string) *corev3.SocketAddress {
		return address(netip.MustParseAddr(ip), 0).GetSocketAddress()
	}
	return &corev3.BindConfig{
		SourceAddress:        socket(inside4),
		ExtraSourceAddresses: []*corev3.ExtraSourceAddress{{Address: socket(inside6)}},
	}
}

// listenAt puts a listener at one port of some addresses. That of a captured
// workload opens no socket: it is handed what was redirected.
func (b *builder) listenAt(l *listenerv3.Listener, at []netip.Addr, port uint16) {
	setAddresses(l, at, port)
	if b.workload.Captured {
		l.BindToPort = wrapperspb.Bool(false)
	}
}

func setAddresses(l *listenerv3.Listener, at []netip.Addr, port uint16) {
	for i, a := range at {
		if i == 0 {
			l.Address = address(a, port)
			continue
		}
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: address(a, port)})
	}
}

// eachFamily is the one address or both, as the workload has them itself: where
// the machine has no IPv6, Envoy cannot listen on it.
func (b *builder) eachFamily(four, six string) []netip.Addr {
	var out []netip.Addr
	for _, a := range b.workload.Addresses {
		if a.Is4() {
			out = append(out, netip.MustParseAddr(four))
		} else {
			out = append(out, netip.MustParseAddr(six))
		}
	}
	return out
}

// dialledAt is where others dial this workload.
func (b *builder) dialledAt() []netip.Addr {
	if b.workload.Captured {
		return b.workload.Addresses
	}
	return []netip.Addr{b.workload.Address}
}

func exactly(addresses []netip.Addr) []*corev3.CidrRange {
	var out []*corev3.CidrRange
	for _, a := range addresses {
		out = append(out, cidr(a.String(), uint32(a.BitLen())))
	}
	return out
}

func cidr(prefix string, bits uint32) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: prefix, PrefixLen: wrapperspb.UInt32(bits)}
}
