package sidecar

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who we are to the module endpoint is who Envoy is, at every moment.
func TestWhatWasDeliveredIsReadBack(t *testing.T) {
	run := &runDir{path: t.TempDir()}
	if _, _, _, err := delivered(run); err == nil {
		t.Error("an identity was read before there was one")
	}
	for _, round := range []string{"first", "second"} {
		if err := deliver(run, []byte(round+" key"), []byte(round+" chain"), []byte(round+" roots")); err != nil {
			t.Fatal(err)
		}
		key, chain, roots, err := delivered(run)
		if err != nil || string(key) != round+" key" || string(chain) != round+" chain" || string(roots) != round+" roots" {
			t.Errorf("read back are %q, %q, %q, %v", key, chain, roots, err)
		}
	}
	if err := os.WriteFile(run.file(TrustFile), []byte(`{"resources":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := delivered(run); err == nil || !strings.Contains(err.Error(), TrustFile) {
		t.Errorf("without roots: %v", err)
	}
}

func TestModulesAreLinkedWhereverTheyAreKept(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for name, c := range map[string]struct {
		o       Options
		fetches bool
		folder  string
	}{
		"fetched into the state folder":    {Options{Registry: "127.0.0.1:1", StateDir: "state"}, true, "state/modules"},
		"fetched into a folder":            {Options{Registry: "127.0.0.1:1", StateDir: "state", ModulesDir: "mine"}, true, "mine"},
		"filled by somebody else":          {Options{StateDir: "state", ModulesDir: "mine"}, false, "mine"},
		"nowhere, by an embedder's choice": {Options{StateDir: "state"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			c.o.Log = log
			run := &runDir{path: t.TempDir()}
			p, err := c.o.openModules(run)
			if err != nil || (p != nil) != c.fetches {
				t.Fatalf("got %v, %v", p, err)
			}
			target, err := os.Readlink(run.file(ModulesLink))
			want, _ := filepath.Abs(c.folder)
			if c.folder == "" && err == nil || c.folder != "" && target != want {
				t.Errorf("the link leads to %q, %v; want %q", target, err, want)
			}
		})
	}
}
