package differential

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/injector/envoy"
)

const (
	// address is where the native Envoy listens.
	address = "127.106.0.1"
	// worldHeader says by which world's rules a request is judged.
	worldHeader = "x-fuzz-world"
	ready       = "ready"
	rbacFilter  = "envoy.filters.http.rbac"

	startTimeout = 30 * time.Second
	callTimeout  = 10 * time.Second
)

// nativeEnvoy is an Envoy that answers 200 to what its RBAC lets through.
type nativeEnvoy struct {
	// ports are the listening ports by container port.
	ports  map[int]uint32
	routes []*routev3.Route
	conns  map[int]*conn
	stop   func()
}

// reserve finds free ports to listen on.
func reserve(containers []uint16) (*nativeEnvoy, error) {
	e := &nativeEnvoy{ports: map[int]uint32{}, conns: map[int]*conn{}}
	for _, container := range containers {
		l, err := net.Listen("tcp", address+":0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		e.ports[int(container)] = uint32(l.Addr().(*net.TCPAddr).Port)
	}
	return e, nil
}

// add has requests with the name in worldHeader judged by a configuration.
func (e *nativeEnvoy) add(name string, config *rbacv3.RBACPerRoute) error {
	packed, err := anypb.New(config)
	e.routes = append(e.routes, &routev3.Route{
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"},
			Headers:       []*routev3.HeaderMatcher{header(worldHeader, exactly(name))},
		},
		Action:               &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 200}},
		TypedPerFilterConfig: map[string]*anypb.Any{rbacFilter: packed},
	})
	return err
}

// start runs it until it is stopped, or the test ends.
func (e *nativeEnvoy) start(t *testing.T) error {
	found, err := envoy.Find(t.Context(), envoy.ToolsDir(filepath.Join("..", "..")))
	if err != nil {
		return err
	}
	binary, err := filepath.Abs(found.Path)
	if err != nil {
		return err
	}
	if err := e.add(ready, &rbacv3.RBACPerRoute{}); err != nil {
		return err
	}
	bootstrap, err := e.bootstrap()
	if err != nil {
		return err
	}
	text, err := protojson.Marshal(bootstrap)
	if err != nil {
		return err
	}
	dir := t.TempDir()
	file, log := filepath.Join(dir, "bootstrap.json"), filepath.Join(dir, "log")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	cmd := exec.Command(binary, "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "--log-path", log)
	cmd.SysProcAttr = diesWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	e.stop = sync.OnceFunc(func() { e.close(); _ = cmd.Process.Kill(); <-ended })
	t.Cleanup(e.stop)
	return e.await(ended, log)
}

// await returns when it answers.
func (e *nativeEnvoy) await(ended chan struct{}, log string) error {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			said, _ := os.ReadFile(log)
			return fmt.Errorf("envoy ended: %s", said[max(0, len(said)-2000):])
		default:
		}
		for container := range e.ports {
			if status, err := e.call(container, "GET", "/", worldHeader+": "+ready, "host: ready"); err == nil && status == 200 {
				return nil
			}
			break
		}
	}
	return fmt.Errorf("envoy does not answer after %v", startTimeout)
}

func (e *nativeEnvoy) close() {
	for _, c := range e.conns {
		c.Close()
	}
}

func (e *nativeEnvoy) bootstrap() (*bootstrapv3.Bootstrap, error) {
	var failed error
	pack := func(m proto.Message) *anypb.Any {
		packed, err := anypb.New(m)
		failed = errors.Join(failed, err)
		return packed
	}
	manager := pack(e.manager(pack))
	listener := &listenerv3.Listener{Name: "rbac", FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		Name: "envoy.filters.network.http_connection_manager", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: manager},
	}}}}}
	for _, port := range e.ports {
		at := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		}}}
		if listener.Address == nil {
			listener.Address = at
			continue
		}
		listener.AdditionalAddresses = append(listener.AdditionalAddresses, &listenerv3.AdditionalAddress{Address: at})
	}
	// Envoy refuses expressions of more than a hundred instructions otherwise.
	runtime, err := structpb.NewStruct(map[string]any{"re2.max_program_size.error_level": 1e6, "re2.max_program_size.warn_level": 1e6})
	return &bootstrapv3.Bootstrap{
		Node:            &corev3.Node{Id: "test", Cluster: "test"},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Listeners: []*listenerv3.Listener{listener}},
		LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
			Name: "static", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: runtime},
		}}},
	}, errors.Join(failed, err)
}

// manager reads paths as the sidecar's does, and any method.
func (e *nativeEnvoy) manager(pack func(proto.Message) *anypb.Any) *hcmv3.HttpConnectionManager {
	filter := func(name string, config proto.Message) *hcmv3.HttpFilter {
		return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(config)}}
	}
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                   "rbac",
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		StripPortMode:                &hcmv3.HttpConnectionManager_StripAnyHostPort{StripAnyHostPort: true},
		StripTrailingHostDot:         true,
		HttpProtocolOptions:          &corev3.Http1ProtocolOptions{AllowCustomMethods: true},
		HttpFilters:                  []*hcmv3.HttpFilter{filter(rbacFilter, &rbacv3.RBAC{}), filter("envoy.filters.http.router", &routerv3.Router{})},
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: e.routes}},
		}},
	}
}

// conn is a connection that is kept.
type conn struct {
	net.Conn
	in *bufio.Reader
}

// call sends a request as it is, header lines included, and returns the status.
func (e *nativeEnvoy) call(container int, method, target string, lines ...string) (int, error) {
	c := e.conns[container]
	if c == nil {
		dialer := net.Dialer{Timeout: callTimeout}
		dialed, err := dialer.DialContext(context.Background(), "tcp", fmt.Sprintf("%s:%d", address, e.ports[container]))
		if err != nil {
			return 0, err
		}
		c = &conn{dialed, bufio.NewReader(dialed)}
		e.conns[container] = c
	}
	status, keep, err := c.call(method, target, lines)
	if err != nil || !keep {
		c.Close()
		delete(e.conns, container)
	}
	return status, err
}

func (c *conn) call(method, target string, lines []string) (status int, keep bool, err error) {
	if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return 0, false, err
	}
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\n%s\r\n\r\n", method, target, strings.Join(lines, "\r\n")); err != nil {
		return 0, false, err
	}
	response, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return 0, false, err
	}
	_, err = bufio.NewReader(response.Body).WriteTo(discard{})
	return response.StatusCode, !response.Close, errors.Join(err, response.Body.Close())
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
