package xds

import (
	"maps"
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// opaqueShop has an opaque port beside the shop's.
func opaqueShop() *mesh.Snapshot {
	s := shop()
	s.Services = append(s.Services, mesh.Service{Name: name("shop/vault"), Offset: 0x0104, Ports: []mesh.ServicePort{{Port: 5432, Protocol: mesh.TCP,
		Endpoints: slices.Clone(s.Services[0].Ports[0].Endpoints)}}})
	s.Access[0].Grants[0].Connections = true
	return s
}

// Who is granted nothing gets no cluster and no endpoint, the same listeners for
// HTTP as everybody, and answers by itself.
func TestScope(t *testing.T) {
	granted := Build(opaqueShop(), name("shop/caller"), settings())
	s := opaqueShop()
	s.Access[0].Grants[0].Sources = []string{"spiffe://test/ns/shop/sa/somebody"}
	barred := Build(s, name("shop/caller"), settings())
	if n := len(granted[ClusterType]); n != 3 || len(granted[EndpointType]) != n {
		t.Errorf("granted: %d clusters, %d endpoints, want 3: the root is split away", n, len(granted[EndpointType]))
	}
	if len(barred[ClusterType]) != 0 || len(barred[EndpointType]) != 0 {
		t.Errorf("barred: clusters %v, endpoints %v", slices.Collect(maps.Keys(barred[ClusterType])), slices.Collect(maps.Keys(barred[EndpointType])))
	}
	if text := everything(barred); strings.Contains(text, "127.10.0.") || strings.Contains(text, "sa/store") {
		t.Error("barred: the sidecar is told addresses or identities")
	}
	for n, m := range barred[ListenerType] {
		same, opaque := proto.Equal(m, granted[ListenerType][n]), n == OutboundName(name("shop/vault"), 5432)
		if same == opaque {
			t.Errorf("%s: the same as with a grant is %v", n, same)
		}
		if err := m.(*listenerv3.Listener).ValidateAll(); err != nil {
			t.Error(err)
		}
	}
	for n, m := range barred[RouteType] {
		answer := m.(*routev3.RouteConfiguration).GetVirtualHosts()[0].GetRoutes()[0].GetDirectResponse()
		if answer.GetStatus() != 403 || answer.GetBody().GetInlineString() != policy.Refusal {
			t.Errorf("%s answers %v", n, answer)
		}
	}
}

// What others are granted is nobody else's news.
func TestScopeIsNotOthersBusiness(t *testing.T) {
	s := opaqueShop()
	s.Access = nil
	nothing := Build(s, name("shop/caller"), settings())
	s = opaqueShop()
	s.Access[0].Grants[0].Sources = []string{"spiffe://test/ns/shop/sa/somebody"}
	others := Build(s, name("shop/caller"), settings())
	for typeURL := range others {
		if !maps.EqualFunc(nothing[typeURL], others[typeURL], proto.Equal) {
			t.Errorf("%s changed", typeURL)
		}
	}
}

// Nobody behind a port is a fault and no refusal.
func TestNobodyIsThere(t *testing.T) {
	s := opaqueShop()
	for i := range s.Services {
		s.Services[i].Ports[0].Endpoints = nil
	}
	r := Build(s, name("shop/caller"), settings())
	for n, m := range r[RouteType] {
		if status := m.(*routev3.RouteConfiguration).GetVirtualHosts()[0].GetRoutes()[0].GetDirectResponse().GetStatus(); status != 503 {
			t.Errorf("%s answers %d", n, status)
		}
	}
	if log := r[ListenerType][OutboundName(name("shop/vault"), 5432)].(*listenerv3.Listener).GetAccessLog(); len(log) != 0 {
		t.Errorf("it is counted as refused: %v", log)
	}
}

// What did not change is the very same message, in any order of builds.
func TestMessagesAreKept(t *testing.T) {
	first := Prepare(opaqueShop(), settings(), nil)
	before := first.Build(name("shop/caller"))
	edited := opaqueShop()
	edited.Splits[0].Backends[0].Weight = 51
	second := Prepare(edited, settings(), first)
	for n, m := range second.Build(name("shop/store-v1"))[ListenerType] {
		if !proto.Equal(m, Build(edited, name("shop/store-v1"), settings())[ListenerType][n]) {
			t.Errorf("shop/store-v1 is given another's %s", n)
		}
	}
	after := second.Build(name("shop/caller"))
	n := 0
	for typeURL, byName := range after {
		for resource, m := range byName {
			same := m == before[typeURL][resource]
			if split := typeURL == RouteType && resource == OutboundName(name("shop/store"), 8080); same == split {
				t.Errorf("%s %s: the same is %v", typeURL, resource, same)
			}
			if fresh := Build(edited, name("shop/caller"), settings())[typeURL][resource]; !proto.Equal(m, fresh) {
				t.Errorf("%s %s is not what it would be without the one before", typeURL, resource)
			}
			n++
		}
	}
	if n < 12 {
		t.Errorf("only %d messages were compared", n)
	}
}

func everything(r Resources) string {
	var b strings.Builder
	for _, typeURL := range []string{ClusterType, EndpointType, ListenerType, RouteType, FilterType} {
		for _, m := range r[typeURL] {
			b.WriteString(prototext.Format(m))
		}
	}
	return b.String()
}
