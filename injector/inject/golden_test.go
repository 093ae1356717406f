package inject

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what comes out into the files")

// TestGoldens: a manifest in, a manifest and a report out; and what came out goes
// in again unchanged.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := archive.Files[0].Data
	object, err := yaml.YAMLToJSON(in)
	if err != nil {
		t.Fatal(err)
	}
	s := Defaults()
	s.ImagePullSecrets = []string{"ours"}
	out, told, err := Manifest(object, "default", s)
	if err != nil || len(told) != 1 {
		t.Fatalf("%v: %v", told, err)
	}
	text, err := yaml.JSONToYAML(out)
	if err != nil {
		t.Fatal(err)
	}
	got := &txtar.Archive{Comment: archive.Comment, Files: []txtar.File{
		{Name: "in.yaml", Data: in}, {Name: "out.yaml", Data: text}, {Name: "report", Data: []byte(told[0].String() + "\n")},
	}}
	if *update {
		if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(txtar.Format(got), txtar.Format(archive)) {
		t.Errorf("what comes out is another (look at it with -update):\n%s\n%s", text, told[0])
	}
	again, told, err := Manifest(out, "default", s)
	if err != nil || told[0].Outcome != LeftAlone || !bytes.Equal(again, out) {
		t.Errorf("a second time: %v %v", told, err)
	}
}
