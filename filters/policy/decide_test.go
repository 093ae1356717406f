package policy_test

import (
	"testing"

	"github.com/wasmesh/wasmesh/filters/automaton"
	"github.com/wasmesh/wasmesh/filters/pattern"
	"github.com/wasmesh/wasmesh/filters/policy"
)

const (
	reader = "spiffe://mesh.test/ns/shop/sa/reader"
	buyer  = "spiffe://mesh.test/ns/shop/sa/buyer"
)

func path(t testing.TB, expr string) *automaton.Automaton {
	t.Helper()
	return compiled(t, expr, pattern.Path)
}

func value(t testing.TB, expr string) *automaton.Automaton {
	t.Helper()
	return compiled(t, expr, pattern.Value)
}

func compiled(t testing.TB, expr string, compile func(string) (*automaton.Automaton, error)) *automaton.Automaton {
	t.Helper()
	a, err := compile(expr)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// grant allows the reader everything on every port through the given matches.
func grant(name string, matches ...policy.Match) policy.Grant {
	return policy.Grant{
		Name: name, Sources: []string{reader}, Ports: []policy.PortRange{policy.EveryPort()}, Matches: matches,
	}
}

// request is the reader's; parts says what differs from GET /books at port 80.
func request(parts ...func(*policy.Request)) policy.Request {
	r := policy.Request{Peer: reader, Port: 80, Method: "GET", Path: "/books"}
	for _, part := range parts {
		part(&r)
	}
	return r
}

func from(peer string) func(*policy.Request) { return func(r *policy.Request) { r.Peer = peer } }
func at(port uint16) func(*policy.Request)   { return func(r *policy.Request) { r.Port = port } }
func by(method string) func(*policy.Request) { return func(r *policy.Request) { r.Method = method } }
func of(raw string) func(*policy.Request)    { return func(r *policy.Request) { r.Path = raw } }
func with(pairs ...string) func(*policy.Request) {
	return func(r *policy.Request) {
		for i := 0; i+1 < len(pairs); i += 2 {
			r.Headers = append(r.Headers, policy.Header{Name: pairs[i], Value: pairs[i+1]})
		}
	}
}

// scenario is a table and what it answers to some requests.
type scenario struct {
	rule   string
	grants []policy.Grant
	asked  []asked
}

type asked struct {
	request policy.Request
	// want is the grant that allows, or a reason.
	want string
}

func TestDecide(t *testing.T) {
	scenarios := append(accessScenarios(t), routeScenarios(t)...)
	for _, s := range append(scenarios, headerScenarios(t)...) {
		t.Run(s.rule, func(t *testing.T) {
			table := policy.Compile(s.grants)
			decoded, ok := policy.Decode(table.Encode())
			if !ok {
				t.Fatal("the encoded table is refused")
			}
			for _, a := range s.asked {
				for form, table := range map[string]*policy.Table{"compiled": table, "decoded": decoded} {
					v := table.Decide(a.request)
					got := string(v.Reason)
					if v.Allow {
						got = v.Rule
					}
					if got != a.want || v.Allow != (v.Reason == policy.ReasonNone) {
						t.Errorf("%s table, %+v: got %+v, want %s", form, a.request, v, a.want)
					}
				}
			}
		})
	}
}

func accessScenarios(t *testing.T) []scenario {
	any := policy.Match{Name: "any"}
	get := policy.Match{Name: "get", Path: path(t, "/books$"), Methods: []string{"GET"}}
	narrow, ports := grant("shop/narrow", get), grant("shop/ports", any)
	ports.Ports = []policy.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8002}}
	both := grant("shop/both", get)
	both.Ports = ports.Ports
	nowhere := grant("shop/nowhere", any)
	nowhere.Ports = nil
	buyers := grant("shop/wide", any)
	buyers.Sources = []string{buyer}
	return []scenario{
		{"1: deny by default", nil, []asked{{request(), "policy"}}},
		{"5: targets add up", []policy.Grant{narrow, grant("shop/post", policy.Match{Methods: []string{"POST"}})}, []asked{
			{request(), "shop/narrow"}, {request(by("POST")), "shop/post"}, {request(by("PUT")), "method"},
		}},
		{"6: overlapping targets of two sources", []policy.Grant{narrow, buyers}, []asked{
			{request(), "shop/narrow"}, {request(from(buyer)), "shop/wide"},
			{request(from(buyer), by("POST"), of("/x")), "shop/wide"}, {request(of("/x")), "path"},
		}},
		{"7: source not listed", []policy.Grant{buyers}, []asked{{request(), "source"}, {request(from("")), "source"}}},
		{"8: source listed, route not", []policy.Grant{narrow}, []asked{{request(of("/admin")), "path"}}},
		{"10: other namespace, other domain, prefix", []policy.Grant{narrow}, []asked{
			{request(from("spiffe://mesh.test/ns/other/sa/reader")), "source"},
			{request(from("spiffe://other.test/ns/shop/sa/reader")), "source"},
			{request(from(reader + "2")), "source"}, {request(from(reader[:len(reader)-1])), "source"},
		}},
		{"16: nothing to match grants nothing", []policy.Grant{grant("shop/empty")}, []asked{{request(), "policy"}}},
		{"19: every match of a group", []policy.Grant{grant("shop/a", get, policy.Match{Methods: []string{"PUT"}})}, []asked{
			{request(), "shop/a"}, {request(by("PUT")), "shop/a"},
		}},
		{"23: ports and matches", []policy.Grant{both}, []asked{
			{request(), "shop/both"}, {request(at(81)), "port"}, {request(of("/x")), "path"},
		}},
		{"24: only ports", []policy.Grant{ports}, []asked{{request(by("PURGE"), of("/x")), "shop/ports"}, {request(at(79)), "port"}}},
		{"25: only routes", []policy.Grant{narrow}, []asked{{request(at(0)), "shop/narrow"}, {request(at(65535)), "shop/narrow"}}},
		{"27: no port at all is not every port", []policy.Grant{nowhere}, []asked{{request(), "port"}}},
		{"28: union of ports, both ends", []policy.Grant{ports}, []asked{
			{request(at(8000)), "shop/ports"}, {request(at(8002)), "shop/ports"}, {request(at(7999)), "port"}, {request(at(8003)), "port"},
		}},
	}
}

func routeScenarios(t *testing.T) []scenario {
	one := func(m policy.Match) []policy.Grant { return []policy.Grant{grant("shop/a", m)} }
	public := one(policy.Match{Path: path(t, "/public(/.*)?$")})
	return []scenario{
		{"36: anchored at the start only", one(policy.Match{Path: path(t, "/books")}), []asked{
			{request(of("/books/1")), "shop/a"}, {request(of("/bookshop")), "shop/a"}, {request(of("/x/books")), "path"},
		}},
		{"37: the query does not count", public, []asked{
			{request(of("/public?x=1")), "shop/a"}, {request(of("/public?/../admin")), "shop/a"}, {request(of("/admin?/public")), "path"},
		}},
		{"38: path tricks", public, []asked{
			{request(of("/public/../admin")), "path"}, {request(of("/public/%2e%2E/admin")), "path"},
			{request(of("//admin")), "path"}, {request(of("/public/..;/admin")), "path"},
			{request(of(`/public\..\admin`)), "path"}, {request(of("/public/;/../../admin")), "path"},
			{request(of("/%70ublic")), "shop/a"}, {request(of("//public//x")), "shop/a"}, {request(of("/PUBLIC")), "path"},
			{request(of("/public%2f..%2fadmin")), "reject"}, {request(of("/public%5C..%5Cadmin")), "reject"},
			{request(of("/public/%252e%252e/admin")), "shop/a"}, {request(of("/public%00")), "reject"},
			{request(of("*")), "reject"}, {request(of("")), "reject"}, {request(of("/public#x")), "reject"},
		}},
		{"38: parameters, in both readings", one(policy.Match{Path: path(t, "/admin$|/public")}), []asked{
			{request(of("/public;x/y")), "shop/a"}, {request(of("/admin;x=y")), "path"}, {request(of("/;x/secret")), "path"},
		}},
		{"38: parameters may not complete a path", one(policy.Match{Path: path(t, "/;x/secret|/a%3Bb")}), []asked{
			{request(of("/;x/secret")), "path"}, {request(of("/a%3Bb")), "path"},
		}},
		{"40: any path, but a path", one(policy.Match{Methods: []string{"GET"}}), []asked{
			{request(of("/x/y?z")), "shop/a"}, {request(of("*")), "reject"},
		}},
		{"41: any method", one(policy.Match{Path: path(t, "/books")}), []asked{
			{request(by("PURGE")), "shop/a"}, {request(by("get")), "shop/a"},
		}},
		{"42: listed methods, exactly", one(policy.Match{Methods: []string{"GET", "PUT"}}), []asked{
			{request(by("PUT")), "shop/a"}, {request(by("get")), "method"}, {request(by("HEAD")), "method"},
			{request(by("")), "method"}, {request(by("GET ")), "method"},
			{request(by("POST"), with("x-http-method-override", "GET")), "method"},
		}},
		{"44: matches are alternatives, the furthest failure is told", []policy.Grant{
			grant("shop/a", policy.Match{Path: path(t, "/x")}, policy.Match{Path: path(t, "/y"), Methods: []string{"PUT"}}),
		}, []asked{
			{request(of("/x")), "shop/a"}, {request(of("/y"), by("PUT")), "shop/a"}, {request(of("/y")), "method"}, {request(of("/z")), "path"},
		}},
	}
}

func headerScenarios(t *testing.T) []scenario {
	header := func(name, expr string) policy.HeaderMatch {
		return policy.HeaderMatch{Name: name, Value: value(t, expr)}
	}
	one := func(headers ...policy.HeaderMatch) []policy.Grant {
		return []policy.Grant{grant("shop/a", policy.Match{Headers: headers})}
	}
	return []scenario{
		{"43: all headers", one(header("x-a", "1"), header("x-b", "2")), []asked{
			{request(with("x-b", "2", "x-a", "1")), "shop/a"}, {request(with("x-a", "1")), "header"}, {request(with("x-b", "2")), "header"},
		}},
		{"45: path, method and headers", []policy.Grant{grant("shop/a", policy.Match{
			Path: path(t, "/books$"), Methods: []string{"GET"}, Headers: []policy.HeaderMatch{header("x-a", "1")},
		})}, []asked{
			{request(with("x-a", "1")), "shop/a"}, {request(with("x-a", "2")), "header"},
			{request(by("PUT"), with("x-a", "1")), "method"}, {request(of("/x"), with("x-a", "1")), "path"},
		}},
		{"46: the whole value", one(header("user-agent", "Firefox")), []asked{
			{request(with("user-agent", "Firefox")), "shop/a"}, {request(with("user-agent", "Mozilla Firefox")), "header"},
			{request(with("user-agent", "firefox")), "header"}, {request(with("user-agent", "")), "header"},
		}},
		{"46: white space around a value", one(header("x-role", "user")), []asked{
			{request(with("x-role", " user\t")), "shop/a"}, {request(with("x-role", "us er")), "header"}, {request(with("x-role", "user\r")), "header"},
		}},
		{"47: absent, and present under another name", one(header("x-role", ".*")), []asked{
			{request(), "header"}, {request(with("x_role", "user")), "header"}, {request(with("x-role", "")), "shop/a"},
		}},
		{"47: every value of a name", one(header("x-role", "user")), []asked{
			{request(with("x-role", "user", "x-role", "admin")), "header"}, {request(with("x-role", "admin", "x-role", "user")), "header"},
			{request(with("x-role", "user", "x-role", "user")), "shop/a"}, {request(with("x-role", "user,admin")), "header"},
		}},
		{"47: host is the authority", one(header("host", `shop\.test`)), []asked{
			{request(with(":authority", "shop.test")), "shop/a"}, {request(with(":authority", "SHOP.test.:80")), "shop/a"},
			{request(with("host", "shop.test")), "shop/a"}, {request(with(":authority", "other.test")), "header"},
			{request(with(":authority", "shop.test", "host", "other.test")), "header"},
			{request(with(":authority", "shop.test@other.test")), "header"}, {request(), "header"},
		}},
	}
}
