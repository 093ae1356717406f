package serve

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const access = "wasmesh.access"

func (d *desk) filter() proto.Message { return d.last()[xds.FilterType][access] }

// due lets the time come that the state waits for.
func (d *desk) due() {
	d.t.Helper()
	if d.state.soonest.IsZero() {
		d.t.Fatal("nothing is to be offered")
	}
	d.do(offersDue{d.state.soonest})
}

func TestWhatWasRefusedIsOfferedAgainInAnotherForm(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	first := d.filter()
	d.answer(xds.FilterType, "Invalid path: "+access, access)
	puts := len(d.puts)
	d.do(offersDue{d.state.soonest.Add(-time.Nanosecond)})
	if len(d.puts) != puts {
		t.Fatal("offered before its time")
	}
	seen := map[string]bool{}
	for range 5 {
		d.due()
		d.answer(xds.FilterType, "Invalid path: "+access, access)
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(d.filter())
		if err != nil {
			t.Fatal(err)
		}
		seen[string(text)] = true
		if proto.Equal(d.filter(), first) {
			t.Error("offered as it was refused: the proxy would not look at it")
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d different offers of 5", len(seen))
	}
	d.due()
	accepted := d.filter()
	d.answer(xds.FilterType, "", access)
	if !d.state.soonest.IsZero() {
		d.do(offersDue{d.state.soonest}) // what was planned before the answer
	}
	if !d.state.soonest.IsZero() || !proto.Equal(d.filter(), accepted) {
		t.Error("offered again after it was accepted")
	}
	if p := d.state.proxies()[0]; len(p.Refusals) > 0 || !p.Settled {
		t.Errorf("not settled: %+v", p)
	}
	// The same mesh again must not send it once more.
	puts = len(d.puts)
	d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
	if len(d.puts) != puts {
		t.Error("published anew, the accepted form is sent again")
	}
}

// A cause names one filter, and another may have been refused with it.
func TestFiltersThatWereRefusedTogetherAreOfferedApart(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	const lifetime = "wasmesh.lifetime"
	first := map[string]proto.Message{access: d.filter(), lifetime: d.last()[xds.FilterType][lifetime]}
	d.answer(xds.FilterType, "bad "+access, access, lifetime)
	offered := func(name string) bool { return !proto.Equal(d.last()[xds.FilterType][name], first[name]) }
	if d.due(); !offered(access) || offered(lifetime) {
		t.Errorf("offered at first: %v, %v", offered(access), offered(lifetime))
	}
	if d.due(); !offered(lifetime) {
		t.Error("the other is not offered again")
	}
}

func TestOffersBecomeRare(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	now, offers := time.Unix(1, 0), 0
	d.answer(xds.FilterType, "bad "+access, access)
	for end := now.Add(time.Hour); ; offers++ {
		if now = d.state.soonest; !now.Before(end) {
			break
		}
		d.do(offersDue{now})
		d.nonce++
		n := string(rune(d.nonce + 1000))
		d.do(sent{"p#1", xds.FilterType, delivery{nonce: n, names: []string{access}}})
		d.do(answered{key: "p#1", typeURL: xds.FilterType, nonce: n, cause: "bad " + access, at: now})
	}
	if offers < 60 || offers > 72 {
		t.Errorf("%d offers in an hour", offers)
	}
}

func TestAnotherFilterIsNotWhatWasRefused(t *testing.T) {
	d := newDesk(t)
	open(d, meshOf("a"))
	d.answer(xds.FilterType, "bad "+access, access)
	d.due()
	d.do(published{meshOf("a"), xds.Settings{Module: "11"}})
	if want := xds.Build(meshOf("a"), caller, xds.Settings{Module: "11"})[xds.FilterType][access]; !proto.Equal(d.filter(), want) {
		t.Error("another module goes out with the number of the refused one")
	}
	d.answer(xds.FilterType, "", access)
	if d.do(offersDue{time.Unix(1000, 0)}); !d.state.soonest.IsZero() {
		t.Error("the refused one is still to be offered")
	}
}

// A proxy that comes back may have refused just this content.
func TestWhoComesBackIsOfferedAnew(t *testing.T) {
	for name, brings := range map[string]map[string]string{"another version": {access: "old"}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
			d.do(opened{"p#1", caller, time.Unix(0, 77_000_000), bearer{}})
			plain := d.filter()
			d.do(brought{"p#1", xds.ClusterType, map[string]string{"a": "b"}})
			d.do(brought{"p#1", xds.FilterType, brings})
			if proto.Equal(d.filter(), plain) {
				t.Error("it is sent what it may have refused")
			}
		})
	}
	d := newDesk(t)
	d.do(published{meshOf("a"), xds.Settings{Module: "00"}})
	d.do(opened{"p#1", mesh.Name{Namespace: "shop", Name: "caller"}, time.Unix(0, 77_000_000), bearer{}})
	plain := d.filter()
	d.do(brought{"p#1", xds.FilterType, nil})
	if !proto.Equal(d.filter(), plain) {
		t.Error("a new proxy is sent a numbered filter")
	}
}
