package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	scrapeName     = "scrape"
	prometheusName = "prometheus"
	// scrapePath is the one path of Envoy's admin interface that is shown.
	scrapePath = "/stats/prometheus"
	// adminSocket is where that interface is; the sidecar has the same.
	adminSocket = "./admin.sock"
)

// scrape makes the listeners at which the metrics are read: by one identity, and by
// everybody where the mesh says so. Every other request would reach an interface that
// can end the process: method and path are matched whole.
func (b *builder) scrape() {
	before := len(b.out[ListenerType])
	if b.settings.Scraper != "" {
		b.tell(scrapeName, mesh.ScrapePort, downstreamOf(&matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: b.settings.Scraper},
		}))
	}
	if b.settings.PlaintextMetrics {
		b.tell(prometheusName, mesh.PrometheusPort, nil)
	}
	if len(b.out[ListenerType]) > before {
		b.out.add(ClusterType, scrapeName, b.mesh.fixed(ClusterType, scrapeName, adminCluster))
	}
}

// tell adds a listener for metrics; without TLS it takes everybody.
func (b *builder) tell(name string, port uint16, tls *corev3.TransportSocket) {
	if _, why := b.snapshot.ScrapeAt(b.workload, port); why != "" {
		return
	}
	manager := connectionManager(name)
	manager.CodecType = hcmv3.HttpConnectionManager_HTTP1
	manager.UpgradeConfigs = nil
	manager.HttpFilters = []*hcmv3.HttpFilter{routerFilter()}
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: scrapeRoute()}
	// It has no direction: a sidecar with an inbound listener is not ready before the
	// policy runs, and here no policy is asked.
	listener := &listenerv3.Listener{
		Name:            name,
		EnableReusePort: wrapperspb.Bool(false),
		FilterChains: []*listenerv3.FilterChain{{
			Name:                          "metrics",
			TransportSocket:               tls,
			TransportSocketConnectTimeout: durationpb.New(connectTimeout),
			Filters:                       []*listenerv3.Filter{networkFilter("envoy.filters.network.http_connection_manager", manager)},
		}},
	}
	b.listenAt(listener, b.dialledAt(), port)
	b.add(ListenerType, name, listener)
}

func scrapeRoute() *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{
		Name: scrapeName,
		VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
			Match: &routev3.RouteMatch{
				PathSpecifier: &routev3.RouteMatch_Path{Path: scrapePath},
				Headers: []*routev3.HeaderMatcher{{
					Name: ":method", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
						MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "GET"},
					}},
				}},
			},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: scrapeName},
			}},
		}}}},
	}
}

func adminCluster() proto.Message {
	return oneEndpoint(scrapeName, &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: adminSocket}}})
}
