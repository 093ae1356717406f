package files

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// folder writes a txtar-like map of files and returns their folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, dir string) Loaded {
	t.Helper()
	loaded, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// names lists what was loaded, in order.
func names(l Loaded) string {
	var out []string
	for _, e := range l.entries {
		out = append(out, e.object.String())
	}
	return strings.Join(out, ", ")
}

// account writes a ServiceAccount.
func account(name string) string {
	return "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: " + name + "\n"
}

// wantProblems compares problems with the beginnings of lines expected, of
// which file names count from the folder.
func wantProblems(t *testing.T, dir string, problems []mesh.Problem, want ...string) {
	t.Helper()
	for i, p := range problems {
		line := strings.TrimPrefix(p.String(), dir+string(filepath.Separator))
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("problem %d: %s\nwant: %q", i, line, want)
		}
	}
	if len(problems) < len(want) {
		t.Errorf("%d problems, want %q", len(problems), want)
	}
}

func TestLoadReadsManifestsOnly(t *testing.T) {
	dir := folder(t, map[string]string{
		"b.yaml": account("b"), "a/z.yml": account("z"), "a/j.json": `{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "j"}}`,
		"a/notes.txt": "not: [yaml", ".hidden.yaml": "not: [yaml", ".git/x.yaml": "not: [yaml", "empty.yaml": "", "comment.yaml": "# nothing\n---\n---\nnull\n",
	})
	loaded := load(t, dir)
	wantProblems(t, dir, loaded.Problems)
	if got, want := names(loaded), "ServiceAccount default/j, ServiceAccount default/z, ServiceAccount default/b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if loaded.Files != 5 || len(loaded.Objects.ServiceAccounts) != 3 {
		t.Errorf("%d files, %d accounts", loaded.Files, len(loaded.Objects.ServiceAccounts))
	}
	if one := load(t, filepath.Join(dir, "b.yaml")); names(one) != "ServiceAccount default/b" || one.Locate(mesh.Problem{Object: one.entries[0].object}) != filepath.Join(dir, "b.yaml")+":1" {
		t.Errorf("a single file: %s", names(one))
	}
}

// A folder or file behind a link is read where a ConfigMap volume puts it, but
// links to folders lead nowhere: they could form circles.
func TestLoadLinks(t *testing.T) {
	dir := folder(t, map[string]string{"..2026/a.yaml": account("a"), "real/b.yaml": account("b")})
	for link, to := range map[string]string{"..data": "..2026", "a.yaml": "..data/a.yaml", "circle": ".", "gone.yaml": "nowhere.yaml"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	outer := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, outer); err != nil {
		t.Fatal(err)
	}
	loaded := load(t, outer)
	if got, want := names(loaded), "ServiceAccount default/a, ServiceAccount default/b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	wantProblems(t, outer, loaded.Problems, "gone.yaml:1: the file cannot be read: no such file or directory; what it held before stays in force.")
}

func TestLoadBounds(t *testing.T) {
	dir := folder(t, map[string]string{"big.yaml": account("big") + strings.Repeat("# filler\n", MaxFileBytes/9), "good.yaml": account("good")})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded := load(t, dir)
	wantProblems(t, dir, loaded.Problems, "big.yaml:1: the file is larger than 4 MiB; split it", "pipe.yaml:1: this is not a regular file")
	if names(loaded) != "ServiceAccount default/good" {
		t.Errorf("got %s", names(loaded))
	}
	for name, text := range map[string]string{"docs.yaml": strings.Repeat("x\n---\n", 1000), "list.yaml": "kind: List\nitems: [" + strings.Repeat("x,", 1000) + "]"} {
		dir := folder(t, map[string]string{name: text})
		if n := len(load(t, dir).Problems); n != maxProblems+1 {
			t.Errorf("%s: %d problems", name, n)
		}
	}
	crowd := t.TempDir()
	for i := range MaxFiles + 1 {
		write(t, filepath.Join(crowd, fmt.Sprintf("%d.yaml", i)), "")
	}
	if _, err := Load(crowd); err == nil || !strings.Contains(err.Error(), "holds more than 5000 manifest files; is it the right folder?") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(filepath.Join(dir, "gone")); err == nil {
		t.Error("a folder that does not exist was loaded")
	}
}

// A broken document harms only itself.
func TestDocumentsStandAlone(t *testing.T) {
	dir := folder(t, map[string]string{"a.yaml": account("a") + "--- # next\nkind: [\n---\n" + account("b") + "...\n" + account("c") +
		"---\n{}\n---\ntext: |\n  --- inside\n---\r\n" + account("d") + "\n---\n&a [*a]\n---\n" + account("e") + "  name: e\n---\n" + account("a")})
	loaded := load(t, dir)
	if got, want := len(loaded.entries), 4; got != want {
		t.Errorf("got %s", names(loaded))
	}
	wantProblems(t, dir, loaded.Problems,
		"a.yaml:6: the document cannot be read: did not find expected node content. What it held",
		`a.yaml:18: kind: kind "" is not one that the mesh reads`,
		`a.yaml:20: kind: kind "" is not one`,
		"a.yaml:29: the document cannot be read: anchor 'a' value contains itself.",
		"a.yaml:35: the document cannot be read: key \"name\" already set in map.",
		"a.yaml:37: ServiceAccount default/a: the object is already defined at "+dir+"/a.yaml:1; this definition is ignored. Remove one of the two, or rename it.",
	)
}

// Each case is one document. The names of some are the smi-rules they test.
var documentCases = []struct {
	name, text, problem string
}{
	{"49: headers as a map", routes("matches: [{name: m, headers: {x-a: a, x-b: b}}]"), ""},
	{"50: headers as a list of maps", routes("matches: [{name: m, headers: [{x-a: a}, {x-b: b}]}]"), ""},
	{"50: with two keys in an entry", routes("matches: [{name: m, headers: [{x-a: a, x-b: b}]}]"), ""},
	{"no headers", routes("matches: [{name: m, headers: null}]"), "want no headers"},
	{"a header twice", routes("matches:\n  - headers:\n    - x-a: a\n    - x-a: b"), `:9: HTTPRouteGroup default/o: spec.matches[0].headers[x-a]: header "x-a" is listed twice. Join`},
	{"a header without text", routes("matches:\n  - headers:\n      x-a: on"), ":9: HTTPRouteGroup default/o: spec.matches[0].headers[x-a]: the header's pattern is not text. Put it in quotes."},
	{"headers that are none", routes("matches: [{headers: x}]"), ":7: HTTPRouteGroup default/o: spec.matches[0].headers: headers are neither"},
	{"an entry that is none", routes("matches: [{headers: [x]}]"), ":7: HTTPRouteGroup default/o: spec.matches[0].headers[0]: the entry is not a map"},
	{"52: top-level matches", strings.Replace(routes("matches: [{name: m, headers: {x-a: a, x-b: b}}]"), "spec:\n  ", "", 1), ""},
	{"52: not next to a spec", routes("matches: []\nmatches: []"), ":8: HTTPRouteGroup default/o: matches: the field is unknown"},
	{"58: a fractional weight", splits("service: s\n  backends:\n  - {service: a, weight: 1}\n  - service: b\n    weight: 0.5"), ":10: TrafficSplit default/o: spec.backends[1].weight: weight 0.5 is not a whole number. Weights are relative: write 1 and 2 for 0.5 and 1."},
	{"58: a quantity in a version of whole numbers", splits("service: s\n  backends: [{service: a, weight: 500m}]"), ":7: TrafficSplit default/o: spec.backends[0].weight: text cannot stand here. Write a whole number."},
	{"a list where text belongs", splits("service: [s]\n  backends: []"), ":6: TrafficSplit default/o: spec.service: a list cannot"},
	{"a field of another version", strings.Replace(splits("service: s"), "kind", "weight: 1\nkind", 1), ":2: TrafficSplit default/o: weight: the field is unknown"},
	{"a field with the wrong case", splits("Service: s"), ":6: TrafficSplit default/o: spec.Service: the field is unknown"},
	{"a bad time", strings.Replace(splits("service: s"), "name: o", "name: o\n  creationTimestamp: soon", 1), `:1: TrafficSplit default/o: parsing time "soon"`},
}

func routes(spec string) string {
	return "# a comment\napiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata:\n  name: o\nspec:\n  " + spec + "\n"
}

func splits(spec string) string {
	return strings.NewReplacer("specs.smi-spec.io/v1alpha4", "split.smi-spec.io/v1alpha2", "HTTPRouteGroup", "TrafficSplit", "# a comment\n", "", "kind:", "kind:").
		Replace(routes(spec))
}

func TestDocuments(t *testing.T) {
	for _, c := range documentCases {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"x.yaml": c.text})
			loaded := load(t, dir)
			if c.problem == "" || c.problem == "want no headers" {
				wantProblems(t, dir, loaded.Problems)
				m := loaded.Objects.HTTPRouteGroups[0].Spec.Matches[0]
				if m.Name != "m" || c.problem == "" && (len(m.Headers) != 2 || m.Headers["x-a"] != "a" || m.Headers["x-b"] != "b") {
					t.Errorf("got %+v", m)
				}
				return
			}
			wantProblems(t, dir, loaded.Problems, "x.yaml"+c.problem)
			if len(loaded.entries) != 0 {
				t.Errorf("loaded %s", names(loaded))
			}
		})
	}
}

func TestServedVersions(t *testing.T) {
	for kind, versions := range map[string][]string{
		"HTTPRouteGroup": {"specs.smi-spec.io/v1alpha4", "specs.smi-spec.io/v1alpha3"},
		"TCPRoute":       {"specs.smi-spec.io/v1alpha4", "specs.smi-spec.io/v1alpha3"},
		"TrafficTarget":  {"access.smi-spec.io/v1alpha3"},
		"TrafficSplit":   {"split.smi-spec.io/v1alpha4", "split.smi-spec.io/v1alpha3", "split.smi-spec.io/v1alpha2", "split.smi-spec.io/v1alpha1"},
		"Workload":       {"wasmesh.io/v1alpha1"},
		"Service":        {"v1"},
	} {
		for _, version := range append(versions, "v1beta1", "x/v1alpha1", "") {
			loaded := load(t, folder(t, map[string]string{"a.yaml": fmt.Sprintf("{apiVersion: %q, kind: %s, metadata: {name: o}}", version, kind)}))
			if served := slices.Contains(versions, version); served != (len(loaded.entries) == 1) || served != (len(loaded.Problems) == 0) {
				t.Errorf("%s %q: %s, %v", kind, version, names(loaded), loaded.Problems)
			}
		}
	}
}

func TestList(t *testing.T) {
	dir := folder(t, map[string]string{"l.yaml": "kind: List\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: ServiceAccount\n  metadata: {name: a}\n- 3\n- apiVersion: v1\n  kind: ServiceAccount\n  metadata:\n    name: b\n    nome: b\n- kind: List\n"})
	loaded := load(t, dir)
	wantProblems(t, dir, loaded.Problems, "l.yaml:7: the document is not an object.", "l.yaml:12: ServiceAccount default/b: metadata.nome: the field is unknown")
	if names(loaded) != "ServiceAccount default/a" {
		t.Errorf("got %s", names(loaded))
	}
}

func TestLocate(t *testing.T) {
	dir := folder(t, map[string]string{"a/x.yaml": "# first\n---\n" + strings.Replace(routes("matches:\n  - name: a\n  - &b\n    name: b\n    headers:\n    - x-a: a\n    - x-b.c: b\n  - *b"), "# a comment\n", "", 1),
		"y.yaml": "kind: HTTPRouteGroup\napiVersion: specs.smi-spec.io/v1alpha4\nmetadata: {name: p}\nmatches:\n- name: a\n"})
	loaded := load(t, dir)
	o := mesh.Object{Kind: "HTTPRouteGroup", Name: mesh.Name{Namespace: "default", Name: "o"}}
	for field, line := range map[string]string{
		"": "3", "kind": "4", "spec": "7", "spec.matches[0].name": "9", "spec.matches[1]": "10", "spec.matches[1].headers[x-b.c]": "14",
		"spec.matches[2].name": "11", "spec.matches[9].name": "8", "spec.matches[0].pathRegex": "9", "spec.other.field": "7", "status": "3", "[": "3", "[]..[0": "3",
	} {
		if got, want := loaded.Locate(mesh.Problem{Object: o, Field: field}), filepath.Join(dir, "a/x.yaml")+":"+line; got != want {
			t.Errorf("%s: got %s, want %s", field, got, want)
		}
	}
	p := mesh.Object{Kind: "HTTPRouteGroup", Name: mesh.Name{Namespace: "default", Name: "p"}}
	if got := loaded.Locate(mesh.Problem{Object: p, Field: "spec.matches[0].name"}); got != filepath.Join(dir, "y.yaml")+":5" {
		t.Errorf("without spec: %s", got)
	}
	if got := loaded.Locate(mesh.Problem{}); got != "" {
		t.Errorf("an object that is not there: %s", got)
	}
}
