package delivery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// A folder that cannot be written to holds up the new module, nothing else: the
// old one serves, both sides tell why, and it heals without being asked to.
func TestModuleThatComesLate(t *testing.T) {
	s := openShop(t, nil)
	l := s.startLoad()
	restore := s.obstruct()
	late := s.put(variant(t, 2))
	s.refused("Invalid path: ./modules/" + late)
	s.sidecarSays("modules cannot be fetched; going on with those that are here")
	restore()
	began := time.Now()
	s.taken(late)
	t.Logf("taken %v after the folder was back", time.Since(began).Round(time.Millisecond))
	l.stop(t)
}

// What a control plane hands out is not what its name says: nobody takes it.
func TestModuleThatIsNotItsDigest(t *testing.T) {
	s := openShop(t, nil)
	old := store.Digest(variant(t, 0))
	l := s.startLoad()
	restore := s.obstruct()
	wanted := s.put(variant(t, 3))
	s.refused("Invalid path")
	path := filepath.Join(s.ModulesFolder(), wanted+".wasm")
	if err := os.WriteFile(path, variant(t, 4), 0o600); err != nil {
		t.Fatal(err)
	}
	restore()
	s.sidecarSays("the content is not that of the digest")
	if kept, err := store.At(s.SidecarModules(seller)).List(); err != nil || len(kept) != 1 || kept[0] != old {
		t.Errorf("the sidecar keeps %v, %v", kept, err)
	}
	if err := os.WriteFile(path, variant(t, 3), 0o600); err != nil {
		t.Fatal(err)
	}
	s.taken(wanted)
	l.stop(t)
	t.Logf("wrong digest: the sidecar refused the bytes, both Envoys kept the old module")
}

// obstruct puts a file where the store's sidecar keeps modules.
func (s *shop) obstruct() (restore func()) {
	s.t.Helper()
	dir := s.SidecarModules(seller)
	away := dir + ".away"
	if err := errors.Join(os.Rename(dir, away), os.WriteFile(dir, nil, 0o600)); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.Remove(dir), os.Rename(away, dir)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Envoys refuse what no inspection has held back; they are asked again, rarely,
// and the old module serves.
func TestWhatEnvoyRefusesForGoodIsOfferedRarely(t *testing.T) {
	s := openShop(t, func(context.Context, []byte, ...[]byte) error { return nil })
	l := s.startLoad()
	s.put([]byte("\x00asm\x01\x00\x00\x00"))
	s.refused("Unable to create Wasm")
	const watched = 10 * time.Second
	before := s.refusals()
	time.Sleep(watched)
	offers := s.refusals() - before
	// 0.2 s, doubled each time: at most six begin in that time, for each of two
	// filters. Envoy counts a refusal for each listener that has the filter, and
	// one that drains has it too.
	if offers < 2 || offers > 2*2*6 {
		t.Errorf("%d refusals in %v", offers, watched)
	}
	t.Logf("refused for good: %d refusals in %v, the old module served", offers, watched)
	s.taken(s.put(variant(t, 5)))
	l.stop(t)
}

// refusals counts the updates of filters that the store's Envoy refused.
func (s *shop) refusals() uint64 {
	s.t.Helper()
	stats, err := s.Stats(s.t.Context(), seller, `extension_config_discovery.*update_rejected$`)
	if err != nil || len(stats) == 0 {
		s.t.Fatalf("%v, %v", stats, err)
	}
	sum := uint64(0)
	for _, n := range stats {
		sum += n
	}
	return sum
}

// A damaged file in the folder is no module, and neither is what a control plane
// hands out in its place: an Envoy that starts with nothing else denies.
func TestSidecarTrustsNoFileThatItFinds(t *testing.T) {
	s := openShop(t, nil)
	wanted := store.Digest(variant(t, 0))
	for _, dir := range []string{s.SidecarModules(seller), s.ModulesFolder()} {
		if err := os.WriteFile(filepath.Join(dir, wanted+".wasm"), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := s.seen.Load()
	if err := s.RestartSidecar(seller); err != nil {
		t.Fatal(err)
	}
	s.sidecarSays("the content is not that of the digest")
	s.must("the store's Envoy to deny", func(context.Context) error {
		status, err := once(&http.Transport{DisableKeepAlives: true}, "/books")
		if err == nil && status != http.StatusForbidden {
			err = fmt.Errorf("the answer is %d", status)
		}
		return err
	})
	if seen := s.seen.Load() - before; seen > 0 {
		t.Errorf("the application saw %d requests", seen)
	}
	if err := os.WriteFile(filepath.Join(s.ModulesFolder(), wanted+".wasm"), variant(t, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	s.taken(wanted)
	if !store.At(s.SidecarModules(seller)).Has(wanted) {
		t.Error("the damaged file is there still")
	}
	s.must("a request to pass", func(context.Context) error {
		status, err := once(&http.Transport{DisableKeepAlives: true}, "/books")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the answer is %d", status)
		}
		return err
	})
}
