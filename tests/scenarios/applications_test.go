package scenarios

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// idHeader tells requests apart on their way; no policy speaks of it.
const idHeader = "x-scenario-request"

// sighting is a request that an application saw.
type sighting struct {
	server         mesh.Name
	port           uint16
	method, target string
}

// applications are those of all servers. They answer 200 to everything and
// record what they saw. They read requests themselves, as net/http would refuse
// some targets.
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
			go a.accept(l, sighting{server: w.Name, port: p.Port})
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

func (a *applications) accept(l net.Listener, here sighting) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in := textproto.NewReader(bufio.NewReader(conn))
			for a.serve(in, conn, here) == nil {
			}
		}()
	}
}

// serve answers one request, which has no body.
func (a *applications) serve(in *textproto.Reader, out io.Writer, here sighting) error {
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
	a.mu.Lock()
	a.byID[header.Get(idHeader)] = append(a.byID[header.Get(idHeader)], here)
	a.count++
	a.mu.Unlock()
	_, err = io.WriteString(out, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	return err
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
