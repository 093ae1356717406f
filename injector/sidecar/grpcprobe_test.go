package sidecar

import (
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

// TestGRPCProbe asks the library's own health server.
func TestGRPCProbe(t *testing.T) {
	l, err := net.Listen("tcp", theApplication+":0")
	if err != nil {
		t.Fatal(err)
	}
	checks := grpchealth.NewServer()
	checks.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	checks.SetServingStatus("ill", healthpb.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, checks)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	bare := grpc.NewServer()
	l2, err := net.Listen("tcp", theApplication+":0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = bare.Serve(l2) }()
	t.Cleanup(bare.Stop)
	port, without := l.Addr().(*net.TCPAddr).Port, l2.Addr().(*net.TCPAddr).Port
	plain := serveApplication(t, nil, nil)
	for name, c := range map[string]struct {
		action probe.GRPC
		why    string // empty: it is fine
	}{
		"the server":         {probe.GRPC{Port: port}, ""},
		"a service":          {probe.GRPC{Port: port, Service: "shop"}, ""},
		"an ill one":         {probe.GRPC{Port: port, Service: "ill"}, "health is 2"},
		"an unknown one":     {probe.GRPC{Port: port, Service: "nobody"}, "status 5"},
		"no health service":  {probe.GRPC{Port: without}, "status 12"},
		"nobody listens":     {probe.GRPC{Port: 1}, "does not listen"},
		"HTTP/1 only server": {probe.GRPC{Port: plain}, " "},
	} {
		t.Run(name, func(t *testing.T) {
			code, text := asked(t, probe.Action{GRPC: &c.action})
			if (code == 200) != (c.why == "") || !strings.Contains(text, c.why) {
				t.Errorf("%d %q, want %q", code, text, c.why)
			}
		})
	}
}
