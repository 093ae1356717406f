package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// converged returns once the mesh runs what the folder says: the control plane
// has no problem with it, every filter reports its policy, every Envoy has its
// routes. The suite sleeps instead; here that time is the limit.
func (b *bed) converged() error {
	wanted, err := b.snapshot()
	if err != nil {
		return err
	}
	return b.Await(convergence, "the mesh to run what was applied", func(ctx context.Context) error {
		status, err := b.Status(ctx)
		if err != nil {
			return err
		}
		if len(status.Problems) > 0 {
			return fmt.Errorf("the problems are %q", status.Problems)
		}
		if err := b.Applied(ctx, wanted); err != nil {
			return err
		}
		for _, w := range wanted.Workloads {
			if err := b.routed(ctx, wanted, w.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// routed returns nil if the Envoy of w has the routes that the snapshot means.
func (b *bed) routed(ctx context.Context, s *mesh.Snapshot, w mesh.Name) error {
	running, err := b.routes(ctx, w)
	if err != nil {
		return err
	}
	wanted := routesOf(s, w)
	if len(wanted) == 0 {
		return errors.New("the snapshot has no routes, which proves nothing")
	}
	for name, route := range wanted {
		if !proto.Equal(running[name], route) {
			return fmt.Errorf("%s has another route %s", w, name)
		}
	}
	return nil
}

func routesOf(s *mesh.Snapshot, w mesh.Name) map[string]proto.Message {
	return xds.Build(s, w, xds.Settings{LeafLifetime: ca.DefaultLeafLifetime})[xds.RouteType]
}

// routes asks an Envoy for the routes that it was sent.
func (b *bed) routes(ctx context.Context, w mesh.Name) (map[string]*routev3.RouteConfiguration, error) {
	text, err := b.Admin(w).Get(ctx, "/config_dump?resource=dynamic_route_configs")
	if err != nil {
		return nil, err
	}
	var dump struct {
		Configs []struct {
			Route json.RawMessage `json:"route_config"`
		}
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		return nil, err
	}
	out := map[string]*routev3.RouteConfiguration{}
	for _, c := range dump.Configs {
		var route routev3.RouteConfiguration
		// The type is known; @type is how the dump marks it.
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(c.Route, &route); err != nil {
			return nil, err
		}
		out[route.GetName()] = &route
	}
	return out, nil
}

// meant is what sidecars have to run for a snapshot: two that mean the same
// cannot be told apart by asking them.
func meant(s *mesh.Snapshot) string {
	text := fmt.Sprintln(s.Splits)
	for _, w := range s.Workloads {
		text += fmt.Sprintf("%s %x\n", w.Name, xds.PolicyVersion(s, w))
	}
	return text
}
