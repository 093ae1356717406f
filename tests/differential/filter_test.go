package differential

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
	"github.com/wasmesh/wasmesh/tests/differential/judge"
	"github.com/wasmesh/wasmesh/tests/differential/world"
	"github.com/wasmesh/wasmesh/tests/rig/module"
)

const (
	callerName = "caller-0"
	// serverName is the one workload that the filter serves, world after world.
	serverName  = "server"
	callerLabel = callerName + ".workload.shop.peer.wasmesh.internal"
	// Every certificate ends an hour after the VM's noon.
	noon    = 1_000_000
	expires = noon + 3600
)

// workload is what metrics call one of the shop's.
func workload(name string) identity.Workload {
	return identity.Workload{Namespace: "shop", Kind: "Workload", Name: name}
}

// buildModule returns the module that is judged.
func buildModule(t *testing.T) *wasmtest.Module {
	t.Helper()
	judged, _, err := module.Compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { judged.Close(context.Background()) })
	return judged
}

// filter is the compiled module in one VM.
type filter struct {
	module *wasmtest.Module
	plugin *wasmtest.Plugin
	cases  int
}

// judge asks the filter everything that a world was asked.
func (f *filter) judge(ctx context.Context, a *judge.Answered) error {
	for _, server := range servers(a) {
		if err := f.push(ctx, a.Encoded[server]); err != nil {
			return fmt.Errorf("seed %d, world %d: %w", *seed, a.Index, err)
		}
		for i, r := range a.Requests {
			if r.Server != server {
				continue
			}
			f.cases++
			if err := f.ask(ctx, r, a.Verdicts[i]); err != nil {
				return judge.Shrunk(*seed, a.Index, a.World, r, err, f.again(ctx))
			}
		}
	}
	return nil
}

// again judges one request anew.
func (f *filter) again(ctx context.Context) func(world.World, world.Request) error {
	return func(w world.World, r world.Request) error {
		compiled, err := judge.Compile(w, xds.Table)
		if err != nil || compiled.Encoded[r.Server] == nil {
			return nil
		}
		if err := f.push(ctx, compiled.Encoded[r.Server]); err != nil {
			return err
		}
		return f.ask(ctx, r, compiled.Decide(r))
	}
}

// servers are the workloads that are asked, in the order of the requests.
func servers(a *judge.Answered) []mesh.Name {
	var out []mesh.Name
	for _, r := range a.Requests {
		if a.Encoded[r.Server] != nil && !slices.Contains(out, r.Server) {
			out = append(out, r.Server)
		}
	}
	return out
}

// push gives the filter another table, as a live edit.
func (f *filter) push(ctx context.Context, table []byte) (err error) {
	c := config.Config{Form: config.Access, Destination: workload(serverName), Version: 1, Table: table}.Encode()
	if f.plugin != nil {
		f.plugin, err = f.plugin.Update(ctx, c)
		return err
	}
	f.plugin, err = f.module.StartPlugin(ctx, wasmtest.Options{Now: time.Unix(noon, 0)},
		wasmtest.PluginConfig{Name: "access", Configuration: c})
	return err
}

// ask sends one request and compares what becomes of it with the verdict.
func (f *filter) ask(ctx context.Context, r world.Request, want policy.Verdict) error {
	facts := strings.NewReplacer(
		"%DOWNSTREAM_PEER_URI_SAN%", orNone(r.Peer), "%DOWNSTREAM_PEER_DNS_SAN%", callerLabel,
		"%DOWNSTREAM_PEER_CERT_V_END(%s)%", strconv.Itoa(expires),
	).Replace(guest.ConnectionFormat + strconv.Itoa(int(r.Port)))
	var headers []wasmtest.Pair
	for _, h := range r.Lines() {
		headers = append(headers, wasmtest.Pair{Name: h.Name, Value: h.Value})
	}
	before := f.denied(want.Reason)
	stream := f.plugin.HTTP(wasmtest.StreamInfo{Properties: wasmtest.Properties{
		wasmtest.Path("filter_state", guest.ConnectionKey): wasmtest.Text(facts),
	}})
	result := stream.RequestHeaders(ctx, headers, true)
	passed := stream.Upstream().Headers != nil
	stream.Done(ctx)
	status := 200
	if result.Reply != nil {
		status = result.Reply.Status
	}
	if wanted := statusOf(want); status != wanted || passed != want.Allow || (result.Action == wasmtest.Continue) != want.Allow {
		return fmt.Errorf("the policy says %+v, the filter answers %d, the request went on: %v", want, status, passed)
	}
	if !want.Allow && f.denied(want.Reason) != before+1 {
		return fmt.Errorf("the filter did not count a denial for %q", want.Reason)
	}
	return nil
}

func (f *filter) denied(r policy.Reason) uint64 {
	m, _ := f.plugin.VM().Proxy().Metric(wasmtest.Counter, traffic.DenialSeries(workload(callerName), workload(serverName), string(r)))
	return m.Value
}

// orNone is how Envoy writes what a certificate does not have.
func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func statusOf(v policy.Verdict) int {
	switch {
	case v.Allow:
		return 200
	case v.Reason == policy.ReasonReject:
		return 400
	}
	return 403
}
