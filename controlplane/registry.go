package controlplane

import (
	"crypto/tls"
	"maps"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// catalog is what each sidecar may fetch: what its configuration names now, and
// what it will name next. It never changes; another takes its place.
type catalog struct {
	snapshot      *mesh.Snapshot
	serving, next xds.Settings
	// replaced is closed when another takes its place.
	replaced chan struct{}
}

// offer makes a catalog the present one.
func (p *plane) offer(c *catalog) {
	c.replaced = make(chan struct{})
	if old := p.catalog.Swap(c); old != nil {
		close(old.replaced)
	}
}

// references tells the registry what a workload may fetch.
func (p *plane) references(workload string) ([]string, <-chan struct{}) {
	c := p.catalog.Load()
	name, ok := mesh.ParseName(workload)
	if !ok || c == nil {
		return nil, nil
	}
	found := map[string]bool{}
	for _, settings := range []xds.Settings{c.serving, c.next} {
		for _, digest := range xds.References(c.snapshot, name, settings) {
			found[digest] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), c.replaced
}

// member is the workload of a verified certificate.
func (p *plane) member(state tls.ConnectionState) (workload string, until time.Time, err error) {
	leaf := state.PeerCertificates[0]
	id, err := ca.PeerIdentity(leaf, p.options.Settings.TrustDomain)
	return id.Workload.String(), leaf.NotAfter, err
}
