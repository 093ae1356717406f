package controlplane

import (
	"context"
	"net/http"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/show"
)

// Traffic is what passed in a window, for people.
type Traffic struct {
	Window    time.Duration
	Workloads []show.Row
	Edges     []show.Row
	// Missing says why figures may be too small.
	Missing []string
}

// handleTraffic tells it at the status socket, to whom may use that.
func (p *plane) handleTraffic(mux *http.ServeMux) {
	mux.HandleFunc("GET /traffic", func(w http.ResponseWriter, r *http.Request) {
		source := p.traffic.Load()
		if source == nil {
			http.Error(w, "this control plane serves no metrics; start it with --metrics-api", http.StatusConflict)
			return
		}
		window, err := time.ParseDuration(r.FormValue("t"))
		shortest, longest := (*source).Bounds()
		if err != nil || window < shortest || window > longest {
			http.Error(w, "the window must be from "+shortest.String()+" to "+longest.String(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), api.Timeout)
		defer cancel()
		t, err := (*source).Traffic(ctx, api.Asked{Window: window})
		if err != nil {
			http.Error(w, (*source).String()+": "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		out := Traffic{Window: window, Workloads: show.Workloads(t, window), Edges: show.Edges(t, window)}
		for _, m := range t.Misses {
			out.Missing = append(out.Missing, m.String())
		}
		p.tellJSON(w, out)
	})
}

// keepSource makes a source known to the status socket.
func (p *plane) keepSource(s api.Source, err error) (api.Source, error) {
	if err == nil {
		p.traffic.Store(&s)
	}
	return s, err
}
