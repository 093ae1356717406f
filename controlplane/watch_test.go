package controlplane

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A log that grows beside the module must not make the control plane publish,
// and log, again and again.
func TestWatchFileSeesItsFileOnly(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mesh.wasm")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "one")
	changed := make(chan struct{}, 1)
	go watchFile(t.Context(), file, changed)
	for i := range 5 {
		write(filepath.Join(dir, "log"), time.Duration(i).String())
		select {
		case <-changed:
			t.Fatal("another file was taken for the module")
		case <-time.After(100 * time.Millisecond):
		}
	}
	for _, change := range []func(){
		func() { write(file, "two") },
		func() {
			write(file+".new", "two")
			if err := os.Rename(file+".new", file); err != nil {
				t.Fatal(err)
			}
		},
		func() {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		func() { write(file, "two") },
	} {
		change()
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatal("a change of the module was not seen")
		}
	}
}
