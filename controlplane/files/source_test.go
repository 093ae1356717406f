package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// have reloads and returns the names of all service accounts, with the reload in
// which each appeared.
func have(t *testing.T, s *Source) string {
	t.Helper()
	objects, _, err := s.Reload()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range objects.ServiceAccounts {
		out = append(out, a.Name+"@"+string(rune('0'+a.CreationTimestamp.Unix())))
	}
	return strings.Join(out, " ")
}

func TestSourceKeepsWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	s := NewSource(dir)
	for _, step := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"first reading", map[string]string{"x.yaml": account("a") + "---\n" + account("b"), "y.yaml": account("c")}, "a@1 b@1 c@1"},
		{"a named document breaks: it stays, the rest follows its file", map[string]string{"x.yaml": account("a") + "  typo: x\n---\n" + account("d")}, "d@2 c@1 a@1"},
		{"a document breaks that could be anything: the file's objects stay", map[string]string{"x.yaml": account("e") + "---\nkind: [\n"}, "e@3 c@1 d@2 a@1"},
		{"other files are not concerned", map[string]string{"y.yaml": "# nothing left\n"}, "e@3 d@2 a@1"},
		{"mended: what is gone is gone", map[string]string{"x.yaml": account("a")}, "a@1"},
		{"back again, as a new object", map[string]string{"x.yaml": account("a") + "---\n" + account("d")}, "a@1 d@6"},
		{"a kind mistyped is no deletion", map[string]string{"x.yaml": account("a") + "---\n" + strings.Replace(account("d"), "Account", "Acount", 1)}, "a@1 d@6"},
		{"a kind of somebody else is one", map[string]string{"x.yaml": account("a") + "---\n" + strings.Replace(strings.Replace(account("d"), "v1", "apps/v1", 1), "ServiceAccount", "Deployment", 1)}, "a@1"},
		{"moved to another file while its own is broken", map[string]string{"x.yaml": "[", "y.yaml": account("a")}, "a@1"},
		{"too large", map[string]string{"y.yaml": strings.Repeat("#", MaxFileBytes+1)}, "a@1"},
	} {
		for name, text := range step.files {
			write(t, filepath.Join(dir, name), text)
		}
		if got := have(t, s); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
	if where := s.Locate(mesh.Problem{Object: mesh.Object{Kind: "ServiceAccount", Name: mesh.Name{Namespace: "default", Name: "a"}}}); where != filepath.Join(dir, "y.yaml")+":1" {
		t.Errorf("a kept object is located at %q", where)
	}
	if err := os.Remove(filepath.Join(dir, "y.yaml")); err != nil {
		t.Fatal(err)
	}
	if got := have(t, s); got != "" {
		t.Errorf("after the file was deleted: %q", got)
	}
}

func TestSourceWithoutFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests")
	write(t, filepath.Join(dir, "x.yaml"), account("a"))
	s := NewSource(dir)
	have(t, s)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	objects, _, err := s.Reload()
	if err == nil || len(objects.ServiceAccounts) != 1 {
		t.Errorf("got %d accounts, error %v", len(objects.ServiceAccounts), err)
	}
	write(t, filepath.Join(dir, "x.yaml"), account("b"))
	if got := have(t, s); got != "b@2" {
		t.Errorf("after the folder came back: %q", got)
	}
}
