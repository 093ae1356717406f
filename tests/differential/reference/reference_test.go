package reference

import (
	"testing"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const reader = "spiffe://t/ns/shop/sa/reader"

var store = Account{"shop", "store"}

// objects have one target to the store with the given rules, a group, and
// TCPRoutes to 8080, to 9090 and to every port.
func objects(rules ...access.TrafficTargetRule) Objects {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }
	route := func(name string, ports ...int) *specs.TCPRoute {
		return &specs.TCPRoute{ObjectMeta: meta(name), Spec: specs.TCPRouteSpec{Matches: specs.TCPMatch{Ports: ports}}}
	}
	target := &access.TrafficTarget{ObjectMeta: meta("t")}
	target.Spec.Destination = access.IdentityBindingSubject{Kind: "ServiceAccount", Name: "store"}
	target.Spec.Sources = []access.IdentityBindingSubject{{Kind: "ServiceAccount", Name: "reader"}}
	target.Spec.Rules = rules
	return Objects{
		TrustDomain: "t", Accounts: []Account{store, {"shop", "reader"}},
		Targets: []*access.TrafficTarget{target},
		Groups: []*specs.HTTPRouteGroup{{ObjectMeta: meta("books"), Spec: specs.HTTPRouteGroupSpec{
			Matches: []specs.HTTPMatch{{Name: "get", PathRegex: "/books", Methods: []string{"GET"}}},
		}}},
		Routes: []*specs.TCPRoute{route("one", 8080), route("two", 9090), route("every")},
	}
}

func tcp(name string) access.TrafficTargetRule {
	return access.TrafficTargetRule{Kind: "TCPRoute", Name: name}
}

var books = access.TrafficTargetRule{Kind: "HTTPRouteGroup", Name: "books"}

func TestConnections(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []access.TrafficTargetRule
		open  map[int]bool
	}{
		{"24: its TCPRoute's ports", []access.TrafficTargetRule{tcp("one")}, map[int]bool{8080: true, 9090: false}},
		{"28: the union", []access.TrafficTargetRule{tcp("one"), tcp("two")}, map[int]bool{8080: true, 9090: true, 1: false}},
		{"27: every port", []access.TrafficTargetRule{tcp("every")}, map[int]bool{1: true, 65535: true}},
		{"25: only a group opens none", []access.TrafficTargetRule{books}, map[int]bool{8080: false}},
		{"26: a group beside it does not matter", []access.TrafficTargetRule{books, tcp("one")}, map[int]bool{8080: true, 9090: false}},
		{"26: nor does one that is missing", []access.TrafficTargetRule{{Kind: "HTTPRouteGroup", Name: "gone"}, tcp("one")}, map[int]bool{8080: true}},
		{"22: one that is missing closes all", []access.TrafficTargetRule{tcp("one"), tcp("gone")}, map[int]bool{8080: false}},
		{"31: a UDPRoute opens none", []access.TrafficTargetRule{{Kind: "UDPRoute", Name: "one"}}, map[int]bool{8080: false}},
		{"16: no rule", nil, map[int]bool{8080: false}},
	} {
		p := Read(objects(c.rules...))
		for port, want := range c.open {
			if got := p.AllowsConnection(reader, store, port); got != want {
				t.Errorf("%s: port %d: got %v", c.name, port, got)
			}
			if p.AllowsConnection(reader+"2", store, port) || p.AllowsConnection(reader, Account{"shop", "till"}, port) {
				t.Errorf("%s: port %d is open to others, or elsewhere", c.name, port)
			}
		}
	}
}

func TestAnswer(t *testing.T) {
	ask := func(parts ...func(*Request)) Request {
		r := Request{To: store, Peer: reader, Port: 8080, Readings: []string{"/books/1"}, Method: "GET"}
		for _, part := range parts {
			part(&r)
		}
		return r
	}
	p := Read(objects(books, tcp("one")))
	for want, r := range map[Clause]Request{
		"":         ask(),
		Reject:     ask(func(r *Request) { r.Readings = nil }),
		Nobody:     ask(func(r *Request) { r.To.Name = "till" }),
		Source:     ask(func(r *Request) { r.Peer = "" }),
		Port:       ask(func(r *Request) { r.Port = 9090 }),
		Path:       ask(func(r *Request) { r.Readings = []string{"/x/books"} }),
		Parameters: ask(func(r *Request) { r.Readings = []string{"/books", "/x"} }),
		Method:     ask(func(r *Request) { r.Method = "get" }),
	} {
		a := p.Answer(r)
		if allowed := len(a.By) == 1 && a.By[0] == "shop/t"; allowed != (want == "") || !allowed && a.Clause != want {
			t.Errorf("%+v: got %+v, want %q", r, a, want)
		}
	}
}

func TestReading(t *testing.T) {
	for target, want := range map[string]string{
		"/a/b?x=1": "/a/b", "/a//b": "/a/b", "/%61": "/a", "/%7e%2E%2d": "/~.-", "/a/./b": "/a/b", "/a/../b": "/b", "/a/b/..": "/a/", "/..": "/", "/": "/", "/.a": "/.a",
	} {
		if got, refuse, known := Reading(target); got != want || refuse || !known {
			t.Errorf("%s: got %q, refused %v, known %v", target, got, refuse, known)
		}
	}
	for _, target := range []string{"", "*", "/a%2fb", "/%5C", "/%00", "/%", "/%4", "/%zz", "/a b", "/é", "/a#", "http://a/"} {
		if _, refuse, known := Reading(target); !refuse || !known {
			t.Errorf("%q: refused %v, known %v", target, refuse, known)
		}
	}
	for _, target := range []string{"/a;b", `/a\b`, "/%3b", "//", "/a//../b"} {
		if _, _, known := Reading(target); known {
			t.Errorf("%q: known", target)
		}
	}
}
