package differential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// allMutants has TestMutants try all of the mutants, not just some.
var allMutants = flag.Bool("mutants", false, "try all seeded bugs, not just two")

const (
	huntSource = "github.com/wasmesh/wasmesh/tests/differential/hunt"
	// someMutants are tried by a plain run, others each time.
	someMutants = 2
	huntTime    = 30 * time.Second
	buildTime   = 5 * time.Minute
)

// A mutant is a bug: old has to be in the file exactly once, so that a mutant
// never is the code itself in silence.
type mutant struct{ name, file, old, new string }

// TestMutants builds each bug and wants a disagreement within huntTime.
func TestMutants(t *testing.T) {
	all := mutants()
	some := all
	if !*allMutants {
		some = nil
		for i := range someMutants {
			some = append(some, all[(*seed*someMutants+uint64(i))%uint64(len(all))])
		}
	}
	var table strings.Builder
	for _, m := range some {
		start := time.Now()
		binary, err := m.build(t)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		built := time.Since(start)
		found, err := hunted(t.Context(), binary)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			found = "NOT FOUND"
		}
		fmt.Fprintf(&table, "%-58s %-40s built in %.1f s\n", m.name, found, built.Seconds())
	}
	t.Logf("\n%s%d of %d mutants tried", table.String(), len(some), len(all))
}

// TestMutantsFit reads what the plain run does not build.
func TestMutantsFit(t *testing.T) {
	for _, m := range mutants() {
		if _, err := m.apply(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// root is the top folder of the source tree.
func root() (string, error) { return filepath.Abs(filepath.Join("..", "..")) }

// apply returns the file with the bug in it.
func (m mutant) apply() ([]byte, error) {
	top, err := root()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(m.file)))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 || m.old == m.new {
		return nil, fmt.Errorf("%s has this %d times, wanted is once; write the mutant anew:\n%s", m.file, n, m.old)
	}
	return bytes.Replace(text, []byte(m.old), []byte(m.new), 1), nil
}

// build compiles the hunt with the bug laid over the source.
func (m mutant) build(t *testing.T) (string, error) {
	text, err := m.apply()
	if err != nil {
		return "", err
	}
	top, err := root()
	if err != nil {
		return "", err
	}
	dir := t.TempDir()
	file, overlay, binary := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "hunt")
	replace := map[string]map[string]string{"Replace": {filepath.Join(top, filepath.FromSlash(m.file)): file}}
	laid, err := json.Marshal(replace)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(file, text, 0o600), os.WriteFile(overlay, laid, 0o600)); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", binary, huntSource).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building it: %w: %s", err, bytes.TrimSpace(out))
	}
	return binary, nil
}

// hunted runs a hunt and returns the line that says when it found something.
func hunted(ctx context.Context, binary string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*huntTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "-seed", fmt.Sprint(*seed), "-for", huntTime.String()).Output()
	first, _, _ := strings.Cut(string(out), "\n")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && strings.HasPrefix(first, "found after ") {
		return first, nil
	}
	return "", fmt.Errorf("nothing found: %w: %s", errors.Join(err, ctx.Err()), first)
}
