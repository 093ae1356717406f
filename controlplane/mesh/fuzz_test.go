package mesh_test

import (
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// FuzzParseName: what is read as a name is written as the same text.
func FuzzParseName(f *testing.F) {
	for _, text := range []string{"shop/store", "/", "a/", "/a", "a/b/c", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := mesh.ParseName(text)
		if ok && (n.String() != text || n.Namespace == "" || n.Name == "") || !ok && n != (mesh.Name{}) {
			t.Fatalf("%q is read as %+v, %v", text, n, ok)
		}
	})
}
