package splits

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// runHeader tells the runs of requests apart; no policy speaks of it.
const runHeader = "x-splits-run"

// applications are those of all servers: they answer 200 and count.
type applications struct {
	servers []*http.Server
	mu      sync.Mutex
	counts  map[string]map[string]int // by run, then by workload
}

func startApplications(ctx context.Context, s *mesh.Snapshot) (*applications, error) {
	a := &applications{counts: map[string]map[string]int{}}
	for _, w := range s.Workloads {
		for _, p := range w.Ports {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(w.Application, p.Port).String())
			if err != nil {
				return nil, errors.Join(err, a.stop())
			}
			server := &http.Server{Handler: a.counting(w.Name.Name), ReadHeaderTimeout: time.Minute}
			a.servers = append(a.servers, server)
			go func() { _ = server.Serve(l) }() // ends with Close
		}
	}
	return a, nil
}

func (a *applications) counting(workload string) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		run := r.Header.Get(runHeader)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.counts[run] == nil {
			a.counts[run] = map[string]int{}
		}
		a.counts[run][workload]++
	}
}

// seen returns and forgets how many requests of a run each workload has seen.
func (a *applications) seen(run string) map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts := a.counts[run]
	delete(a.counts, run)
	return counts
}

func (a *applications) stop() error {
	var failures []error
	for _, s := range a.servers {
		failures = append(failures, s.Close())
	}
	return errors.Join(failures...)
}
