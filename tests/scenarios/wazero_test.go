package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// wazero runs the compiled module offline, one VM for each server, and pushes
// each scenario's policy to it as a live edit.
type wazero struct {
	module  *wasmtest.Module
	plugins map[mesh.Name]*wasmtest.Plugin
}

func newWazero(ctx context.Context, file string) (*wazero, error) {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	module, err := wasmtest.Compile(ctx, wasm)
	return &wazero{module, map[mesh.Name]*wasmtest.Plugin{}}, err
}

func (*wazero) tellsRule() bool { return false }

func (w *wazero) begin(ctx context.Context, s stage) error {
	for _, server := range s.snapshot.Workloads {
		if len(server.Ports) == 0 {
			continue
		}
		if err := w.push(ctx, s.snapshot, server); err != nil {
			return err
		}
	}
	return nil
}

func (w *wazero) push(ctx context.Context, s *mesh.Snapshot, server mesh.Workload) (err error) {
	c := config.Config{
		Form: config.Access, Destination: server.Name.String(), Version: xds.PolicyVersion(s, server),
		Mode: server.Mode, Table: xds.Table(s, server).Encode(),
	}
	if running := w.plugins[server.Name]; running != nil {
		w.plugins[server.Name], err = running.Update(ctx, c.Encode())
		return err
	}
	w.plugins[server.Name], err = w.module.StartPlugin(ctx, wasmtest.Options{Now: time.Unix(noon, 0)},
		wasmtest.PluginConfig{Name: "access", Configuration: c.Encode()})
	return err
}

// Every certificate ends an hour after the VM's noon.
const (
	noon    = 1_000_000
	expires = noon + 3600
)

func (w *wazero) ask(ctx context.Context, c call) (verdict, error) {
	facts, label, err := connectionFacts(c)
	if err != nil {
		return verdict{}, err
	}
	plugin := w.plugins[c.server.Name]
	before := denials(plugin)
	stream := plugin.HTTP(wasmtest.StreamInfo{Properties: wasmtest.Properties{
		wasmtest.Path("filter_state", guest.ConnectionKey): wasmtest.Text(facts),
	}})
	var headers []wasmtest.Pair
	for _, h := range filterHeaders(c.request) {
		headers = append(headers, wasmtest.Pair{Name: h.Name, Value: h.Value})
	}
	result := stream.RequestHeaders(ctx, headers, true)
	passed := stream.Upstream().Headers != nil
	stream.Done(ctx)
	series := func(r policy.Reason) string {
		return traffic.DenialSeries(label, c.server.Name.String(), string(r))
	}
	reason, err := deniedFor(series, before, denials(plugin))
	if err != nil {
		return verdict{}, err
	}
	switch {
	case result.Reply == nil && result.Action == wasmtest.Continue && passed && reason == policy.ReasonNone:
		return verdict{outcome: allow}, nil
	case result.Reply != nil && !passed && result.Reply.Status == statusOf(reason):
		return refusal(reason), nil
	}
	return verdict{}, fmt.Errorf("the filter %s, its reply is %+v, the request went on: %v, a denial was counted for: %q",
		result.Action, result.Reply, passed, reason)
}

// connectionFacts is what Envoy tells the filter of the caller's connection, and
// the name under which the filter counts it.
func connectionFacts(c call) (facts, label string, err error) {
	dns, err := ca.Label(c.caller.Name, ca.KindWorkload)
	facts = strings.NewReplacer(
		"%DOWNSTREAM_PEER_URI_SAN%", mesh.SPIFFEID(trustDomain, c.caller.ServiceAccount),
		"%DOWNSTREAM_PEER_DNS_SAN%", dns,
		"%DOWNSTREAM_PEER_CERT_V_END(%s)%", strconv.Itoa(expires),
	).Replace(guest.ConnectionFormat + strconv.Itoa(int(c.port)))
	if strings.Contains(facts, "%") {
		err = errors.Join(err, fmt.Errorf("guest.ConnectionFormat has something that the test does not know: %s", facts))
	}
	return facts, c.caller.Name.String(), err
}

// statusOf is what a caller is answered.
func statusOf(r policy.Reason) int {
	switch r {
	case policy.ReasonNone:
		return 200
	case policy.ReasonReject:
		return 400
	}
	return 403
}

// prefix is what Envoy puts before the name of a filter's metric.
const prefix = "wasmcustom."

// denials are the counters of refused requests, by full name.
func denials(p *wasmtest.Plugin) map[string]uint64 {
	counts := map[string]uint64{}
	for _, m := range p.VM().Proxy().Metrics() {
		if m.Kind == wasmtest.Counter && strings.HasPrefix(m.Name, prefix+traffic.Denials) {
			counts[m.Name] = m.Value
		}
	}
	return counts
}

// deniedFor compares the counters before and after a request. It wants at most
// one denial, in the series of that caller, and returns its reason.
func deniedFor(series func(policy.Reason) string, before, after map[string]uint64) (policy.Reason, error) {
	found := policy.ReasonNone
	for _, r := range append([]policy.Reason{policy.ReasonReject}, reasons...) {
		name := prefix + series(r)
		if after[name] == before[name]+1 {
			found = r
		}
	}
	expected := maps.Clone(before)
	if found != policy.ReasonNone {
		expected[prefix+series(found)]++
	}
	if !maps.Equal(expected, after) {
		return found, fmt.Errorf("the denial counters went from %v to %v", before, after)
	}
	return found, nil
}
