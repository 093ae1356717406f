package failure

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// edits put the poison into the product's sources. Each must find its place.
var edits = map[string][][2]string{
	"stream.go": {
		{"(action types.Action) {\n", "(action types.Action) {\n\tarm(s.id)\n\tstrike(armed[s.id], \"request headers\")\n"},
		{"\treturn s.request.Judge(", "\tstrike(armed[s.id], \"request headers, inside\")\n\treturn s.request.Judge("},
		{"\tdefer s.plugin.survive()\n", "\tstrike(armed[s.id], \"stream done\")\n\tdefer s.plugin.survive()\n\tstrike(armed[s.id], \"stream done, inside\")\n"},
	},
	"main.go": {
		{"OnTick() {\n\tdefer p.survive()\n", "OnTick() {\n\tstrike(next, \"tick\")\n\tdefer p.survive()\n\tstrike(next, \"tick, inside\")\n"},
		{"\treturn &stream{", "\tstrike(next, \"next stream\")\n\treturn &stream{"},
		{"return p.vm.connections.Open(id, p.counters, p.panics)", "strike(next, \"next connection\")\n\t\treturn &poisonedConnection{TcpContext: p.vm.connections.Open(id, p.counters, p.panics)}"},
	},
}

// poisoned returns the file of the module with the poison.
func poisoned(t *testing.T) string {
	t.Helper()
	if *poisonedFile != "" {
		return *poisonedFile
	}
	dir := t.TempDir()
	product, err := filepath.Abs(filepath.Join("..", "..", "filters", "modules", "mesh"))
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	put := func(name string, text []byte) {
		replace[filepath.Join(product, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, changes := range edits {
		source, err := os.ReadFile(filepath.Join(product, name))
		if err != nil {
			t.Fatal(err)
		}
		text := string(source)
		for _, c := range changes {
			if strings.Count(text, c[0]) != 1 {
				t.Fatalf("%s has %q %d times, want once: put the poison elsewhere", name, c[0], strings.Count(text, c[0]))
			}
			text = strings.Replace(text, c[0], c[1], 1)
		}
		put(name, []byte(text))
	}
	poison, err := os.ReadFile(filepath.Join("testdata", "poison", "poison.go.txt"))
	if err != nil {
		t.Fatal(err)
	}
	put("poison.go", poison)
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "poisoned.wasm")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := wasmtest.Build(t.Context(), "github.com/wasmesh/wasmesh/filters/modules/mesh", out, "-overlay="+list); err != nil {
		t.Fatal(err)
	}
	return out
}
