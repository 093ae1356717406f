package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/status"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// Status is the control plane's state for people and scripts.
type Status = status.Status

// Relaxed is a namespace that is not closed yet.
type Relaxed = status.Relaxed

// relaxed lists such namespaces, sorted: all workloads of one are alike.
func relaxed(s *mesh.Snapshot) []Relaxed {
	out := []Relaxed{}
	for _, w := range s.Workloads {
		r := Relaxed{Namespace: w.Name.Namespace, Mode: w.Mode, Plaintext: w.Grace}
		if (w.Mode != policy.Enforce || w.Grace) && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// Observed is what sidecars saw, and what it takes to read it.
type Observed struct {
	// Source is the absolute path of the folder of manifests, empty with Kubernetes;
	// Settings are how it is read.
	Source   string
	Settings smi.Settings
	Report   observe.Report
}

func (p *plane) statusHandler() http.Handler {
	mux := http.NewServeMux()
	p.handleRotation(mux)
	p.handleTraffic(mux)
	mux.HandleFunc("GET /observations", func(w http.ResponseWriter, _ *http.Request) {
		source := p.options.Source
		if absolute, err := filepath.Abs(source); err == nil && source != "" {
			source = absolute
		}
		p.tellJSON(w, Observed{Source: source, Settings: p.options.Settings, Report: p.observed.Report()})
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s := Status{Problems: []string{}}
		s.Proxies, s.Replicas = p.peers.proxies(r.Context())
		if snapshot := p.snapshot.Load(); snapshot != nil {
			s.Relaxed, s.Workloads = relaxed(snapshot), status.WorkloadsOf(snapshot)
		}
		if digest := p.digest.Load(); digest != nil {
			s.Module = *digest
		}
		if c := p.catalog.Load(); c.snapshot != nil {
			s.Filters = map[string]string{}
			for name, a := range c.settings[0].Filters {
				s.Filters[name.String()] = a.Module
			}
		}
		if problems := p.problems.Load(); problems != nil {
			for _, problem := range *problems {
				s.Problems = append(s.Problems, problem.String())
			}
		}
		s.Problems = append(s.Problems, p.authority.Troubles()...)
		p.tellJSON(w, s)
	})
	return mux
}

func (p *plane) tellJSON(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(what); err != nil {
		p.options.Log.Warn("the status could not be told", "cause", err)
	}
}

// listenStatus opens the socket for this user only. One that a killed control
// plane left is replaced; one that answers is not.
func listenStatus(ctx context.Context, path string) (net.Listener, error) {
	var dialer net.Dialer
	if c, err := dialer.DialContext(ctx, "unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("status socket %s: another control plane answers there; choose another with --status", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("status socket %s: %w; choose another with --status", path, err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("status socket %s: %w; choose another with --status", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("status socket %s: %w", path, err), l.Close())
	}
	return l, nil
}
