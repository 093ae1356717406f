package judge_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/differential/judge"
	"github.com/wasmesh/wasmesh/tests/differential/world"
)

// worlds is how many the fuzzer chooses from: making one takes milliseconds.
const worlds = 64

// FuzzRequest lets the fuzzer write the texts of a request that the generator
// would not think of.
func FuzzRequest(f *testing.F) {
	var compiled []*judge.Compiled
	var aimed [][]world.Request
	for index := range uint64(worlds) {
		w, requests := world.Make(1, index, 16)
		c, err := judge.Compile(w, xds.Table)
		if err != nil {
			f.Fatal(err)
		}
		compiled, aimed = append(compiled, c), append(aimed, requests)
		for i, r := range requests[:4] {
			last := r.Headers[len(r.Headers)-1]
			f.Add(byte(index), byte(i), r.Peer, r.Port, r.Method, r.Target, r.Headers[0].Value, last.Name, last.Value)
		}
	}
	f.Fuzz(func(t *testing.T, index, request byte, peer string, port uint16, method, target, authority, name, value string) {
		c := compiled[index%worlds]
		r := aimed[index%worlds][request%16]
		r.Headers = append([]policy.Header{{Name: ":authority", Value: authority}, {Name: name, Value: value}}, r.Headers[1:]...)
		if _, err := c.Case(r, judge.NewTally()); err != nil {
			t.Errorf("%s: %v\n%s", r, err, c.World.YAML())
		}
		r.Peer, r.Port, r.Method, r.Target = peer, port, method, target
		if _, err := c.Case(r, judge.NewTally()); err != nil {
			t.Errorf("%s: %v\n%s", r, err, c.World.YAML())
		}
	})
}

// TestOneMeaning: the same objects in another order, and those that a control
// plane serves which starts anew, give the same tables.
func TestOneMeaning(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for index := range uint64(300) {
		w, _ := world.Make(2, index, 1)
		first, _ := smi.Snapshot(w.Objects, w.Settings())
		settled, _, _ := smi.Settle(smi.Objects{}, w.Objects, w.Settings())
		shuffled := w.Clone().Objects
		shuffle(r, shuffled.TrafficTargets)
		shuffle(r, shuffled.HTTPRouteGroups)
		shuffle(r, shuffled.TCPRoutes)
		shuffle(r, shuffled.ServiceAccounts)
		for _, target := range shuffled.TrafficTargets {
			shuffle(r, target.Spec.Sources)
			shuffle(r, target.Spec.Rules)
		}
		for _, route := range shuffled.TCPRoutes {
			shuffle(r, route.Spec.Matches.Ports)
		}
		again, _ := smi.Snapshot(shuffled, w.Settings())
		for _, workload := range first.Workloads {
			want := xds.Table(first, workload).Encode()
			for how, s := range map[string]*mesh.Snapshot{"settled": settled, "shuffled": again} {
				if got := xds.Table(s, workload).Encode(); !bytes.Equal(got, want) {
					t.Fatalf("world %d, %s: the table of %s is another\n%s", index, how, workload.Name, w.YAML())
				}
			}
		}
	}
}

func shuffle[T any](r *rand.Rand, items []T) {
	r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
}
