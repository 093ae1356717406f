package serve

import (
	"maps"
	"slices"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// proxies is the state as others may see it.
func (s *state) proxies() []Proxy {
	var out []Proxy
	for _, key := range slices.Sorted(maps.Keys(s.streams)) {
		st := s.streams[key]
		p := Proxy{Name: st.proxy, Since: st.since, Sent: st.bytes, Expires: st.expires, Settled: !st.isWaiting() && st.reached}
		for _, typeURL := range slices.Sorted(maps.Keys(st.refusals)) {
			p.Refusals = append(p.Refusals, st.refusals[typeURL]...)
		}
		p.Settled = p.Settled && len(p.Refusals) == 0
		for _, typeURL := range served() {
			for _, name := range slices.Sorted(maps.Keys(st.waiting[typeURL])) {
				if _, there := st.current[typeURL][name]; there {
					p.Waiting = append(p.Waiting, Resource{typeURL, name})
				}
			}
		}
		p.Module = s.moduleOf(st)
		out = append(out, p)
	}
	return out
}

// moduleOf returns the module of the last filters that a proxy took.
func (s *state) moduleOf(st *stream) string {
	switch {
	case len(st.current[xds.FilterType]) == 0:
		st.module = ""
	case len(st.sent[xds.FilterType]) == 0 && len(st.waiting[xds.FilterType]) == 0 && len(st.refusals[xds.FilterType]) == 0:
		st.module = s.module
	}
	return st.module
}
