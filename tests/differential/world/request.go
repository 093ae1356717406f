package world

import (
	"strings"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// request is aimed at what one of the targets seems to grant, and then strays
// from it, as a rule in at most one way.
func (m *maker) request() Request {
	r := Request{
		Server: mesh.Name{Namespace: home, Name: "store-0"}, Account: mesh.Name{Namespace: home, Name: "store"},
		Peer: m.peer(), Port: pick(m, Ports()...), Method: "GET", Target: "/books",
		Headers: []policy.Header{{Name: ":authority", Value: "store.shop:8080"}},
	}
	if targets := m.w.Objects.TrafficTargets; len(targets) > 0 {
		t := targets[0]
		if !m.one(3) {
			t = pick(m, targets...)
		}
		m.aim(&r, t)
	}
	if m.one(3) {
		r.Target += pick(m, "?x=1", "?", "?/../admin", "?a?b", "?%2f")
	}
	for range pick(m, 0, 0, 0, 0, 1, 1, 2) {
		m.stray(&r)
	}
	return r
}

// aim makes a request that t may grant.
func (m *maker) aim(r *Request, t *access.TrafficTarget) {
	if t.Namespace == home && t.Spec.Destination.Name == "till" {
		r.Server, r.Account = mesh.Name{Namespace: home, Name: "till-0"}, mesh.Name{Namespace: home, Name: "till"}
	}
	if sources := t.Spec.Sources; len(sources) > 0 {
		s := pick(m, sources...)
		namespace := s.Namespace
		if namespace == "" {
			namespace = t.Namespace
		}
		r.Peer = mesh.SPIFFEID(TrustDomain, mesh.Name{Namespace: namespace, Name: s.Name})
	}
	var matches []specs.HTTPMatch
	for _, rule := range t.Spec.Rules {
		switch rule.Kind {
		case smi.KindTCPRoute:
			if route := m.w.route(t.Namespace, rule.Name); route != nil && len(route.Spec.Matches.Ports) > 0 {
				r.Port = uint16(pick(m, route.Spec.Matches.Ports...))
			}
		case smi.KindHTTPRouteGroup:
			if group := m.w.group(t.Namespace, rule.Name); group != nil {
				for _, match := range group.Spec.Matches {
					if len(rule.Matches) == 0 || contains(rule.Matches, match.Name) {
						matches = append(matches, match)
					}
				}
			}
		}
	}
	if len(matches) > 0 {
		m.match(r, pick(m, matches...))
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// match makes the request one of those that a match describes.
func (m *maker) match(r *Request, match specs.HTTPMatch) {
	if match.PathRegex != "" {
		r.Target = m.sample(match.PathRegex)
		if m.one(4) {
			r.Target += pick(m, "/x", "x", "/")
		}
	}
	if len(match.Methods) > 0 {
		if r.Method = pick(m, match.Methods...); r.Method == "*" {
			r.Method = pick(m, "GET", "BREW", "OPTIONS")
		}
	}
	// In a fixed order: a map has none, and one seed gives one request.
	for _, name := range []string{"x-role", "X-Role", "x-version", "User-Agent", "host", "Host", "x-tenant"} {
		expr, ok := match.Headers[name]
		if !ok {
			continue
		}
		value := m.sample(expr)
		if strings.EqualFold(name, "host") {
			r.Headers[0].Value = value
			continue
		}
		r.Headers = append(r.Headers, policy.Header{Name: strings.ToLower(name), Value: pick(m, "", "", "", " ", "\t") + value})
	}
}

func (m *maker) peer() string {
	id := mesh.SPIFFEID(TrustDomain, mesh.Name{
		Namespace: pick(m, "people", "shop", "other"), Name: pick(m, "reader", "buyer", "store"),
	})
	switch m.IntN(12) {
	case 0:
		return ""
	case 1:
		return id + "2"
	case 2:
		return id[:len(id)-1]
	case 3:
		return strings.Replace(id, TrustDomain, "other.test", 1)
	case 4:
		return strings.ToUpper(id)
	}
	return id
}

// stray changes one thing.
func (m *maker) stray(r *Request) {
	switch m.IntN(16) {
	case 0:
		r.Peer = m.peer()
	case 1:
		r.Port = pick(m, Ports()...)
	case 2:
		r.Port += pick[uint16](m, 1, 65535, 80)
	case 3, 4:
		r.Method = pick(m, "GET", "POST", "get", "Get", "HEAD", "PURGE", "DELETE", "BREW", "GETX")
	case 5:
		r.Server, r.Account = mesh.Name{Namespace: "people", Name: "reader-0"}, mesh.Name{Namespace: "people", Name: "reader"}
	case 6, 7, 8, 9:
		m.header(r)
	default:
		path, query, asked := strings.Cut(r.Target, "?")
		if r.Target = m.trick(path); asked {
			r.Target += "?" + query
		}
	}
}

// header drops, repeats, changes or adds a header line.
func (m *maker) header(r *Request) {
	i := m.IntN(len(r.Headers))
	h := &r.Headers[i]
	other := pick(m, "user", "admin", "thief", "", "v1", "v3", "1", "Firefox", "\xff", "us\xe9r", "user ", "USER", "世", "a,b")
	switch m.IntN(8) {
	case 0:
		if i > 0 {
			r.Headers = append(r.Headers[:i:i], r.Headers[i+1:]...)
		}
	case 1, 2:
		r.Headers = append(r.Headers, policy.Header{Name: h.Name, Value: other})
		if r.Headers[i].Name == ":authority" {
			r.Headers[len(r.Headers)-1].Name = "host"
		}
	case 3:
		h.Value = other
	case 4:
		h.Value = strings.ToUpper(h.Value)
	case 5:
		r.Headers = append(r.Headers, *h)
	case 6:
		r.Headers[0].Value = pick(m, "store.shop", "STORE.SHOP:80", "store.shop.", "[::1]:80", "", "till.shop", "store.shop:", "store.shop:x")
	default:
		r.Headers = append(r.Headers, policy.Header{Name: pick(m, "x-role", "x_role", "x-version", "user-agent", "x-tenant", "x-forwarded-client-cert"), Value: other})
	}
}

// trick writes a path in another way, or makes it another.
func (m *maker) trick(path string) string {
	if path == "" {
		return pick(m, "*", "/", "", "http://store.shop/books")
	}
	at := m.IntN(len(path))
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		slash = 0
	}
	insert := func(i int, s string) string { return path[:i] + s + path[i:] }
	escape := func(i int) string {
		const digits = "0123456789ABCDEF"
		return path[:i] + "%" + string(digits[path[i]>>4]) + string(digits[path[i]&15]) + path[i+1:]
	}
	switch m.IntN(16) {
	case 0:
		return insert(slash, pick(m, "/x/..", "/.", "/x/%2e%2E", "/x/y/../.."))
	case 1:
		return insert(slash, "/")
	case 2:
		return path + pick(m, ";v=1", ";", "/..;/admin", "/;x/..", "%3bx", "/.;a", "/..")
	case 3:
		return insert(at, pick(m, ";x", "/;x", ";jsessionid=1", "..;"))
	case 4, 5:
		return escape(at)
	case 6:
		return insert(at, pick(m, "%2f", "%5c", "%00", "%", "%zz", "%252e", "%2F.."))
	case 7:
		return insert(at, pick(m, `\`, "#", " ", "é", "\x00", "\x7f", "?"))
	case 8:
		return path[:slash] + pick(m, "/admin", "/books", "//", "/../admin", "/")
	case 9:
		return strings.ToUpper(path)
	case 10:
		return path[:at]
	case 11:
		return pick(m, "*", "", "http://store.shop"+path, "/"+path, "x"+path)
	case 12:
		return path + pick(m, "/", "x", "/admin", ".bak", "//", "/.", "/../admin")
	case 13:
		return strings.ReplaceAll(path, "/", pick(m, `\`, "//", "/./"))
	default:
		return insert(at, pick(m, "a", "1", "/", ".", "-", "%41", "|", "{"))
	}
}
