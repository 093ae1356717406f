package mesh_test

import (
	"slices"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

func named(s string) mesh.Name {
	n, _ := mesh.ParseName(s)
	return n
}

// street is a mesh of services, each with endpoints of accounts that carry its
// name, all on container port 8080. What accounts grant is left to the test.
func street(protocol mesh.Protocol, services ...string) *mesh.Snapshot {
	s := &mesh.Snapshot{TrustDomain: "test"}
	slices.Sort(services)
	for _, n := range services {
		s.Services = append(s.Services, mesh.Service{Name: named(n), Ports: []mesh.ServicePort{{Port: 80, Protocol: protocol, Endpoints: []mesh.Endpoint{
			{Workload: named(n), ServiceAccount: named(n), Port: 8080},
		}}}})
		s.Workloads = append(s.Workloads, mesh.Workload{Name: named(n), ServiceAccount: named(n)})
		s.Access = append(s.Access, mesh.Access{ServiceAccount: named(n)})
	}
	return s
}

func grant(s *mesh.Snapshot, account string, g policy.Grant) {
	i := slices.IndexFunc(s.Access, func(a mesh.Access) bool { return a.ServiceAccount == named(account) })
	s.Access[i].Grants = append(s.Access[i].Grants, g)
}

// requests and connections are granted to an account, on one container port.
func requests(to string, port uint16) policy.Grant {
	return policy.Grant{Name: "a/b", Sources: []string{mesh.SPIFFEID("test", named(to))}, Ports: []policy.PortRange{{First: port, Last: port}},
		Matches: []policy.Match{{Name: "m", Methods: []string{"DELETE"}}}}
}

func connections(to string, port uint16) policy.Grant {
	g := requests(to, port)
	g.Connections, g.Matches = true, nil
	return g
}

func reach(s *mesh.Snapshot, service string) mesh.Standing {
	found, _ := s.Service(named(service))
	return s.Scope().Reach(named("shop/me"), named(service), found.Ports[0])
}

func TestReach(t *testing.T) {
	open := mesh.Standing{Open: true}
	shut := func(r policy.Reason) mesh.Standing { return mesh.Standing{Reason: r} }
	for name, c := range map[string]struct {
		protocol mesh.Protocol
		grants   []policy.Grant
		mode     policy.Mode
		want     mesh.Standing
	}{
		"nothing is granted to anyone":       {protocol: mesh.HTTP1, want: shut(policy.ReasonSource)},
		"others only":                        {protocol: mesh.HTTP1, grants: []policy.Grant{requests("shop/other", 8080)}, want: shut(policy.ReasonSource)},
		"one method of many":                 {protocol: mesh.HTTP1, grants: []policy.Grant{requests("shop/me", 8080)}, want: open},
		"another port":                       {protocol: mesh.HTTP1, grants: []policy.Grant{requests("shop/me", 80)}, want: shut(policy.ReasonPort)},
		"connections where requests come":    {protocol: mesh.HTTP1, grants: []policy.Grant{connections("shop/me", 8080)}, want: shut(policy.ReasonSource)},
		"connections":                        {protocol: mesh.TCP, grants: []policy.Grant{connections("shop/me", 8080)}, want: open},
		"requests where connections come":    {protocol: mesh.TCP, grants: []policy.Grant{requests("shop/me", 8080)}, want: shut(policy.ReasonPort)},
		"the destination audits":             {protocol: mesh.HTTP1, mode: policy.Audit, want: open},
		"the destination is permissive":      {protocol: mesh.TCP, mode: policy.Permissive, want: open},
		"a grant to others under permissive": {protocol: mesh.HTTP1, mode: policy.Permissive, grants: []policy.Grant{requests("shop/other", 8080)}, want: open},
	} {
		s := street(c.protocol, "shop/store")
		s.Workloads[0].Mode = c.mode
		for _, g := range c.grants {
			grant(s, "shop/store", g)
		}
		if got := reach(s, "shop/store"); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	nobody := street(mesh.HTTP1, "shop/store")
	nobody.Services[0].Ports[0].Endpoints = nil
	if got := reach(nobody, "shop/store"); got != (mesh.Standing{}) {
		t.Errorf("nobody behind the port: got %+v", got)
	}
}

// The caller's own mode opens nothing: the destination would refuse all the same.
func TestReachIsNotTheCallersMode(t *testing.T) {
	s := street(mesh.HTTP1, "shop/me", "shop/store")
	s.Workloads[0].Mode = policy.Permissive
	if got := reach(s, "shop/store"); got.Open {
		t.Errorf("got %+v", got)
	}
}

// With a split, what it can send to counts, and nothing else.
func TestReachOfASplit(t *testing.T) {
	conditional := mesh.Split{Name: named("shop/a"), Root: named("shop/root"), Conditional: true,
		Conditions: []mesh.Condition{{Match: policy.Match{Name: "g/m"}}}, Backends: []mesh.Backend{{Service: named("shop/v2"), Weight: 1}}}
	never := conditional
	never.Conditions = nil
	all := mesh.Split{Name: named("shop/b"), Root: named("shop/root"), Backends: []mesh.Backend{{Service: named("shop/v1"), Weight: 1}, {Service: named("shop/v2"), Weight: 0}}}
	for name, c := range map[string]struct {
		granted string
		splits  []mesh.Split
		want    bool
	}{
		"the root, not split":                {"shop/root", nil, true},
		"the root, split away":               {"shop/root", []mesh.Split{all}, false},
		"the root, split for some":           {"shop/root", []mesh.Split{conditional}, true},
		"a backend":                          {"shop/v1", []mesh.Split{all}, true},
		"a backend with nothing":             {"shop/v2", []mesh.Split{all}, false},
		"a backend for some":                 {"shop/v2", []mesh.Split{conditional, all}, true},
		"a backend for none":                 {"shop/v2", []mesh.Split{never}, false},
		"a backend of another, not followed": {"shop/v2", nil, false},
	} {
		s := street(mesh.HTTP1, "shop/root", "shop/v1", "shop/v2")
		s.Splits = c.splits
		grant(s, c.granted, requests("shop/me", 8080))
		if got := reach(s, "shop/root"); got.Open != c.want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
