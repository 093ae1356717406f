package serve

import (
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// next returns what a proxy should have after its next step from current to
// desired; it equals desired once nothing is left to do. A proxy takes a step
// when it has acknowledged the one before:
//
//  1. new and changed clusters and endpoints, and the runtime where it has none:
//     an Envoy that starts asks for nothing else before it has that
//  2. listeners and routes, which may name the new clusters
//  3. what is no longer named goes, and the runtime's switches are set
//
// So no route ever names a cluster that the proxy does not have. A step that
// changes nothing is skipped. Policies are no part of this: they wait for
// nothing and are the same in current and desired.
func next(current, desired xds.Resources) xds.Resources {
	arrived := maps.Clone(current)
	arrived[xds.ClusterType] = union(current[xds.ClusterType], desired[xds.ClusterType])
	arrived[xds.EndpointType] = union(current[xds.EndpointType], desired[xds.EndpointType])
	if len(current[xds.RuntimeType]) == 0 {
		arrived[xds.RuntimeType] = desired[xds.RuntimeType]
	}
	if !equal(current, arrived) {
		return arrived
	}
	switched := maps.Clone(arrived)
	switched[xds.ListenerType] = desired[xds.ListenerType]
	switched[xds.RouteType] = desired[xds.RouteType]
	if !equal(arrived, switched) {
		return switched
	}
	return desired
}

// union has everything of both; desired wins.
func union(current, desired map[string]proto.Message) map[string]proto.Message {
	all := maps.Clone(current)
	if all == nil {
		all = map[string]proto.Message{}
	}
	maps.Copy(all, desired)
	return all
}

func sameMessage(a, b proto.Message) bool { return proto.Equal(a, b) }

func equal(a, b xds.Resources) bool {
	for _, t := range served() {
		if !maps.EqualFunc(a[t], b[t], sameMessage) {
			return false
		}
	}
	return true
}

// changed lists, for each type, the names that b has and a has not, or has
// otherwise: what a proxy must acknowledge before it may go on.
func changed(a, b xds.Resources) map[string]map[string]bool {
	names := map[string]map[string]bool{}
	for _, t := range served() {
		for name, m := range b[t] {
			if old, ok := a[t][name]; !ok || !proto.Equal(old, m) {
				if names[t] == nil {
					names[t] = map[string]bool{}
				}
				names[t][name] = true
			}
		}
	}
	return names
}
