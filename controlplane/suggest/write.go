package suggest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// The versions in which objects are written.
const (
	accessVersion = "access.smi-spec.io/v1alpha3"
	specsVersion  = "specs.smi-spec.io/v1alpha4"
)

// writer makes the objects of one destination.
type writer struct {
	destination mesh.Name
	names       taken
	out         *Suggestion
}

func (w *writer) write(p plan) {
	var group string
	keys := slices.Sorted(maps.Keys(p.routes))
	matches := matchNames(keys, p.routes)
	if len(keys) > 0 {
		group = w.group(keys, matches, p.routes)
	}
	several := map[string]int{}
	for _, g := range p.grants {
		several[fmt.Sprint(g.sources)]++
	}
	tcp := map[string]string{}
	for _, g := range p.grants {
		name := w.names.name(smi.KindTrafficTarget, w.destination.Namespace, targetNames(w.destination, g, several[fmt.Sprint(g.sources)] > 1)...)
		t := &access.TrafficTarget{
			TypeMeta:   metav1.TypeMeta{APIVersion: accessVersion, Kind: smi.KindTrafficTarget},
			ObjectMeta: w.meta(name),
			Spec:       access.TrafficTargetSpec{Destination: subject(w.destination)},
		}
		for _, s := range g.sources {
			t.Spec.Sources = append(t.Spec.Sources, subject(s))
		}
		if len(g.routes) > 0 {
			rule := access.TrafficTargetRule{Kind: smi.KindHTTPRouteGroup, Name: group}
			for _, key := range g.routes {
				rule.Matches = append(rule.Matches, matches[key])
			}
			t.Spec.Rules = append(t.Spec.Rules, rule)
		}
		if len(g.ports) > 0 {
			t.Spec.Rules = append(t.Spec.Rules, access.TrafficTargetRule{Kind: smi.KindTCPRoute, Name: w.route(g.ports, tcp)})
		}
		w.out.Targets = append(w.out.Targets, t)
		w.done(smi.KindTrafficTarget, name, told(g))
	}
}

// done keeps the place of an object in the text, and what stands above it.
func (w *writer) done(kind, name, note string) {
	p := w.place(kind, name, "")
	w.out.order = append(w.out.order, p)
	w.out.notes[p] = note
}

// told says what a target stands for.
func told(g grant) string {
	one, many := "request", "requests"
	if g.opaque {
		one, many = "connection", "connections"
	}
	text := "Seen " + mesh.Counted(g.seen.requests, one, many)
	if g.seen.requests == 0 {
		text = "Seen open " + many
	}
	return text + ", the last at " + g.last.UTC().Format(time.RFC3339) + "."
}

// group writes all matches of the destination.
func (w *writer) group(keys []string, names map[string]string, routes map[string]*route) string {
	name := w.names.name(smi.KindHTTPRouteGroup, w.destination.Namespace, w.destination.Name+"-routes", w.destination.Name+"-routes-seen")
	g := &specs.HTTPRouteGroup{TypeMeta: metav1.TypeMeta{APIVersion: specsVersion, Kind: smi.KindHTTPRouteGroup}, ObjectMeta: w.meta(name)}
	for _, key := range keys {
		r := routes[key]
		g.Spec.Matches = append(g.Spec.Matches, specs.HTTPMatch{Name: names[key], PathRegex: r.pattern, Methods: r.methods})
		var notes []string
		for _, wild := range r.wilds {
			// No value is told: one could be a secret, and policies are kept for long.
			text := fmt.Sprintf("%s stands for %s seen", wild.stands, mesh.Counted(len(wild.values), "value", "values"))
			notes = append(notes, text)
			w.out.Remarks = append(w.out.Remarks, Remark{Wider, w.destination, fmt.Sprintf("match %s: %s.", names[key], text)})
		}
		if r.seen.requests > 0 && r.seen.notFound == r.seen.requests {
			notes = append(notes, "always answered 404 or 405: is it wanted?")
		}
		w.out.notes[w.place(smi.KindHTTPRouteGroup, name, names[key])] = strings.Join(notes, "\n")
	}
	w.out.Groups = append(w.out.Groups, g)
	w.done(smi.KindHTTPRouteGroup, name, "What was asked of "+w.destination.String()+".")
	return name
}

// route writes a TCPRoute for some ports, once.
func (w *writer) route(ports []uint16, written map[string]string) string {
	wish := w.destination.Name + "-port" + numbers(ports)
	if name := written[wish]; name != "" {
		return name
	}
	name := w.names.name(smi.KindTCPRoute, w.destination.Namespace, wish)
	r := &specs.TCPRoute{TypeMeta: metav1.TypeMeta{APIVersion: specsVersion, Kind: smi.KindTCPRoute}, ObjectMeta: w.meta(name)}
	for _, p := range ports {
		r.Spec.Matches.Ports = append(r.Spec.Matches.Ports, int(p))
	}
	written[wish] = name
	w.out.Routes = append(w.out.Routes, r)
	w.done(smi.KindTCPRoute, name, "")
	return name
}

func (w *writer) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: w.destination.Namespace}
}

func (w *writer) place(kind, name, match string) place {
	return place{kind, mesh.Name{Namespace: w.destination.Namespace, Name: name}, match}
}

func subject(n mesh.Name) access.IdentityBindingSubject {
	return access.IdentityBindingSubject{Kind: smi.KindServiceAccount, Name: n.Name, Namespace: n.Namespace}
}
