// Package arch holds the rules of the architecture that a machine can check. It
// imports nothing of the project and looks at its sources only.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/wasmesh/wasmesh/"

// pkg is what the go command says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// list asks the go command for packages, for the given platform.
func list(t *testing.T, env []string, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps=false", "-json=ImportPath,Dir,GoFiles,Imports,Deps"}, patterns...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list %v: %v\n%s", patterns, err, exit.Stderr)
		}
		t.Fatalf("go list %v: %v", patterns, err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// layers says what each part may import of the project. The first prefix that
// fits a package is its rule; a part that fits none must be added here.
var layers = []struct {
	prefix string
	may    []string
}{
	{"filters/automaton", nil},
	{"filters/identity", nil},
	{"filters/traffic", []string{"filters/identity"}},
	{"filters/pattern", []string{"filters/automaton"}},
	{"filters/policy", []string{"filters/automaton"}},
	{"filters/config", []string{"filters/identity", "filters/policy"}},
	{"filters/wasmtest", nil},
	{"filters/", []string{"filters/"}},
	{"controlplane/apis/", nil},
	{"controlplane/mesh", []string{"filters/identity", "filters/policy"}},
	{"controlplane/smi", []string{"controlplane/mesh", "controlplane/apis/", "filters/"}},
	{"controlplane/observe", []string{"controlplane/mesh", "filters/policy"}},
	{"controlplane/observe/receive", []string{"controlplane/mesh", "controlplane/observe"}},
	{"controlplane/metricsapi", []string{"controlplane/mesh", "controlplane/smi", "filters/traffic"}},
	{"controlplane/metricsapi/api", []string{"controlplane/mesh", "controlplane/metricsapi"}},
	{"controlplane/metricsapi/show", []string{"controlplane/metricsapi"}},
	{"controlplane/metricsapi/frontproxy", nil},
	{"controlplane/metricsapi/prometheus", []string{"controlplane/metricsapi", "controlplane/metricsapi/api"}},
	{"controlplane/metricsapi/scrape", []string{"controlplane/mesh", "controlplane/metricsapi", "controlplane/metricsapi/api"}},
	{"controlplane/suggest", []string{"controlplane/mesh", "controlplane/observe", "controlplane/smi", "filters/pattern", "filters/policy"}},
	{"controlplane/modules", []string{"controlplane/mesh"}},
	{"controlplane/xds", []string{"controlplane/mesh", "controlplane/observe", "filters/"}},
	{"controlplane/door", nil},
	{"controlplane/serve", []string{"controlplane/door", "controlplane/mesh", "controlplane/xds", "filters/identity"}},
	{"controlplane/status", []string{"controlplane/mesh", "controlplane/serve", "controlplane/xds", "filters/policy"}},
	{"controlplane/wire", []string{"controlplane/mesh", "controlplane/smi", "controlplane/apis/"}},
	{"controlplane/files", []string{"controlplane/mesh", "controlplane/smi", "controlplane/wire"}},
	{"controlplane/review", []string{"controlplane/door"}},
	{"controlplane/admission", []string{"controlplane/review", "controlplane/mesh", "controlplane/smi", "controlplane/wire", "controlplane/apis/", "controlplane/kube/trim"}},
	{"controlplane/webhookcert", nil},
	{"controlplane/kube", []string{"controlplane/kube/", "controlplane/mesh", "controlplane/smi", "controlplane/wire", "controlplane/apis/"}},
	{"controlplane/kube/trim", nil},
	{"controlplane/kube/report", []string{"controlplane/mesh"}},
	{"controlplane/check", []string{"controlplane/mesh", "controlplane/smi", "controlplane/files"}},
	{"controlplane/explain", []string{"controlplane/mesh", "filters/policy"}},
	{"controlplane/ca/durable", nil},
	{"controlplane/ca/secret", []string{"controlplane/ca"}},
	{"controlplane/ca", []string{"controlplane/ca/", "controlplane/door", "controlplane/mesh", "filters/identity"}},
	{"controlplane/attest", []string{"controlplane/ca", "controlplane/mesh", "controlplane/smi"}},
	{"controlplane", []string{"controlplane/", "filters/", "wasm-registry/"}},
	{"wasm-registry/", []string{"controlplane/door", "wasm-registry/", "filters/wasmtest", "filters/config", "filters/policy"}},
	{"injector/envoy", nil},
	{"injector/inject", []string{"injector/redirect", "injector/sidecar/probe"}},
	{"injector/redirect", nil},
	{"injector/sidecar/probe", nil},
	{"injector/redirect/netfilter", []string{"injector/redirect"}},
	{"injector/wasmesh-redirect", []string{"injector/redirect", "injector/redirect/netfilter"}},
	{"charts/images", nil},
	{"charts/images/build", []string{"charts/images"}},
	{"injector/", []string{"injector/", "controlplane/ca", "controlplane/ca/durable", "controlplane/door", "controlplane/review", "controlplane/webhookcert", "filters/identity", "filters/traffic", "wasm-registry/fetch", "wasm-registry/store"}},
	{"examples/", []string{"examples/", "controlplane", "controlplane/", "injector/", "filters/"}},
	{"tests/", []string{""}},
	{"", []string{""}},
}

// TestImportsGoOneWay fails with the import that broke the layering.
func TestImportsGoOneWay(t *testing.T) {
	packages := list(t, nil, "./...")
	if len(packages) < 15 {
		t.Fatalf("only %d packages found: the rule looks at the wrong place", len(packages))
	}
	for _, p := range packages {
		own := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, strings.TrimSuffix(module, "/")), "/")
		for _, imported := range p.Imports {
			target, ours := strings.CutPrefix(imported, module)
			if ours && !allowed(own, target) {
				t.Errorf("%s imports %s, which its layer may not", own, target)
			}
		}
	}
}

func allowed(own, target string) bool {
	for _, layer := range layers {
		if !covers(layer.prefix, own) {
			continue
		}
		return slices.ContainsFunc(layer.may, func(m string) bool { return covers(m, target) })
	}
	return false
}

// covers reports whether a package is at or, for a prefix that ends with a
// slash or is empty, below it.
func covers(prefix, path string) bool {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return strings.HasPrefix(path, prefix)
	}
	return path == prefix
}

// TestModuleStaysSmall keeps out of our own packages in the module what memory
// pays for: the sidecar compiles every function at load.
func TestModuleStaysSmall(t *testing.T) {
	heavy := []string{"encoding/json", "fmt", "regexp", "regexp/syntax"}
	env := []string{"GOOS=wasip1", "GOARCH=wasm"}
	root := list(t, env, "./filters/modules/...")
	var inside []string
	for _, p := range root {
		inside = append(inside, p.ImportPath)
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, module) {
				inside = append(inside, dep)
			}
		}
	}
	if len(inside) < 8 {
		t.Fatalf("the module has only %d packages of ours: %v", len(inside), inside)
	}
	for _, p := range list(t, env, inside...) {
		for _, imported := range p.Imports {
			if slices.Contains(heavy, imported) {
				t.Errorf("%s is in the module and imports %s", p.ImportPath, imported)
			}
		}
		if strings.HasSuffix(p.ImportPath, "filters/pattern") {
			t.Errorf("%s is in the module; the control plane compiles patterns", p.ImportPath)
		}
	}
}

// TestRedirectStaysSmall keeps everything but the way to the kernel out of the one
// program that runs with NET_ADMIN.
func TestRedirectStaysSmall(t *testing.T) {
	may := []string{"github.com/google/nftables", "github.com/mdlayher/", "golang.org/x/", module}
	for _, p := range list(t, nil, "./injector/wasmesh-redirect") {
		if len(p.Deps) < 20 {
			t.Errorf("%s has only %d dependencies: the rule looks at the wrong place", p.ImportPath, len(p.Deps))
		}
		for _, dep := range p.Deps {
			allowed := slices.ContainsFunc(may, func(m string) bool { return strings.HasPrefix(dep, m) })
			if strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") && !allowed || dep == "os/exec" {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}

// TestSidecarStaysSmall keeps Kubernetes and xDS libraries out of the process
// that runs beside every application.
func TestSidecarStaysSmall(t *testing.T) {
	for _, p := range list(t, nil, "./injector/wasmesh-sidecar") {
		for _, dep := range p.Deps {
			for _, heavy := range []string{"k8s.io/", "github.com/envoyproxy/", "github.com/tetratelabs/", "google.golang.org/grpc"} {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("%s depends on %s", p.ImportPath, dep)
				}
			}
		}
	}
}
