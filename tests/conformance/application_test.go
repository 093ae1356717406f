package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/tests/conformance/suite"
)

// application is the suite's, at a workload's address.
type application struct {
	client *http.Client
	server *http.Server
	ended  chan error
}

// startApplication serves as the workload's application, which finds services
// by name as it would with a resolver.
func startApplication(ctx context.Context, s *mesh.Snapshot, w mesh.Workload) (*application, error) {
	a := &application{ended: make(chan error, 1)}
	a.client = &http.Client{
		Timeout:       answerTimeout,
		Transport:     &http.Transport{DialContext: dialer(s, w)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(w.Application, suite.Port).String())
	if err != nil {
		return nil, fmt.Errorf("application %s: %w", w.Name, err)
	}
	a.server = &http.Server{Handler: suite.Application(w.Name.Name, a.client), ReadHeaderTimeout: answerTimeout}
	go func() { a.ended <- a.server.Serve(l) }()
	return a, nil
}

func (a *application) stop() error {
	a.client.CloseIdleConnections()
	err := a.server.Close()
	if ended := <-a.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// dialer resolves "service.namespace" to the address at which w's sidecar takes
// that service's requests.
func dialer(s *mesh.Snapshot, w mesh.Workload) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		name, namespace, _ := strings.Cut(host, ".")
		service, ok := s.Service(mesh.Name{Namespace: namespace, Name: name})
		if !ok {
			return nil, fmt.Errorf("there is no service %q", host)
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(w.AddressOf(service).String(), port))
	}
}
