package delivery

import (
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	// memoryGrowth is what Envoy may hold at the end beyond what it held after the
	// second swap. Its allocator's caches fill during the first hundred swaps of a
	// large module; a leak of a VM or of its code would be several times that.
	memoryGrowth = 1.25
	// sidecarMemory is what the process beside Envoy may hold, in KB.
	sidecarMemory = 10 << 10
)

// Swapped back and forth under load, no request fails, and no memory is lost.
func TestSwapsUnderLoad(t *testing.T) {
	s := openShop(t, nil)
	modules := [][]byte{variant(t, 1), variant(t, 0)}
	s.put(modules[0])
	s.taken(store.Digest(modules[0])) // inspected once, as it would be before
	s.put(modules[1])
	s.taken(store.Digest(modules[1]))
	l := s.startLoad()
	envoy := s.envoyOf(seller)
	var second memory
	var longest time.Duration
	for n := range *swaps {
		began := time.Now()
		s.taken(s.put(modules[n%2]))
		longest = max(longest, time.Since(began))
		switch {
		case n == 1:
			second = lowest(t, envoy)
			t.Logf("after swap 2: %v", second)
		case n%50 == 49:
			t.Logf("after swap %d: %v", n+1, memoryOf(t, envoy))
		}
	}
	l.stop(t)
	last := lowest(t, envoy)
	t.Logf("%d swaps, the longest took %v; Envoy after the second: %v; at the end: %v", *swaps, longest.Round(time.Millisecond), second, last)
	if float64(last.resident) > memoryGrowth*float64(second.resident) {
		t.Errorf("Envoy grew from %v to %v", second, last)
	}
	sidecar := memoryOf(t, s.SidecarPID(seller))
	t.Logf("the sidecar process: %v", sidecar)
	if sidecar.anonymous > sidecarMemory {
		t.Errorf("the sidecar process holds %v", sidecar)
	}
	// Both modules may stay: the last and the one before. More would be a leak.
	for name, dir := range map[string]string{"the sidecar": s.SidecarModules(seller), "the control plane": s.ModulesFolder()} {
		kept, err := store.At(dir).List()
		if err != nil || len(kept) == 0 || len(kept) > 2 {
			t.Errorf("%s keeps %v, %v", name, kept, err)
		}
	}
}
