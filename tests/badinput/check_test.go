package badinput

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// Each page of testdata/check replaces files of testdata/mesh and lists what the
// command must say, one finding a line: place | object | cause | advice.
func TestCheckNamesFileLineObjectAndAdvice(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("testdata", "check", "*.txtar"))
	if err != nil || len(pages) < 7 {
		t.Fatalf("there are %d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(page)
			if err != nil {
				t.Fatal(err)
			}
			folder := t.TempDir()
			copyMesh(t, folder)
			var want []string
			for _, f := range archive.Files {
				if f.Name == "findings" {
					want = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
				} else if err := os.WriteFile(filepath.Join(folder, f.Name), f.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			compareFindings(t, command(t, folder, programs.Wasmesh, "check", "-f", "."), want)
		})
	}
}

func compareFindings(t *testing.T, o outcome, want []string) {
	t.Helper()
	if o.code != 1 || o.stderr != "" {
		t.Errorf("exit code %d, stderr %q", o.code, o.stderr)
	}
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	found := lines[:len(lines)-1] // the last one counts them
	if len(found) != len(want) {
		t.Errorf("%d findings, want %d", len(found), len(want))
	}
	for i, line := range want {
		parts := strings.Split(line, " | ")
		if len(parts) != 4 {
			t.Fatalf("%q has %d parts", line, len(parts))
		}
		if i < len(found) && (!strings.HasPrefix(found[i], parts[0]+":") || !containsAll(found[i], parts[1:])) {
			t.Errorf("finding %d: want %q", i+1, parts)
		}
	}
	if t.Failed() {
		t.Logf("it said\n%s", o.stdout)
	}
}

func TestCheckTellsGoodFromUnreadable(t *testing.T) {
	folder := t.TempDir()
	copyMesh(t, folder)
	if o := command(t, folder, programs.Wasmesh, "check", "-f", "."); o.code != 0 || !strings.Contains(o.stdout, "no problems") {
		t.Errorf("exit code %d:\n%s%s", o.code, o.stdout, o.stderr)
	}
	gone := filepath.Join(folder, "gone")
	command(t, folder, programs.Wasmesh, "check", "-f", gone).says(t, 2, gone)
	command(t, folder, programs.Wasmesh, "check").says(t, 2, "-f is missing")
	command(t, folder, programs.Wasmesh, "check", "-f", ".", "-o", "xml").says(t, 2, "xml")
	command(t, folder, programs.Wasmesh, "chekc").says(t, 2, `there is no command "chekc"`)
}
