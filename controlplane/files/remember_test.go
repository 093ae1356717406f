package files

import (
	"os"
	"path/filepath"
	"testing"
)

// What stands where it stood and says what it said is the very same object;
// everything else is read anew, and a duplicate stays one.
func TestReloadDecodesWhatChanged(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := NewSource(dir)
	read := func() map[string]any {
		objects, problems, err := s.Reload()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]any{"problems": len(problems)}
		for _, a := range objects.ServiceAccounts {
			out[a.Name] = a
		}
		return out
	}
	put("x.yaml", account("a")+"---\n"+account("b"))
	put("y.yaml", account("c"))
	first := read()
	put("x.yaml", account("a")+"---\n# a remark\n"+account("b"))
	put("z.yaml", account("c"))
	second := read()
	for name, same := range map[string]bool{"a": true, "b": false, "c": true} {
		if (first[name] == second[name]) != same {
			t.Errorf("%s is the same: %v, want %v", name, !same, same)
		}
	}
	if third := read(); second["problems"] != 1 || third["problems"] != 1 {
		t.Errorf("the duplicate is told %v times, then %v", second["problems"], third["problems"])
	}
}
