package files

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Whatever a file holds, the decoder neither panics nor loses a line, every
// problem has a place in the file and advice, and what it lets through can be
// resolved.
func FuzzFile(f *testing.F) {
	for _, pattern := range []string{"../../examples/bookstore/*.yaml", "../check/testdata/bad/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	for _, c := range documentCases {
		f.Add([]byte(c.text))
	}
	f.Add([]byte("a: &a [*a]\n---\n<<: *x\n...\n%YAML 1.2\n--- !!binary x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 64<<10 {
			return
		}
		var joined []byte
		for _, doc := range documents(text) {
			if want := bytes.Count(joined, []byte("\n")); doc.offset != want {
				t.Fatalf("document at line %d, want %d", doc.offset, want)
			}
			joined = append(joined, doc.text...)
		}
		if !bytes.Equal(joined, text) {
			t.Fatal("documents do not add up to the file")
		}
		var d decoder
		d.file("x.yaml", text)
		last := bytes.Count(text, []byte("\n")) + 1
		for _, p := range d.problems {
			if p.at.line < 1 || p.at.line > last || p.problem.Cause == "" || strings.Contains(p.problem.Where, "\n") {
				t.Errorf("line %d of %d: %s", p.at.line, last, p.problem)
			}
		}
		loaded := Loaded{entries: d.entries}
		objects := assemble(d.entries)
		for _, g := range objects.HTTPRouteGroups {
			for i := range g.Spec.Matches {
				g.Spec.Matches[i].PathRegex = "" // costly, and fuzzed in package pattern
			}
		}
		_, problems := smi.Snapshot(objects, smi.Settings{TrustDomain: "cluster.local"})
		for _, p := range problems {
			if loaded.Locate(p) == "" {
				t.Errorf("no place for %s", p)
			}
		}
	})
}
