package scenarios

import (
	"testing"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// alone waits until no other run of these tests is under way.
func alone(t *testing.T) {
	t.Helper()
	release, err := rig.Alone("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
}
