package explain_test

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/explain"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

func named(s string) mesh.Name {
	n, _ := mesh.ParseName(s)
	return n
}

// shop has a root with two splits, over backends of two accounts, of which one
// grants, and a backend without endpoints.
func shop() *mesh.Snapshot {
	service := func(name string, accounts ...string) mesh.Service {
		p := mesh.ServicePort{Port: 80, Protocol: mesh.HTTP1}
		for _, a := range accounts {
			p.Endpoints = append(p.Endpoints, mesh.Endpoint{Workload: named(name + "-1"), ServiceAccount: named(a), Port: 8080},
				mesh.Endpoint{Workload: named(name + "-2"), ServiceAccount: named(a), Port: 8080})
		}
		return mesh.Service{Name: named(name), Ports: []mesh.ServicePort{p}}
	}
	workload := func(name, account string) mesh.Workload {
		return mesh.Workload{Name: named(name), ServiceAccount: named(account), Ports: []mesh.WorkloadPort{{Port: 8080, Protocol: mesh.HTTP1}}}
	}
	return &mesh.Snapshot{
		TrustDomain: "test",
		Services:    []mesh.Service{service("shop/idle"), service("shop/root", "shop/open"), service("shop/v1", "shop/open"), service("shop/v2", "shop/shut")},
		Workloads:   []mesh.Workload{workload("shop/a", "shop/open"), workload("shop/b", "shop/shut")},
		Access: []mesh.Access{{ServiceAccount: named("shop/open"), Grants: []policy.Grant{{
			Name: "shop/all", Sources: []string{"spiffe://test/ns/shop/sa/me"}, Ports: []policy.PortRange{policy.EveryPort()}, Matches: []policy.Match{{Name: "any"}},
		}}}},
		Splits: []mesh.Split{
			{Name: named("shop/beta"), Root: named("shop/root"), Conditional: true,
				Conditions: []mesh.Condition{{Match: policy.Match{Name: "g/put", Methods: []string{"PUT"}}}}, Backends: []mesh.Backend{{Service: named("shop/v1"), Weight: 1}, {Service: named("shop/v2"), Weight: 0}}},
			{Name: named("shop/rollout"), Root: named("shop/root"), Backends: []mesh.Backend{
				{Service: named("shop/idle"), Weight: 1}, {Service: named("shop/v1"), Weight: 6}, {Service: named("shop/v2"), Weight: 1}, {Service: named("shop/root"), Weight: 0},
			}},
		},
	}
}

func TestAskService(t *testing.T) {
	for _, c := range []struct{ service, method, path, want string }{
		{"shop/root", "PUT", "/", `allowed  shop/me -> service shop/root:80 PUT /
  TrafficSplit shop/beta applies, as the request meets g/put; its backends get
    100 %  shop/v1  allowed at shop/open:8080 by TrafficTarget shop/all
    0 %    shop/v2  denied at shop/shut:8080 because: no TrafficTarget has shop/shut as its destination, so nothing is granted to anyone
`},
		{"shop/root", "GET", "/", `partly allowed  shop/me -> service shop/root:80 GET /
  TrafficSplit shop/rollout applies; its backends get
    12.5 %  shop/idle  no endpoint: answered 503
    75 %    shop/v1    allowed at shop/open:8080 by TrafficTarget shop/all
    12.5 %  shop/v2    denied at shop/shut:8080 because: no TrafficTarget has shop/shut as its destination, so nothing is granted to anyone
    0 %     shop/root  allowed at shop/open:8080 by TrafficTarget shop/all
`},
		{"shop/v2", "GET", "/", `denied  shop/me -> service shop/v2:80 GET /
  refused by the caller's own sidecar (source): nothing it could send here would pass
  no TrafficSplit applies; the service's own endpoints get
    100 %  shop/v2  denied at shop/shut:8080 because: no TrafficTarget has shop/shut as its destination, so nothing is granted to anyone
`},
		{"shop/v1", "GET", "/a%2fb", `denied  shop/me -> service shop/v1:80 GET /a%2fb
  because: the path can be read in more than one way; it is answered 400 before any rule is asked
`},
	} {
		a, err := explain.AskService(shop(), explain.Question{From: named("shop/me"), To: named(c.service), Method: c.method, Path: c.path})
		if err != nil || a.String() != c.want {
			t.Errorf("got %v\n%s\nwant\n%s", err, a, c.want)
		}
		if allowed := strings.HasPrefix(c.want, "allowed"); a.Allow != allowed {
			t.Errorf("%s: allow is %v", c.want, a.Allow)
		}
	}
}

func TestAskServiceThatIsNotThere(t *testing.T) {
	for _, q := range []explain.Question{{To: named("shop/gone")}, {To: named("shop/v1"), Port: 81}} {
		if _, err := explain.AskService(shop(), q); err == nil || !strings.Contains(err.Error(), "--service") {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
