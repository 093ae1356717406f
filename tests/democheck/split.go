package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

const (
	// splitRequests is how many requests a share is measured over.
	splitRequests = 1000
	splitRate     = 400
	// sigmas is how far a share may be off, in standard deviations: a right split
	// fails such a line once in 16,000 times.
	sigmas = 4
)

// split is line 4: requests are spread as the manifest says, before and after
// it is edited.
func (c *check) split(ctx context.Context) error {
	for _, weights := range [][2]int{{50, 50}, {90, 10}} {
		if err := c.files.writeSplit(weights[0], weights[1]); err != nil {
			return err
		}
		if err := c.awaitSplit(ctx, weights); err != nil {
			return err
		}
		delta, mismatch, err := c.load(ctx, splitRate, 0, splitRequests*time.Second/splitRate)
		if err != nil {
			return err
		}
		one := delta.sum(entry{counted: byFilter, from: demo.Buyer, to: demo.StoreOne})
		n := one + delta.sum(entry{counted: byFilter, from: demo.Buyer, to: demo.StoreTwo})
		tolerance, failure := deviation(one, n, float64(weights[0])/100)
		c.line("4", fmt.Sprintf("split %d/%d: shares of v1 and v2", weights[0], weights[1]),
			errors.Join(mismatch, failure, delta.only(demo.Buyer, http.StatusOK, splitRequests/2)),
			"%.1f %% and %.1f %% of %d requests (tolerance %.1f: %d sigma)",
			percent(one, n), percent(n-one, n), n, 100*tolerance, sigmas)
	}
	return nil
}

func percent(part, all int) float64 { return 100 * float64(part) / float64(max(all, 1)) }

// deviation returns how far the share of one in n may be off p, and an error if
// it is further off.
func deviation(one, n int, p float64) (tolerance float64, failure error) {
	if n == 0 {
		return 0, errors.New("there were no requests")
	}
	tolerance = sigmas * math.Sqrt(p*(1-p)/float64(n))
	if share := float64(one) / float64(n); math.Abs(share-p) > tolerance {
		return tolerance, fmt.Errorf("the share of v1 is %.3f; expected %.3f, give or take %.3f", share, p, tolerance)
	}
	return tolerance, nil
}

// awaitSplit waits until the buyer's own Envoy has the weights.
func (c *check) awaitSplit(_ context.Context, weights [2]int) error {
	buyer := c.mesh.Sidecars[mesh.Name{Namespace: "bookbuyer", Name: demo.Buyer}]
	want := fmt.Sprintf("weights %d and %d", weights[0], weights[1])
	return c.mesh.Await(effectLimit, want+" in the buyer's sidecar", func(ctx context.Context) error {
		dump, err := buyer.Admin.Ask(ctx, http.MethodGet, "/config_dump?resource=dynamic_route_configs")
		if err != nil {
			return err
		}
		for _, one := range []struct {
			store  string
			weight int
		}{{demo.StoreOne, weights[0]}, {demo.StoreTwo, weights[1]}} {
			cluster := xds.OutboundName(mesh.Name{Namespace: "bookstore", Name: one.store}, 14001)
			if !hasWeight(string(dump), cluster, one.weight) {
				return fmt.Errorf("it does not send %d parts to %s", one.weight, cluster)
			}
		}
		return nil
	})
}

// hasWeight looks for the weight that follows a cluster's name in a dump of
// routes, which is JSON without a fixed layout.
func hasWeight(dump, cluster string, weight int) bool {
	text := strings.Join(strings.Fields(dump), "")
	return strings.Contains(text, fmt.Sprintf(`{"name":%q,"weight":%d}`, cluster, weight))
}
