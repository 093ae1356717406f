package check_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/check"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

var update = flag.Bool("update", false, "write what the checks report to testdata/*.golden")

var settings = smi.Settings{TrustDomain: "cluster.local"}

// Every bad manifest of testdata/bad is told with its file, line, object, cause
// and advice. After a deliberate change: go test ./controlplane/check -update
func TestBadManifests(t *testing.T) {
	report, err := check.Check("testdata/bad", settings)
	if err != nil {
		t.Fatal(err)
	}
	if report.OK() {
		t.Error("bad manifests are called good")
	}
	const golden = "testdata/bad.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(report.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := report.String(); got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestExampleIsGood(t *testing.T) {
	report, err := check.Check("../../examples/bookstore", settings)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := report.String(), "4 files, 18 objects: no problems\n"; got != want || !report.OK() {
		t.Errorf("got:\n%s", got)
	}
}

func TestWarningsAreNoFailure(t *testing.T) {
	dir := t.TempDir()
	manifest := "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {name: g}\nspec:\n  matches:\n  - {name: all}\n"
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := check.Check(dir, settings)
	if err != nil || !report.OK() || report.Count(mesh.Warning) != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
	if !strings.Contains(report.String(), "a.yaml:6: HTTPRouteGroup default/g: spec.matches[0]: ") {
		t.Errorf("got:\n%s", report)
	}
	text, err := json.Marshal(report)
	if err != nil || !strings.Contains(string(text), `"kind":"HTTPRouteGroup","namespace":"default","name":"g","field":"spec.matches[0]","effect":"warning"`) {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestNoFolder(t *testing.T) {
	if _, err := check.Check(filepath.Join(t.TempDir(), "gone"), settings); err == nil {
		t.Error("a folder that does not exist was checked")
	}
}
