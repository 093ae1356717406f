package main

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	echov3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/echo/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

var workload = mesh.Name{Namespace: "shop", Name: "buyer-1"}

// dummy is a control plane that knows one workload and has one listener for it.
type dummy struct {
	authority *ca.Authority
	join, xds string
	echo      string // address of the listener
}

func startDummy(t *testing.T) *dummy {
	t.Helper()
	authority, err := ca.Open(filepath.Join(t.TempDir(), "ca"), ca.Options{TrustDomain: "mesh.test"})
	if err != nil {
		t.Fatal(err)
	}
	join, xds, echo := listen(t), listen(t), listen(t)
	echo.Close() // only its address is wanted
	d := &dummy{authority: authority, join: "https://" + join.Addr().String(), xds: xds.Addr().String(), echo: echo.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- authority.Serve(ctx, join, []string{"127.0.0.1"}, func(n mesh.Name) (mesh.Name, bool) {
			return mesh.Name{Namespace: "shop", Name: "buyer"}, n == workload
		}, slog.New(slog.DiscardHandler))
	}()
	server := d.serveXDS(t, xds, echo.Addr().(*net.TCPAddr).Port)
	t.Cleanup(func() {
		server.Stop()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serveXDS demands the workload's certificate, as the real one does.
func (d *dummy) serveXDS(t *testing.T, ln net.Listener, echoPort int) *grpc.Server {
	t.Helper()
	config, err := d.authority.MutualTLS([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	typed, err := anypb.New(&echov3.Echo{})
	if err != nil {
		t.Fatal(err)
	}
	listener := &listenerv3.Listener{
		Name: "echo",
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(echoPort)},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "echo", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed},
		}}}},
	}
	snapshot, err := cachev3.NewSnapshot("1", map[resourcev3.Type][]types.Resource{resourcev3.ListenerType: {listener}})
	if err != nil {
		t.Fatal(err)
	}
	cache := cachev3.NewSnapshotCache(true, cachev3.IDHash{}, nil)
	if err := cache.SetSnapshot(context.Background(), workload.String(), snapshot); err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)), grpc.ConnectionTimeout(5*time.Second))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, serverv3.NewServer(context.Background(), cache, nil))
	go server.Serve(ln)
	return server
}
