package failure

import (
	"testing"
	"time"
)

// Connections to an opaque port have a VM of their own in each worker.
var connectionPlaces = []place{
	{poison: "caller's data"},
	{poison: "caller's data:memory"},
	{poison: "caller's data:stack"},
	{poison: "server's data"},
	{poison: "next connection", served: true, either: true},
	{poison: "connection done", served: true, harmless: true},
	{poison: "tick, inside", served: true, harmless: true},
	{poison: "tick", served: true, either: true},
}

// testPoisonedConnections: what an opaque port's callers get. While the module is
// not there, connections are closed: none is let through.
func testPoisonedConnections(t *testing.T) {
	o := startOthers(func(int) got { return line("hello") })
	defer o.stop()
	t.Logf("%-22s | %-10s | %-34s | %8s | %8s", "panic in", "it got", "others got", "for", "slowest")
	for _, p := range connectionPlaces {
		began := time.Now()
		own := line("poison " + p.poison)
		time.Sleep(1500 * time.Millisecond) // the module ticks every second
		o.healed(t, p.poison, began)
		asked, bad, _, gap, slowest, answers, _ := o.since(began)
		t.Logf("%-22s | %-10s | %-34s | %8v | %8v", p.poison, own.answer, sums(answers, asked), gap.Round(time.Millisecond), slowest.Round(time.Millisecond))
		if own.fine != p.served && !p.either {
			t.Errorf("%s: the poisoned connection got %s", p.poison, own.answer)
		}
		// One may meet what the poison before left.
		if p.unnoticed() && bad > 1 {
			t.Errorf("%s: %d of %d others noticed: %v", p.poison, bad, asked, answers)
		}
	}
}
