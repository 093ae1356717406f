package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// applicationPort is where every application listens.
	applicationPort = 9091
	// callerHeader says who calls. Nobody decides by it: it is only recorded.
	callerHeader = "ServiceName"
)

// application is the suite's program: it answers, calls whom it is told to call,
// and records both.
type application struct {
	name   string
	client *http.Client
	server *http.Server
	ended  chan error

	mu       sync.Mutex
	recorded metrics
}

// metrics are what an application has recorded since it was last cleared.
type metrics struct {
	// ReqReceived has the caller of each request to /echo and /call.
	ReqReceived []string
	// RespSucceeded and RespFailed have the answered calls. One that was not
	// answered is in neither, so that a broken connection never looks like a
	// refusal.
	RespSucceeded []response
	RespFailed    []response
}

type response struct {
	URL, Method string
	Status      int
}

// order is what /call is told.
type order struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

// startApplication serves as the workload's application, which finds services
// by name as it would with a resolver.
func startApplication(ctx context.Context, s *mesh.Snapshot, w mesh.Workload) (*application, error) {
	a := &application{name: w.Name.Name, ended: make(chan error, 1)}
	a.client = &http.Client{
		Timeout:       answerTimeout,
		Transport:     &http.Transport{DialContext: dialer(s, w)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(w.Application, applicationPort).String())
	if err != nil {
		return nil, fmt.Errorf("application %s: %w", w.Name, err)
	}
	a.server = &http.Server{Handler: a.handler(), ReadHeaderTimeout: answerTimeout}
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

func (a *application) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		a.record(func(m *metrics) { m.ReqReceived = append(m.ReqReceived, r.Header.Get(callerHeader)) })
		fmt.Fprintln(w, a.name)
	})
	mux.HandleFunc("POST /call", func(w http.ResponseWriter, r *http.Request) {
		a.record(func(m *metrics) { m.ReqReceived = append(m.ReqReceived, r.Header.Get(callerHeader)) })
		if err := a.call(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.recorded) // who asked and left needs no answer
	})
	mux.HandleFunc("DELETE /metrics", func(http.ResponseWriter, *http.Request) {
		a.record(func(m *metrics) { *m = metrics{} })
	})
	return mux
}

func (a *application) record(what func(*metrics)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what(&a.recorded)
}

// call does what an order says and files the answer. The error is of a call
// that got none.
func (a *application) call(r *http.Request) error {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		return fmt.Errorf("the order cannot be read: %w", err)
	}
	request, err := http.NewRequestWithContext(r.Context(), o.Method, o.URL, strings.NewReader(o.Body))
	if err != nil {
		return err
	}
	for name, value := range o.Headers {
		request.Header.Set(name, value)
	}
	request.Header.Set(callerHeader, a.name)
	answer, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	filed := response{URL: o.URL, Method: o.Method, Status: answer.StatusCode}
	a.record(func(m *metrics) {
		if filed.Status >= 200 && filed.Status < 400 {
			m.RespSucceeded = append(m.RespSucceeded, filed)
		} else {
			m.RespFailed = append(m.RespFailed, filed)
		}
	})
	return nil
}
