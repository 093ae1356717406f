package scenarios

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// idHeader tells requests apart on their way; no policy speaks of it.
	idHeader = "x-scenario-request"
	// greeting is what an application says that speaks first.
	greeting = "hello\n"
)

// sighting is a request, or a line on an opaque port, that an application saw.
type sighting struct {
	server         mesh.Name
	port           mesh.WorkloadPort
	method, target string
}

// applications are those of all servers. They answer 200 to every request, send
// every line on an opaque port back, and record what they saw. They read HTTP/1
// themselves, as net/http would refuse some targets.
type applications struct {
	listeners []net.Listener
	mu        sync.Mutex
	byID      map[string][]sighting
	count     int
}

func startApplications(ctx context.Context, s *mesh.Snapshot) (*applications, error) {
	a := &applications{byID: map[string][]sighting{}}
	for _, w := range s.Workloads {
		for _, p := range w.Ports {
			at := netip.AddrPortFrom(w.Application, p.Port)
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", at.String())
			if err != nil {
				return nil, errors.Join(fmt.Errorf("application %s: %w", w.Name, err), a.stop())
			}
			a.listeners = append(a.listeners, l)
			go a.serve(l, sighting{server: w.Name, port: p})
		}
	}
	return a, nil
}

func (a *applications) stop() error {
	var failures []error
	for _, l := range a.listeners {
		failures = append(failures, l.Close())
	}
	return errors.Join(failures...)
}

func (a *applications) serve(l net.Listener, here sighting) {
	if here.port.Protocol == mesh.HTTP2 {
		a.serveHTTP2(l, here)
		return
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if here.port.Protocol.Opaque() {
				a.echo(conn, here)
				return
			}
			in := textproto.NewReader(bufio.NewReader(conn))
			for a.answer(in, conn, here) == nil {
			}
		}()
	}
}

func (a *applications) serveHTTP2(l net.Listener, here sighting) {
	server := http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here.method, here.target = r.Method, r.RequestURI
		a.record(r.Header.Get(idHeader), here)
		w.Header().Set(http.TrailerPrefix+"grpc-status", "0")
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	_ = server.Serve(l) // until the listener is closed
}

// echo sends each line back.
func (a *applications) echo(conn net.Conn, here sighting) {
	if greets(here.port) {
		if _, err := io.WriteString(conn, greeting); err != nil {
			return
		}
	}
	for in := bufio.NewScanner(conn); in.Scan(); {
		a.record(in.Text(), here)
		if _, err := fmt.Fprintln(conn, in.Text()); err != nil {
			return
		}
	}
}

// answer answers one request, which has no body.
func (a *applications) answer(in *textproto.Reader, out io.Writer, here sighting) error {
	line, err := in.ReadLine()
	if err != nil {
		return err
	}
	header, err := in.ReadMIMEHeader()
	if err != nil {
		return err
	}
	here.method, line, _ = strings.Cut(line, " ")
	here.target = strings.TrimSuffix(line, " HTTP/1.1")
	a.record(header.Get(idHeader), here)
	_, err = io.WriteString(out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	return err
}

func (a *applications) record(id string, s sighting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byID[id] = append(a.byID[id], s)
	a.count++
}

// seen returns where the request of that id has been seen.
func (a *applications) seen(id string) []sighting {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byID[id]
}

func (a *applications) total() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count
}
