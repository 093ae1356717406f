package serve

import (
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// res makes resources from words such as "cluster:a=1": type, name, content.
func res(words string) xds.Resources {
	r := xds.Resources{}
	for _, word := range strings.Fields(words) {
		short, rest, _ := strings.Cut(word, ":")
		name, content, _ := strings.Cut(rest, "=")
		t := map[string]string{
			"cluster": xds.ClusterType, "endpoint": xds.EndpointType, "listener": xds.ListenerType,
			"route": xds.RouteType, "filter": xds.FilterType, "runtime": xds.RuntimeType,
		}[short]
		if r[t] == nil {
			r[t] = map[string]proto.Message{}
		}
		r[t][name] = &clusterv3.Cluster{Name: name, AltStatName: content}
	}
	return r
}

func TestNextAddsThenSwitchesThenRemoves(t *testing.T) {
	current := res("cluster:old=1 endpoint:old=1 listener:l=1 route:r=old")
	desired := res("cluster:new=1 endpoint:new=1 listener:l=2 route:r=new")
	want := []xds.Resources{
		res("cluster:old=1 cluster:new=1 endpoint:old=1 endpoint:new=1 listener:l=1 route:r=old"),
		res("cluster:old=1 cluster:new=1 endpoint:old=1 endpoint:new=1 listener:l=2 route:r=new"),
		desired,
	}
	for i, w := range want {
		current = next(current, desired)
		if !equal(current, w) {
			t.Fatalf("step %d: got %v, want %v", i+1, current, w)
		}
	}
	if again := next(current, desired); !equal(again, desired) {
		t.Errorf("a settled proxy moves on to %v", again)
	}
}

func TestNextSkipsStepsThatChangeNothing(t *testing.T) {
	current := res("cluster:a=1 endpoint:a=1 route:r=50")
	desired := res("cluster:a=1 endpoint:a=1 route:r=90")
	if got := next(current, desired); !equal(got, desired) {
		t.Errorf("a split edit needs one step, got %v", got)
	}
}

func TestNextLeavesItsInputsAlone(t *testing.T) {
	current, desired := res("cluster:a=1 route:r=1"), res("cluster:b=1 route:r=2")
	next(current, desired)
	if !equal(current, res("cluster:a=1 route:r=1")) || !equal(desired, res("cluster:b=1 route:r=2")) {
		t.Error("next wrote to what it was given")
	}
}

func TestChangedNamesWhatMustBeAcknowledged(t *testing.T) {
	got := changed(res("cluster:a=1 cluster:b=1 cluster:gone=1"), res("cluster:a=1 cluster:b=2 cluster:c=1"))
	if names := got[xds.ClusterType]; len(names) != 2 || !names["b"] || !names["c"] {
		t.Errorf("got %v, want b and c", got)
	}
}

// An Envoy that connected before its workload was known waits for its runtime,
// and asks for nothing else until it has that.
func TestNextGivesTheFirstRuntimeAtOnce(t *testing.T) {
	desired := res("cluster:a=1 endpoint:a=1 listener:l=1 runtime:r=1")
	if got := next(xds.Resources{}, desired); len(got[xds.RuntimeType]) != 1 || len(got[xds.ListenerType]) != 0 {
		t.Errorf("the first step is %v", got)
	}
	changed := res("cluster:a=2 endpoint:a=1 listener:l=1 runtime:r=2")
	if got := next(desired, changed); !equal(xds.Resources{xds.RuntimeType: got[xds.RuntimeType]}, res("runtime:r=1")) {
		t.Errorf("a later switch came before what it builds on: %v", got)
	}
}
