package scenarios

import (
	"context"
	"errors"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// native decides with the policy package in this process, from the bytes that a
// filter would be given.
type native struct {
	tables map[mesh.Name]*policy.Table
	modes  map[mesh.Name]policy.Mode
}

func (*native) tellsRule() bool    { return true }
func (*native) hearsOutside() bool { return false }

func (n *native) begin(_ context.Context, s stage) error {
	n.tables, n.modes = map[mesh.Name]*policy.Table{}, map[mesh.Name]policy.Mode{}
	for _, w := range s.snapshot.Workloads {
		table, ok := policy.Decode(xds.Table(s.snapshot, w).Encode())
		if !ok {
			return errors.New("what the control plane encodes for " + w.Name.String() + " cannot be decoded")
		}
		n.tables[w.Name], n.modes[w.Name] = table, w.Mode
	}
	return nil
}

func (n *native) ask(_ context.Context, c call) (verdict, error) {
	table, mode := n.tables[c.server.Name], n.modes[c.server.Name]
	peer := mesh.SPIFFEID(trustDomain, c.caller.ServiceAccount)
	if c.wire == tcp {
		return inMode(mode, mode.InForce(table.DecideConnection(peer, c.port.Port))), nil
	}
	return inMode(mode, mode.InForce(table.Decide(policy.Request{
		Peer:    peer,
		Port:    c.port.Port,
		Method:  c.method,
		Path:    c.target,
		Headers: filterHeaders(c.request),
	}))), nil
}

// filterHeaders are a request's headers as Envoy hands them to a filter.
func filterHeaders(r request) []policy.Header { return policy.Join(headerLines(r)) }

// headerLines are a request's headers one by one: pseudo headers first, Host as
// one of them, and names in lower case. The scheme is that of the caller, whose
// sidecar adds TLS to it.
func headerLines(r request) []policy.Header {
	all := []policy.Header{
		{Name: ":authority", Value: r.host()},
		{Name: ":path", Value: r.target},
		{Name: ":method", Value: r.method},
		{Name: ":scheme", Value: "http"},
	}
	for _, h := range r.others() {
		all = append(all, policy.Header{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	return all
}
