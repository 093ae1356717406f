package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

const (
	// readyTimeout covers several Envoys that compile the module on one slow core.
	readyTimeout = time.Minute
	stopTimeout  = 10 * time.Second
	pollInterval = 10 * time.Millisecond
)

// Await asks probe until it returns nil, for at most limit. It ends early when a
// part of the mesh has ended. what completes "waiting for".
func (m *Mesh) Await(limit time.Duration, what string, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(m.ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	next := time.NewTicker(pollInterval)
	defer next.Stop()
	last := errors.New("there was none")
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil { // else the end of the wait cut the answer off
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last answer was: %w", what, context.Cause(ctx), last)
		case <-next.C:
		}
	}
}

// Status asks the control plane what it sees.
func (m *Mesh) Status(ctx context.Context) (controlplane.Status, error) {
	var s controlplane.Status
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controlplane/status", nil)
	if err != nil {
		return s, err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", m.status())
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	return s, json.NewDecoder(response.Body).Decode(&s)
}

// ready returns nil once a sidecar accepts at all its listeners and has taken
// everything the control plane has for it.
func (m *Mesh) ready(ctx context.Context, w mesh.Name) error {
	ok, waiting, err := m.Admin(w).Ready(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("it waits for " + waiting)
	}
	status, err := m.Status(ctx)
	if err != nil {
		return err
	}
	for _, p := range status.Proxies {
		if p.Name != w {
			continue
		}
		if len(p.Refusals) > 0 {
			return fmt.Errorf("it refused its configuration: %s", p.Refusals[0].Cause)
		}
		if !p.Settled {
			return errors.New("it has not taken all of its configuration")
		}
		return nil
	}
	return errors.New("it is not connected to the control plane")
}

// Applied returns nil once the filters of every workload with ports report that
// they run the policy of the snapshot (an acknowledgement would not prove that),
// and every sidecar knows where it may send: what it refused is not waited for.
func (m *Mesh) Applied(ctx context.Context, s *mesh.Snapshot) error {
	for _, w := range s.Workloads {
		wanted := xds.PolicyVersion(s, w)
		for _, gauge := range gauges(w) {
			stats, err := m.Stats(ctx, w.Name, "^wasmcustom."+gauge+"$")
			if err != nil {
				return err
			}
			if running := stats["wasmcustom."+gauge]; running != wanted {
				return fmt.Errorf("%s runs policy %013x, wanted is %013x", w.Name, running, wanted)
			}
		}
	}
	status, err := m.Status(ctx)
	for _, p := range status.Proxies {
		if !p.Settled && len(p.Refusals) == 0 {
			return fmt.Errorf("%s has not taken all of its configuration", p.Name)
		}
	}
	return err
}

// gauges are those by which a workload's filters tell which policy they run.
func gauges(w mesh.Workload) []string {
	var out []string
	if slices.ContainsFunc(w.Ports, func(p mesh.WorkloadPort) bool { return !p.Protocol.Opaque() }) {
		out = append(out, traffic.PolicyVersion)
	}
	if slices.ContainsFunc(w.Ports, func(p mesh.WorkloadPort) bool { return p.Protocol.Opaque() }) {
		out = append(out, traffic.ConnectionPolicyVersion)
	}
	return out
}

// Stats returns the counters and gauges of a workload's Envoy whose names match.
func (m *Mesh) Stats(ctx context.Context, w mesh.Name, pattern string) (map[string]uint64, error) {
	text, err := m.Admin(w).Get(ctx, "/stats?filter="+url.QueryEscape(pattern))
	if err != nil {
		return nil, err
	}
	stats := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		// A value follows the last colon; names can contain others.
		i := strings.LastIndex(line, ": ")
		if i < 0 {
			continue
		}
		if n, err := strconv.ParseUint(line[i+2:], 10, 64); err == nil {
			stats[line[:i]] = n
		}
	}
	return stats, nil
}
