package controlplane

import (
	"crypto/tls"
	"maps"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/modules"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// catalog is what each sidecar may fetch: what its configuration names now, and
// what it will name next. It never changes; another takes its place. The first
// has no snapshot: nothing is known yet.
type catalog struct {
	snapshot *mesh.Snapshot
	settings []xds.Settings
	// replaced is closed when another takes its place.
	replaced chan struct{}
}

// list makes what the book of modules serves, and what it will serve, known to
// those who wait for news.
func (p *plane) list(s *mesh.Snapshot, b modules.Book) {
	c := &catalog{snapshot: s, settings: []xds.Settings{p.settings(b.Serving)}, replaced: make(chan struct{})}
	if !maps.EqualFunc(b.Good, b.Serving, modules.Use.Equal) {
		c.settings = append(c.settings, p.settings(b.Good))
	}
	if old := p.catalog.Swap(c); old != nil {
		close(old.replaced)
	}
}

// references tells the registry what a workload may fetch.
func (p *plane) references(workload string) (digests []string, known bool, changed <-chan struct{}) {
	c := p.catalog.Load()
	name, ok := mesh.ParseName(workload)
	if !ok || c.snapshot == nil {
		return nil, false, c.replaced
	}
	found := map[string]bool{}
	for _, settings := range c.settings {
		for _, digest := range xds.References(c.snapshot, name, settings) {
			found[digest] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), true, c.replaced
}

// member is the workload of a verified certificate.
func (p *plane) member(state tls.ConnectionState) (workload string, until time.Time, err error) {
	leaf := state.PeerCertificates[0]
	id, err := ca.PeerIdentity(leaf, p.options.Settings.TrustDomain)
	return id.Workload.String(), leaf.NotAfter, err
}
