package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// wazero runs the compiled module offline, a VM for each form at each server, and
// pushes each policy to it as a live edit.
type wazero struct {
	module  *wasmtest.Module
	plugins map[place]*wasmtest.Plugin
}

// place is where a plugin runs: which form at which server.
type place struct {
	server mesh.Name
	form   config.Form
}

func newWazero(ctx context.Context, file string) (*wazero, error) {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	module, err := wasmtest.Compile(ctx, wasm)
	return &wazero{module, map[place]*wasmtest.Plugin{}}, err
}

func (*wazero) tellsRule() bool    { return false }
func (*wazero) hearsOutside() bool { return false }

func (w *wazero) begin(ctx context.Context, s stage) error {
	for _, server := range s.snapshot.Workloads {
		forms := map[config.Form]bool{}
		for _, p := range server.Ports {
			forms[formOf(p)] = true
		}
		for form := range forms {
			if err := w.push(ctx, s.snapshot, server, form); err != nil {
				return err
			}
		}
	}
	return nil
}

// formOf is the form of the module that decides at a port.
func formOf(p mesh.WorkloadPort) config.Form {
	if p.Protocol.Opaque() {
		return config.Connections
	}
	return config.Access
}

func (w *wazero) push(ctx context.Context, s *mesh.Snapshot, server mesh.Workload, form config.Form) (err error) {
	c := config.Config{
		Form: form, Destination: server.Metered(), Version: xds.PolicyVersion(s, server),
		Mode: server.Mode, Table: xds.Table(s, server).Encode(),
	}
	at := place{server.Name, form}
	if running := w.plugins[at]; running != nil {
		w.plugins[at], err = running.Update(ctx, c.Encode())
		return err
	}
	w.plugins[at], err = w.module.StartPlugin(ctx, wasmtest.Options{Now: time.Unix(noon, 0)},
		wasmtest.PluginConfig{Name: fmt.Sprint(form), Configuration: c.Encode()})
	return err
}

// Every certificate ends an hour after the VM's noon.
const (
	noon    = 1_000_000
	expires = noon + 3600
)

func (w *wazero) ask(ctx context.Context, c call) (verdict, error) {
	facts, err := connectionFacts(c)
	if err != nil {
		return verdict{}, err
	}
	plugin := w.plugins[place{c.server.Name, formOf(c.port)}]
	info := wasmtest.StreamInfo{Properties: wasmtest.Properties{
		wasmtest.Path("filter_state", guest.ConnectionKey): wasmtest.Text(facts),
	}}
	if c.wire == tcp {
		return connect(ctx, plugin, info, c)
	}
	before := counters(plugin)
	stream := plugin.HTTP(info)
	var headers []wasmtest.Pair
	for _, h := range filterHeaders(c.request) {
		headers = append(headers, wasmtest.Pair{Name: h.Name, Value: h.Value})
	}
	result := stream.RequestHeaders(ctx, headers, true)
	passed := stream.Upstream().Headers != nil
	stream.Done(ctx)
	counted, err := tally(c, before, counters(plugin))
	if err != nil {
		return verdict{}, err
	}
	switch {
	case counted.passes() && result.Reply == nil && result.Action == wasmtest.Continue && passed:
		return counted, nil
	case !counted.passes() && result.Reply != nil && !passed && result.Reply.Status == statusOf(counted):
		return counted, nil
	}
	return verdict{}, fmt.Errorf("the filter %s, its reply is %+v, the request went on: %v, and it counted %s",
		result.Action, result.Reply, passed, counted)
}

// connect opens two connections to an opaque port, one on which the client
// speaks first and one on which the server does: what is said must not matter.
func connect(ctx context.Context, plugin *wasmtest.Plugin, info wasmtest.StreamInfo, c call) (verdict, error) {
	var first verdict
	for _, serverSpeaks := range []bool{false, true} {
		before := counters(plugin)
		conn := plugin.TCP(info)
		conn.Open(ctx)
		if serverSpeaks {
			conn.UpstreamData(ctx, []byte("x"), false)
		} else {
			conn.DownstreamData(ctx, []byte("x"), false)
		}
		closed, heard := conn.Closed(), len(conn.ToUpstream())+len(conn.ToDownstream())
		conn.Close(ctx, wasmtest.CloseRemote)
		counted, err := tally(c, before, counters(plugin))
		switch {
		case err != nil:
			return verdict{}, err
		case counted.passes() != (heard == 1) || counted.passes() == closed:
			return verdict{}, fmt.Errorf("the filter counted %s; the connection is closed: %v, bytes that passed: %d", counted, closed, heard)
		case serverSpeaks && counted != first:
			return verdict{}, fmt.Errorf("the filter says %s where the client speaks first and %s where the server does", first, counted)
		}
		first = counted
	}
	return first, nil
}

// connectionFacts is what Envoy tells the filter of the caller's connection.
func connectionFacts(c call) (string, error) {
	dns, err := ca.Label(c.caller.Name, ca.KindWorkload)
	facts := strings.NewReplacer(
		"%DOWNSTREAM_PEER_URI_SAN%", mesh.SPIFFEID(trustDomain, c.caller.ServiceAccount),
		"%DOWNSTREAM_PEER_DNS_SAN%", dns,
		"%DOWNSTREAM_PEER_CERT_V_END(%s)%", strconv.Itoa(expires),
	).Replace(guest.ConnectionFormat + strconv.Itoa(int(c.port.Port)))
	if strings.Contains(facts, "%") {
		err = errors.Join(err, fmt.Errorf("guest.ConnectionFormat has something that the test does not know: %s", facts))
	}
	return facts, err
}

// statusOf is what a refused caller is answered.
func statusOf(v verdict) int {
	if v.outcome == reject {
		return 400
	}
	return 403
}

// counters are those that tell verdicts, by full name.
func counters(p *wasmtest.Plugin) map[string]uint64 {
	counts := map[string]uint64{}
	for _, m := range p.VM().Proxy().Metrics() {
		for _, name := range tallied {
			if m.Kind == wasmtest.Counter && strings.HasPrefix(m.Name, prefix+name) {
				counts[m.Name] = m.Value
			}
		}
	}
	return counts
}
