package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/wasmesh/wasmesh/injector/envoy"
	"github.com/wasmesh/wasmesh/tests/e2e/agent"
	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

// programs are what runs in pods: a name, and where its source is.
var programs = []struct{ name, folder, source string }{
	{"shim", ".", "./shim"},
	{"app", ".", "./app"},
	{"wasmesh", root, "."},
	{"wasmesh-sidecar", root, "./injector/wasmesh-sidecar"},
	{"wasmesh-redirect", root, "./injector/wasmesh-redirect"},
	{"bookstore-app", root, "./examples/bookstore/app"},
}

// prepare makes what runs in pods, with the machine's network: the programs,
// statically, the filter module, and Envoy.
func prepare() error {
	found, err := envoy.Find(context.Background(), envoy.ToolsDir(root))
	if err != nil {
		return err
	}
	path, err := filepath.Abs(found.Path)
	if err != nil {
		return err
	}
	if err := os.Setenv(envoy.PathVariable, path); err != nil {
		return err
	}
	for _, p := range programs {
		cmd := exec.Command("go", "build", "-o", program(p.name), p.source)
		cmd.Dir, cmd.Stdout, cmd.Stderr = p.folder, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", p.name, err)
		}
	}
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-o", program("mesh.wasm"), "./filters/modules/mesh")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the module: %w", err)
	}
	return nil
}

// program gives the file of a program that prepare made.
func program(name string) string {
	path, err := filepath.Abs(filepath.Join(root, "bin/e2e", name))
	if err != nil {
		return name // no working directory: starting it will say so
	}
	return path
}

// images says what the image names of manifests stand for. There is no shell in
// any of them. The bookstore's has the tests' client beside its own program.
func images(tools cluster.Tools) agent.Images {
	in := func(names ...string) map[string]string {
		files := map[string]string{}
		for _, name := range names {
			files["/usr/local/bin/"+name] = program(name)
		}
		return files
	}
	wasmesh, sidecar := in("wasmesh"), in("wasmesh-sidecar", "wasmesh-redirect")
	wasmesh["/usr/local/share/wasmesh/mesh.wasm"] = program("mesh.wasm")
	sidecar["/usr/local/bin/envoy"] = os.Getenv(envoy.PathVariable)
	return agent.Images{
		"app":                   {Files: in("app"), Entrypoint: []string{"app"}, User: 1000},
		"wasmesh/bookstore-app": {Files: in("bookstore-app", "app"), Entrypoint: []string{"bookstore-app"}, User: 1000},
		"cert-manager":          {Files: map[string]string{"/usr/local/bin/cert-manager": tools.CertManager}, Entrypoint: []string{"cert-manager"}, User: 1000},
		"wasmesh/wasmesh":       {Files: wasmesh, Entrypoint: []string{"wasmesh"}, User: 65532},
		"wasmesh/sidecar":       {Files: sidecar, Libraries: true, Entrypoint: []string{"wasmesh-sidecar"}, User: 1337},
	}
}
