package xds

import (
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/filters/policy"
)

const stdoutType = "StdoutAccessLog"

// loggers is how many of a listener's filter chains log to standard output, and how
// many chains of it there are that carry traffic.
func loggers(t *testing.T, l *listenerv3.Listener) (logging, carrying int) {
	t.Helper()
	chains := l.GetFilterChains()
	if l.GetDefaultFilterChain() != nil {
		chains = append(chains, l.GetDefaultFilterChain())
	}
	for _, chain := range chains {
		last := chain.GetFilters()[len(chain.GetFilters())-1]
		var proxy tcpproxyv3.TcpProxy
		switch {
		case last.GetTypedConfig().UnmarshalTo(&proxy) == nil:
			for _, log := range proxy.GetAccessLog() {
				if strings.HasSuffix(log.GetTypedConfig().GetTypeUrl(), stdoutType) {
					logging++
				}
			}
			carrying++
		case strings.HasSuffix(last.GetTypedConfig().GetTypeUrl(), "HttpConnectionManager"):
			carrying++
		}
	}
	for _, manager := range managers(t, l) {
		for _, log := range manager.GetAccessLog() {
			if strings.HasSuffix(log.GetTypedConfig().GetTypeUrl(), stdoutType) {
				logging++
			}
		}
	}
	return logging, carrying
}

// TestEverythingIsLoggedOrNothing: each chain that carries the mesh's traffic has one
// logger where logs are on, whatever the protocol and with grace too, and none where
// they are off.
func TestEverythingIsLoggedOrNothing(t *testing.T) {
	for _, percent := range []float64{0, 0.5} {
		for _, grace := range []bool{false, true} {
			s := opaqueShop()
			for i := range s.Workloads {
				s.Workloads[i].Grace = grace
			}
			on := settings()
			on.AccessLog = percent
			found := 0
			for _, w := range s.Workloads {
				for n, m := range Build(s, w.Name, on)[ListenerType] {
					l := m.(*listenerv3.Listener)
					if err := l.ValidateAll(); err != nil {
						t.Error(err)
					}
					logging, carrying := loggers(t, l)
					if want := map[bool]int{true: carrying}[percent > 0]; logging != want {
						t.Errorf("%v %%, grace %v: %s at %s has %d loggers, want %d", percent, grace, n, w.Name, logging, want)
					}
					found += carrying
				}
			}
			if found < 4 {
				t.Errorf("only %d chains looked at", found)
			}
		}
	}
}

// TestAShareReplacesNoListener: another share is another value of the runtime, and
// no connection notices.
func TestAShareReplacesNoListener(t *testing.T) {
	build := func(percent float64) Resources {
		on := settings()
		on.AccessLog = percent
		return Build(shop(), name("shop/store-v1"), on)
	}
	few, all := build(1), build(100)
	for typeURL, byName := range few {
		for n, m := range byName {
			if same := proto.Equal(m, all[typeURL][n]); same == (typeURL == RuntimeType) {
				t.Errorf("%s %s: equal %v", typeURL, n, same)
			}
		}
	}
	if text := everything(build(0)) + build(0)[RuntimeType][RuntimeLayer].(*runtimev3.Runtime).String(); strings.Contains(text, accessLogKey) || strings.Contains(text, stdoutType) {
		t.Error("something is left where nothing is logged")
	}
}

// TestNoHeaderIsLogged: of a request's headers the method, the path and the id.
func TestNoHeaderIsLogged(t *testing.T) {
	on := settings()
	on.AccessLog = 100
	b := builder{mesh: Prepare(shop(), on, nil), snapshot: shop(), settings: on}
	b.workload, _ = b.snapshot.Workload(name("shop/store-v1"))
	logs := append(b.logInboundHTTP(), b.logInboundTCP(ofMesh)...)
	logs = append(logs, b.logStrangers()...)
	logs = append(logs, b.logUnknown()...)
	logs = append(logs, b.logOutboundHTTP("shop/store:80")...)
	logs = append(logs, b.logOutboundTCP("shop/store:80")...)
	logs = append(logs, b.logClosed("shop/store:80", policy.ReasonSource)...)
	if len(logs) != 7 {
		t.Fatalf("%d kinds of lines", len(logs))
	}
	for _, log := range logs {
		text := log.String()
		text = strings.NewReplacer("REQ(:METHOD):32", "", "REQ(X-REQUEST-ID):64", "").Replace(text)
		for _, never := range []string{"REQ(", "RESP(", "headers", "url_path", "query", "PATH(WQ", "ORIG"} {
			if strings.Contains(text, never) {
				t.Errorf("%s in %s", never, text)
			}
		}
	}
}
