// Package world makes worlds: SMI objects as people might write them, mistakes
// included, and requests that are aimed at what the objects grant.
//
// The same seed and index always give the same world. It never decides anything.
package world

import (
	"math/rand/v2"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/differential/reference"
)

// TrustDomain is that of all worlds.
const TrustDomain = "fuzz.test"

// World is a mesh's objects and its settings.
type World struct {
	Objects  smi.Objects
	PathFull bool
}

// Request is one request to a workload, with its headers as a filter gets them.
type Request struct {
	Server  mesh.Name
	Account mesh.Name // the server's
	Peer    string
	Port    uint16
	Method  string
	Target  string
	// Headers are without those that repeat the fields above.
	Headers []policy.Header
}

// Make returns a world with requests that go to its workloads.
func Make(seed, index uint64, requests int) (World, []Request) {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, index)), samples: map[string]sampler{}}
	m.objects()
	m.w.PathFull = m.one(4)
	out := make([]Request, requests)
	for i := range out {
		out[i] = m.request()
	}
	return m.w, out
}

// Settings are the mesh-wide ones of the world.
func (w World) Settings() smi.Settings {
	return smi.Settings{TrustDomain: TrustDomain, PathFull: w.PathFull}
}

// Reference returns the objects as the reference reads them.
func (w World) Reference() reference.Objects {
	o := reference.Objects{
		TrustDomain: TrustDomain, PathFull: w.PathFull,
		Targets: w.Objects.TrafficTargets, Groups: w.Objects.HTTPRouteGroups, Routes: w.Objects.TCPRoutes,
	}
	for _, a := range w.Objects.ServiceAccounts {
		o.Accounts = append(o.Accounts, reference.Account{Namespace: a.Namespace, Name: a.Name})
	}
	return o
}

// Clone returns a world whose granting objects can be changed. Services and
// workloads are shared.
func (w World) Clone() World {
	out := w
	out.Objects.ServiceAccounts = clone(w.Objects.ServiceAccounts)
	out.Objects.TrafficTargets = clone(w.Objects.TrafficTargets)
	out.Objects.TCPRoutes = clone(w.Objects.TCPRoutes)
	out.Objects.HTTPRouteGroups = clone(w.Objects.HTTPRouteGroups)
	return out
}

func clone[T interface{ DeepCopy() T }](objects []T) []T {
	var out []T
	for _, o := range objects {
		out = append(out, o.DeepCopy())
	}
	return out
}

// Lines are the request's headers as a filter gets them.
func (r Request) Lines() []policy.Header {
	pseudo := []policy.Header{{Name: ":path", Value: r.Target}, {Name: ":method", Value: r.Method}}
	return append(pseudo, r.Headers...)
}

// Policy is the request as the policy gets it.
func (r Request) Policy() policy.Request {
	return policy.Request{Peer: r.Peer, Port: r.Port, Method: r.Method, Path: r.Target, Headers: r.Lines()}
}

// Reference is the request as the reference gets it.
func (r Request) Reference(readings []string) reference.Request {
	out := reference.Request{
		To:   reference.Account{Namespace: r.Account.Namespace, Name: r.Account.Name},
		Peer: r.Peer, Port: int(r.Port), Method: r.Method, Readings: readings,
	}
	for _, h := range r.Lines() {
		out.Headers = append(out.Headers, reference.Header{Name: h.Name, Value: h.Value})
	}
	return out
}

// maker makes one world.
type maker struct {
	*rand.Rand
	w World
	// samples make texts that an expression of this world may describe.
	samples map[string]sampler
}

// one is true once in n times.
func (m *maker) one(n int) bool { return m.IntN(n) == 0 }

func pick[T any](m *maker, from ...T) T { return from[m.IntN(len(from))] }

// group finds a group of the world by name, nil if there is none.
func (w World) group(namespace, name string) *specs.HTTPRouteGroup {
	for _, g := range w.Objects.HTTPRouteGroups {
		if g.Namespace == namespace && g.Name == name {
			return g
		}
	}
	return nil
}

func (w World) route(namespace, name string) *specs.TCPRoute {
	for _, r := range w.Objects.TCPRoutes {
		if r.Namespace == namespace && r.Name == name {
			return r
		}
	}
	return nil
}
