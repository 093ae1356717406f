package figures_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

func TestTell(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures")
	t.Setenv(figures.Variable, file)
	figures.Tell(t, "%d of %d", 1, 2)
	t.Run("step", func(t *testing.T) { figures.Tell(t, "\na table\n") })
	text, err := os.ReadFile(file)
	if want := "TestTell: 1 of 2\nTestTell/step: a table\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
}
