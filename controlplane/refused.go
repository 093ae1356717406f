package controlplane

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
)

// refused turns what sidecars refuse into problems of the objects that it was
// made of: one for each object and cause, however many sidecars there are.
func refused(s *mesh.Snapshot, proxies []serve.Proxy) []mesh.Problem {
	by := map[complaint][]mesh.Name{}
	var order []complaint
	for _, proxy := range proxies {
		for _, c := range complaints(s, proxy) {
			who := by[c]
			if len(who) == 0 {
				order = append(order, c)
			}
			if len(who) == 0 || who[len(who)-1] != proxy.Name {
				by[c] = append(who, proxy.Name)
			}
		}
	}
	var out []mesh.Problem
	for _, c := range order {
		who := by[c]
		out = append(out, mesh.Problem{
			Object: c.object, Effect: mesh.Refused,
			Cause: fmt.Sprintf("%s, %s first, refused what was made of it and went on with what was before: %s.",
				mesh.Counted(len(who), "sidecar", "sidecars"), who[0], strings.TrimSuffix(c.cause, ".")),
			Try: "Take back the last edit; `wasmesh status` shows the resource.",
		})
	}
	return out
}

// pending tells of users' filters that sidecars were given and have not taken yet.
func pending(proxies []serve.Proxy) []mesh.Problem {
	by := map[mesh.Name][]mesh.Name{}
	for _, proxy := range proxies {
		for _, filter := range awaited(proxy) {
			by[filter] = append(by[filter], proxy.Name)
		}
	}
	var out []mesh.Problem
	for _, filter := range slices.SortedFunc(maps.Keys(by), mesh.Name.Compare) {
		out = append(out, mesh.Problem{
			Object: filterObject(filter), Effect: mesh.Pending,
			Cause: fmt.Sprintf("it was not taken yet by %s, %s first.", mesh.Counted(len(by[filter]), "sidecar", "sidecars"), by[filter][0]),
		})
	}
	return out
}

// awaited are the users' filters that a proxy was given and has neither taken nor
// refused.
func awaited(proxy serve.Proxy) (filters []mesh.Name) {
	refuses := func(resource string) bool {
		return slices.ContainsFunc(proxy.Refusals, func(r serve.Refusal) bool {
			return r.Type == xds.FilterType && slices.Contains(r.Resources, resource)
		})
	}
	for _, r := range proxy.Waiting {
		name, attached := strings.CutPrefix(r.Name, xds.AttachedPrefix)
		if filter, ok := mesh.ParseName(name); ok && attached && r.Type == xds.FilterType && !refuses(r.Name) {
			filters = append(filters, filter)
		}
	}
	return filters
}

// complaint is one cause to refuse what was made of one object.
type complaint struct {
	object mesh.Object
	cause  string
}

func complaints(s *mesh.Snapshot, proxy serve.Proxy) []complaint {
	var out []complaint
	for _, r := range proxy.Refusals {
		for _, resource := range r.Resources {
			for _, o := range origins(s, proxy.Name, r.Type, resource) {
				out = append(out, complaint{o, r.Cause})
			}
		}
	}
	return out
}

// origins are the objects that a resource of a proxy is made of, as far as they
// can be mended: the sidecar's own workload if there is no other.
func origins(s *mesh.Snapshot, proxy mesh.Name, typeURL, resource string) []mesh.Object {
	w, _ := s.Workload(proxy)
	own := mesh.Object{Kind: smi.KindWorkload, Name: proxy}
	if w.Kind == mesh.KindPod {
		own.Kind = smi.KindPod
	}
	if name, ok := strings.CutPrefix(resource, xds.AttachedPrefix); ok && typeURL == xds.FilterType {
		if name, ok := mesh.ParseName(name); ok {
			return []mesh.Object{{Kind: smi.KindWasmFilter, Name: name}}
		}
	}
	if resource == config.AccessFilter || resource == config.ConnectionsFilter {
		var out []mesh.Object
		for _, g := range s.Grants(w.ServiceAccount) {
			if name, ok := mesh.ParseName(g.Name); ok {
				out = append(out, mesh.Object{Kind: smi.KindTrafficTarget, Name: name})
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	parts := strings.Split(resource, "|")
	if len(parts) < 3 || parts[0] != "outbound" {
		return []mesh.Object{own}
	}
	service, ok := mesh.ParseName(parts[1])
	if !ok {
		return []mesh.Object{own}
	}
	out := []mesh.Object{{Kind: smi.KindService, Name: service}}
	for _, split := range s.Splits {
		if split.Root == service && (typeURL == xds.RouteType || typeURL == xds.ListenerType) {
			out = append(out, mesh.Object{Kind: smi.KindTrafficSplit, Name: split.Name})
		}
	}
	return out
}
