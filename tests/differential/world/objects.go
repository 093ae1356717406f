package world

import (
	"fmt"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// home is the namespace of what is called; most targets are there.
const home = "shop"

// Ports are those that worlds speak of and requests go to.
func Ports() []uint16 { return []uint16{8080, 8081, 9090, 14001, 1, 65535} }

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func (m *maker) objects() {
	o := &m.w.Objects
	for _, name := range []string{"shop/store", "shop/till", "shop/reader", "people/store", "people/reader", "people/buyer", "other/reader"} {
		if name == "shop/store" || !m.one(10) {
			namespace, name := split(name)
			o.ServiceAccounts = append(o.ServiceAccounts, &corev1.ServiceAccount{ObjectMeta: meta(namespace, name)})
		}
	}
	m.workloads()
	for i := range 4 {
		if !m.one(12) {
			o.HTTPRouteGroups = append(o.HTTPRouteGroups, m.group(home, fmt.Sprintf("g%d", i)))
		}
		if m.one(4) {
			o.HTTPRouteGroups = append(o.HTTPRouteGroups, m.group("people", fmt.Sprintf("g%d", i)))
		}
	}
	for i := range 3 {
		if !m.one(12) {
			o.TCPRoutes = append(o.TCPRoutes, m.route(home, fmt.Sprintf("r%d", i)))
		}
		if m.one(4) {
			o.TCPRoutes = append(o.TCPRoutes, m.route("people", fmt.Sprintf("r%d", i)))
		}
	}
	if m.one(25) {
		return // nothing is granted to anyone
	}
	for i := range 2 + m.IntN(4) {
		namespace := home
		if m.one(12) {
			namespace = "people"
		}
		t := m.target(namespace, fmt.Sprintf("t%d", i))
		if i == 0 && !m.one(5) {
			m.mend(t)
		}
		o.TrafficTargets = append(o.TrafficTargets, t)
	}
}

// workloads are two servers and, at times, one that cannot be used.
func (m *maker) workloads() {
	for i, account := range []string{"shop/store", "shop/till", "people/reader", "shop/missing"} {
		namespace, name := split(account)
		address := fmt.Sprintf("10.0.0.%d", i+1)
		if m.one(20) && i > 0 {
			address = "nowhere"
		}
		m.w.Objects.Workloads = append(m.w.Objects.Workloads, &v1alpha1.Workload{
			ObjectMeta: meta(namespace, name+"-0"),
			Spec: v1alpha1.WorkloadSpec{
				ServiceAccount: name, Address: address, Ports: []v1alpha1.WorkloadPort{{Port: 8080}, {Port: 9090}},
			},
		})
	}
}

func split(name string) (string, string) {
	for i := range name {
		if name[i] == '/' {
			return name[:i], name[i+1:]
		}
	}
	return "", name
}

func (m *maker) target(namespace, name string) *access.TrafficTarget {
	t := &access.TrafficTarget{ObjectMeta: meta(namespace, name)}
	t.Spec.Destination = access.IdentityBindingSubject{Kind: m.kind(40), Name: "store", Namespace: namespace}
	switch m.IntN(20) {
	case 0:
		t.Spec.Destination.Name = pick(m, "stroe", "", "Store")
	case 1:
		t.Spec.Destination.Namespace = pick(m, "people", "shop", "nowhere")
	case 2, 3, 4:
		t.Spec.Destination.Name = "till"
	}
	switch {
	case namespace != home && m.one(3):
		t.Spec.Destination.Namespace = home // which is not this target's to open
	case m.one(2):
		t.Spec.Destination.Namespace = ""
	}
	sources := 1 + m.IntN(3)
	if m.one(25) {
		sources = 0
	}
	for range sources {
		account := pick(m, "people/reader", "people/buyer", "shop/reader", "people/store", "shop/store", "other/reader")
		if m.one(12) {
			account = pick(m, "people/raeder", "other/buyer", "nowhere/reader", "shop/")
		}
		from := access.IdentityBindingSubject{Kind: m.kind(25)}
		from.Namespace, from.Name = split(account)
		if from.Namespace == namespace && m.one(2) || m.one(20) {
			from.Namespace = ""
		}
		t.Spec.Sources = append(t.Spec.Sources, from)
	}
	rules := 1 + m.IntN(3)
	if m.one(25) {
		rules = 0
	}
	for range rules {
		t.Spec.Rules = append(t.Spec.Rules, m.rule())
	}
	return t
}

// mend adds to a target what makes it grant something in most worlds: with
// mistakes everywhere nearly all requests would end at a target that is inert.
func (m *maker) mend(t *access.TrafficTarget) {
	t.Namespace = home
	t.Spec.Destination = access.IdentityBindingSubject{Kind: smi.KindServiceAccount, Name: "store"}
	from := pick(m, m.w.Objects.ServiceAccounts...)
	t.Spec.Sources = append(t.Spec.Sources, access.IdentityBindingSubject{Kind: smi.KindServiceAccount, Name: from.Name, Namespace: from.Namespace})
	for i := range t.Spec.Rules {
		r := &t.Spec.Rules[i]
		if r.Kind == smi.KindHTTPRouteGroup && len(m.w.Objects.HTTPRouteGroups) > 0 {
			r.Name, r.Matches = pick(m, m.w.Objects.HTTPRouteGroups...).Name, nil
		}
		if r.Kind == smi.KindTCPRoute && len(m.w.Objects.TCPRoutes) > 0 {
			r.Name = pick(m, m.w.Objects.TCPRoutes...).Name
		}
	}
}

// kind of a subject: another than the one served once in n times.
func (m *maker) kind(n int) string {
	if m.one(n) {
		return pick(m, "Group", "serviceaccount", "", "IdentityBinding", "User")
	}
	return smi.KindServiceAccount
}

func (m *maker) rule() access.TrafficTargetRule {
	r := access.TrafficTargetRule{Kind: smi.KindHTTPRouteGroup, Name: fmt.Sprintf("g%d", m.IntN(4))}
	switch m.IntN(40) {
	case 0:
		r.Kind = pick(m, "GRPCRoute", "httproutegroup", "", "TCPRoutes")
	case 1, 2:
		r.Kind = smi.KindUDPRoute
	case 3, 4, 5, 6, 7, 8, 9, 10:
		r.Kind, r.Name = smi.KindTCPRoute, fmt.Sprintf("r%d", m.IntN(3))
	}
	if m.one(30) {
		r.Name = pick(m, "gone", "", "G0")
	}
	if m.one(3) {
		for range 1 + m.IntN(2) {
			r.Matches = append(r.Matches, pick(m, "m0", "m0", "m0", "m1", "m1", "m2", "m3", "", "nope", "matches[0]"))
		}
	}
	return r
}

func (m *maker) route(namespace, name string) *specs.TCPRoute {
	r := &specs.TCPRoute{ObjectMeta: meta(namespace, name)}
	if m.one(5) {
		return r
	}
	for range 1 + m.IntN(3) {
		p := int(pick(m, Ports()...))
		if m.one(12) {
			p = pick(m, 0, -1, 65536, 65536+8080)
		}
		r.Spec.Matches.Ports = append(r.Spec.Matches.Ports, p)
	}
	return r
}

func (m *maker) group(namespace, name string) *specs.HTTPRouteGroup {
	g := &specs.HTTPRouteGroup{ObjectMeta: meta(namespace, name)}
	matches := 1 + m.IntN(3)
	if m.one(15) {
		matches = 0
	}
	for i := range matches {
		match := specs.HTTPMatch{Name: fmt.Sprintf("m%d", i), Methods: m.methods()}
		switch m.IntN(12) {
		case 0:
			match.Name = pick(m, "m0", "m1") // perhaps for the second time
		case 1:
			match.Name = ""
		case 2:
			match.Name = "matches[0]" // what one without a name is called
		}
		if !m.one(5) {
			match.PathRegex = m.pathExpression()
		}
		for range pick(m, 0, 0, 0, 1, 1, 2) {
			if match.Headers == nil {
				match.Headers = map[string]string{}
			}
			match.Headers[m.headerName()] = m.valueExpression()
		}
		g.Spec.Matches = append(g.Spec.Matches, match)
	}
	return g
}

func (m *maker) methods() []string {
	switch m.IntN(20) {
	case 0, 1, 2, 3, 4, 5, 6:
		return nil
	case 7:
		return []string{"*"}
	case 8:
		return []string{pick(m, "get", "G T", "", "Get"), pick(m, "GET", "*")}
	}
	out := []string{"GET"}
	for range m.IntN(3) {
		out = append(out, pick(m, "POST", "HEAD", "PUT", "DELETE", "PURGE", "GET", "M-SEARCH"))
	}
	return out
}

func (m *maker) headerName() string {
	if m.one(25) {
		return pick(m, "x role", "x_role", ":authority", "", "x-röle")
	}
	return pick(m, "x-role", "X-Role", "x-version", "User-Agent", "host", "Host", "x-tenant")
}
