package demo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

const (
	// readyTimeout covers five Envoys that compile the module on one slow core.
	readyTimeout = 60 * time.Second
	quietTimeout = 15 * time.Second
	pollInterval = 20 * time.Millisecond
)

// await calls probe until it returns nil, and gives up after limit or when ctx
// ends. what completes "waiting for".
func await(ctx context.Context, limit time.Duration, what string, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the last answer was: %w", what, context.Cause(ctx), err)
		case <-time.After(pollInterval):
		}
	}
}

// Await is await for checks: the wait also ends when the mesh breaks.
func (m *Mesh) Await(limit time.Duration, what string, probe func(context.Context) error) error {
	return await(m.ctx, limit, what, probe)
}

// Status asks the control plane what it sees.
func (m *Mesh) Status(ctx context.Context) (controlplane.Status, error) {
	var s controlplane.Status
	return s, m.status.askJSON(ctx, http.MethodGet, "/status", &s)
}

// Now reads the manifests as they are at this moment.
func (m *Mesh) Now() (*mesh.Snapshot, error) { return load(m.options.Source) }

func load(source string) (*mesh.Snapshot, error) {
	loaded, err := files.Load(source)
	if err != nil {
		return nil, err
	}
	s, _, _ := smi.Settle(smi.Objects{}, loaded.Objects, settings())
	return s, nil
}

func settings() smi.Settings { return smi.Settings{TrustDomain: TrustDomain} }

// Policy is what a sidecar runs, compared with what the manifests ask for.
type Policy struct {
	// Running is the version that decides in the sidecar; 0 if none does.
	Running uint64
	// Wanted is the version that the manifests amount to.
	Wanted uint64
}

// Applied reports whether the sidecar does what the manifests say.
func (p Policy) Applied() bool { return p.Running == p.Wanted }

// policyOf compares for one workload that serves something.
func policyOf(s *mesh.Snapshot, w mesh.Workload, metrics Metrics) Policy {
	p := Policy{Wanted: xds.PolicyVersion(s, w)}
	if running, ok := metrics.Find(traffic.PolicyVersion); ok {
		p.Running = uint64(running)
	}
	return p
}

// AwaitPolicy returns when every sidecar of the cast that serves something runs
// the policy that the manifests ask for now.
func (m *Mesh) AwaitPolicy(limit time.Duration) error {
	s, err := m.Now()
	if err != nil {
		return err
	}
	return m.Await(limit, "the policy in every sidecar", func(ctx context.Context) error {
		for _, member := range m.cast {
			w, ok := s.Workload(member.workload)
			if !ok || len(w.Ports) == 0 {
				continue
			}
			if err := m.runsPolicy(ctx, s, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// runsPolicy returns nil if the sidecar of a workload runs the policy that s
// asks for.
func (m *Mesh) runsPolicy(ctx context.Context, s *mesh.Snapshot, w mesh.Workload) error {
	metrics, err := m.Sidecars[w.Name].Metrics(ctx, traffic.PolicyVersion)
	if err != nil {
		return err
	}
	if p := policyOf(s, w, metrics); !p.Applied() {
		return fmt.Errorf("%s runs policy %013x, the manifests ask for %013x", w.Name, p.Running, p.Wanted)
	}
	return nil
}

// accepts returns nil if somebody listens at all of the addresses.
func accepts(ctx context.Context, all []netip.AddrPort) error {
	for _, at := range all {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", at.String())
		if err != nil {
			return err
		}
		c.Close()
	}
	return nil
}

// ready returns nil once a sidecar has everything: its listeners accept, its
// filters run the policy asked for, and the control plane has nothing to send.
func (m *Mesh) ready(ctx context.Context, name mesh.Name) error {
	w, ok := m.Snapshot.Workload(name)
	if !ok {
		return fmt.Errorf("there is no Workload %s", name)
	}
	status, err := m.Status(ctx)
	if err != nil {
		return err
	}
	if err := settled(status, name); err != nil {
		return err
	}
	if err := accepts(ctx, append(outboundOf(m.Snapshot, w), inboundOf(w)...)); err != nil || len(w.Ports) == 0 {
		return err
	}
	return m.runsPolicy(ctx, m.Snapshot, w)
}

// settled returns nil if the proxy is connected and took all it was sent.
func settled(s controlplane.Status, name mesh.Name) error {
	for _, p := range s.Proxies {
		switch {
		case p.Name != name:
		case len(p.Refusals) > 0:
			return fmt.Errorf("it refused its configuration: %s", p.Refusals[0].Cause)
		case !p.Settled:
			return fmt.Errorf("it has not taken all of its configuration yet")
		default:
			return nil
		}
	}
	return fmt.Errorf("it is not connected to the control plane")
}
