package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

const (
	// rateWindow is what requests per second are averaged over.
	rateWindow = 3 * time.Second
	// shareWindow is long enough for a split to show at 10 requests per second.
	shareWindow = 10 * time.Second
)

// sample is what the parts of the mesh told at one moment.
type sample struct {
	at       time.Time
	snapshot *mesh.Snapshot
	status   controlplane.Status
	metrics  map[mesh.Name]Metrics
	blind    []string // which parts did not answer
}

// reader reads the manifests as the control plane does: what is broken keeps its
// last good form.
type reader struct {
	source *files.Source
	good   smi.Objects
}

func (r *reader) read() (*mesh.Snapshot, error) {
	objects, _, err := r.source.Reload()
	snapshot, good, _ := smi.Settle(r.good, objects, settings())
	r.good = good
	return snapshot, err
}

// take asks everyone. Who does not answer is noted, not waited for.
func (m *Mesh) take(ctx context.Context, manifests *reader) sample {
	s := sample{at: time.Now(), metrics: map[mesh.Name]Metrics{}}
	var err error
	if s.snapshot, err = manifests.read(); err != nil {
		s.blind = append(s.blind, err.Error())
	}
	if s.status, err = m.Status(ctx); err != nil {
		s.blind = append(s.blind, "the control plane: "+err.Error())
	}
	for _, member := range m.cast {
		metrics, err := m.Sidecars[member.workload].Metrics(ctx, `wasmesh[_.]|osm_request_total|control_plane\.connected_state`)
		if err != nil {
			s.blind = append(s.blind, err.Error())
			continue
		}
		s.metrics[member.workload] = metrics
	}
	return s
}

// pair is who calls whom; counts are those of the callee's sidecar, or of the
// caller's own where it refuses: then the callee is the service that was dialled.
type pair struct{ from, to string }

type counts struct {
	all     int
	denials map[string]int // by reason
}

func (c counts) denied() int {
	n := 0
	for _, count := range c.denials {
		n += count
	}
	return n
}

// calls reads the counters of one sample.
func (s sample) calls() map[pair]counts {
	out := map[pair]counts{}
	for caller, metrics := range s.metrics {
		for _, series := range metrics {
			p := pair{series.Peer("source"), series.Peer("destination")}
			own := series.Name == traffic.OwnScope+"_"+traffic.Forbidden && series.Labels["reason"] != ""
			if own { // refused by the caller's own sidecar: it got nowhere
				p.from = caller.String()
			}
			c := out[p]
			if own {
				c.all += int(series.Value)
			}
			switch {
			case series.Name == traffic.Requests:
				c.all += int(series.Value)
			case series.Name == traffic.Denials || own:
				if c.denials == nil {
					c.denials = map[string]int{}
				}
				c.denials[series.Labels["reason"]] += int(series.Value)
			default:
				continue
			}
			out[p] = c
		}
	}
	return out
}

// history is the samples of the last shareWindow, oldest first, and what has to
// be remembered for longer.
type history struct {
	samples []sample
	reasons map[pair]string // of the last denial
}

// add takes one more sample in and forgets those that are too old.
func (h *history) add(s sample) {
	if h.reasons == nil {
		h.reasons = map[pair]string{}
	}
	var before map[pair]counts
	if n := len(h.samples); n > 0 {
		before = h.samples[n-1].calls()
	}
	for p, now := range s.calls() {
		for _, reason := range slices.Sorted(maps.Keys(now.denials)) {
			if now.denials[reason] > before[p].denials[reason] {
				h.reasons[p] = reason
			}
		}
	}
	h.samples = append(h.samples, s)
	for len(h.samples) > 2 && s.at.Sub(h.samples[1].at) >= shareWindow {
		h.samples = h.samples[1:]
	}
}

// since returns the sample to compare with for a window: the youngest that is at
// least as old, or the oldest.
func (h *history) since(window time.Duration) sample {
	last := h.samples[len(h.samples)-1]
	for _, s := range slices.Backward(h.samples) {
		if last.at.Sub(s.at) >= window {
			return s
		}
	}
	return h.samples[0]
}

// view turns the history into what the screen shows. It needs one sample.
func (h *history) view(members []member, source string, running time.Duration) View {
	last := h.samples[len(h.samples)-1]
	v := View{Status: last.status, At: last.at, Running: running, Source: source, Problems: last.status.Problems, Blind: strings.Join(last.blind, "; ")}
	v.Calls = h.rates()
	v.Root, v.Shares, v.Window = h.shares()
	for _, member := range members {
		v.Sidecars = append(v.Sidecars, sidecarView(last, member.workload))
	}
	return v
}

// rates compares the last sample with one of rateWindow ago.
func (h *history) rates() []Call {
	last, first := h.samples[len(h.samples)-1], h.since(rateWindow)
	now, before := last.calls(), first.calls()
	seconds := max(last.at.Sub(first.at).Seconds(), 0.001)
	var out []Call
	for p, c := range now {
		denied := c.denied() - before[p].denied()
		all := c.all - before[p].all
		out = append(out, Call{
			From: p.from, To: p.to, Reason: h.reasons[p],
			Allowed: float64(max(all-denied, 0)) / seconds, Denied: float64(max(denied, 0)) / seconds,
		})
	}
	slices.SortFunc(out, func(a, b Call) int {
		return strings.Compare(a.From+" "+a.To, b.From+" "+b.To)
	})
	return out
}

// shares counts requests to the endpoints of each backend of the bookstore's
// split, denied ones included: a request is split before it is judged.
func (h *history) shares() (root string, out []Share, window time.Duration) {
	last, first := h.samples[len(h.samples)-1], h.samples[0]
	split, ok := last.snapshot.SplitOf(Bookstore)
	if !ok {
		return "", nil, 0
	}
	now, before := requestsTo(last), requestsTo(first)
	for _, b := range split.Backends {
		share := Share{Backend: b.Service.String(), Weight: b.Weight}
		service, _ := last.snapshot.Service(b.Service)
		for _, port := range service.Ports {
			for _, e := range port.Endpoints {
				share.Requests += now[e.Workload.String()] - before[e.Workload.String()]
			}
		}
		out = append(out, share)
	}
	return split.Root.String(), out, last.at.Sub(first.at)
}

func requestsTo(s sample) map[string]int {
	out := map[string]int{}
	for p, c := range s.calls() {
		out[p.to] += c.all
	}
	return out
}

// sidecarView tells the state of one sidecar.
func sidecarView(s sample, name mesh.Name) SidecarView {
	v := SidecarView{Name: name.String()}
	metrics := s.metrics[name]
	state, known := metrics.Find("control_plane_connected_state")
	v.Connected = known && state == 1
	if w, ok := s.snapshot.Workload(name); ok && len(w.Ports) > 0 {
		v.Serves, v.Policy = true, policyOf(s.snapshot, w, metrics)
	}
	for _, p := range s.status.Proxies {
		if p.Name == name && len(p.Refusals) > 0 {
			r := p.Refusals[0]
			v.Refused = fmt.Sprintf("%s: %s", strings.Join(r.Resources, ", "), r.Cause)
		}
	}
	return v
}
