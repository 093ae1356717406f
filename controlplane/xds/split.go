package xds

import (
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// share is one destination of a port by the name of its cluster, with its
// relative weight.
type share struct {
	cluster string
	weight  uint32
}

// routeTable is that of one port of a service: the matches of conditional splits
// in their order, then everything else (smi-rules 73 to 78). mesh.Snapshot.Route
// says the same for one request. root is the
// cluster of what no split takes.
func routeTable(s *mesh.Snapshot, service mesh.Service, port mesh.ServicePort, name, root string) *routev3.RouteConfiguration {
	rest := []share{{cluster: root, weight: 1}}
	if split := backends(s, service.Name, port.Port); split != nil {
		rest = split
	}
	table := routeConfiguration(name, routed(rest))
	var conditional []*routev3.Route
	for _, split := range s.SplitsAt(service.Name, port.Port) {
		for _, c := range split.Conditions {
			conditional = append(conditional, &routev3.Route{
				Name:   split.Name.String() + " " + c.Match.Name,
				Match:  routeMatch(c),
				Action: &routev3.Route_Route{Route: routed(shares(split, port.Port))},
			})
		}
	}
	host := table.GetVirtualHosts()[0]
	host.RequestBodyBufferLimit = wrapperspb.UInt64(heldBody)
	host.ResponseHeadersToRemove = []string{unreached}
	host.Routes = append(conditional, host.GetRoutes()...)
	return table
}

// backends returns the shares of the split without conditions that has the
// service as its root, nil if none applies to the port. The root as its own
// backend is its own endpoints, and a backend that is itself a root is not split
// again (smi-rules 69, 70).
func backends(s *mesh.Snapshot, root mesh.Name, port uint16) []share {
	for _, split := range s.SplitsAt(root, port) {
		if !split.Conditional {
			return shares(split, port)
		}
	}
	return nil
}

func shares(split mesh.Split, port uint16) []share {
	var out []share
	for _, backend := range split.Backends {
		out = append(out, share{OutboundName(backend.Service, port), backend.Weight})
	}
	return out
}

// routed is the action that spreads requests over shares.
func routed(shares []share) *routev3.RouteAction {
	// The mesh sets no deadline of its own.
	action := &routev3.RouteAction{Timeout: durationpb.New(0), RetryPolicy: elsewhere()}
	if len(shares) == 1 {
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: shares[0].cluster}
		return action
	}
	weighted := &routev3.WeightedCluster{}
	for _, s := range shares {
		weighted.Clusters = append(weighted.Clusters, &routev3.WeightedCluster_ClusterWeight{
			Name:   s.cluster,
			Weight: wrapperspb.UInt32(s.weight),
		})
	}
	action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted}
	return action
}

// routeMatch is a condition in the proxy's words (smi-rules 76).
func routeMatch(c mesh.Condition) *routev3.RouteMatch {
	m := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	if c.Path != "" {
		m.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: c.Path}}
	}
	if len(c.Match.Methods) > 0 {
		m.Headers = append(m.Headers, headerMatcher(":method", alternatives(c.Match.Methods)))
	}
	for _, h := range c.Headers {
		name := h.Name
		if name == "host" { // smi-rules 47
			name = ":authority"
		}
		m.Headers = append(m.Headers, headerMatcher(name, h.Value))
	}
	return m
}

// headerMatcher describes the whole value of a header that has to be there.
func headerMatcher(name, expr string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name: name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: expr}},
		}},
	}
}

// alternatives describes any of the words.
func alternatives(words []string) string {
	quoted := make([]string, 0, len(words))
	for _, w := range words {
		quoted = append(quoted, regexp.QuoteMeta(w))
	}
	return strings.Join(quoted, "|")
}
