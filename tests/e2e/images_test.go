package e2e

import (
	"context"
	"os"
	"path/filepath"

	wasmesh "github.com/wasmesh/wasmesh/charts/images"
	"github.com/wasmesh/wasmesh/injector/envoy"
	"github.com/wasmesh/wasmesh/tests/e2e/agent"
	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

// built is a program that runs in pods: its name, and where its source is.
type built struct{ name, folder, source string }

// programs are those of the tests, and those of the product's images.
func programs() []built {
	all := []built{{"shim", ".", "./shim"}, {"app", ".", "./app"}, {"bookstore-app", root, "./examples/bookstore/app"}}
	for _, i := range wasmesh.All() {
		for _, p := range i.Programs {
			all = append(all, built{p.Name, root, p.Source})
		}
	}
	return all
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
	for _, p := range programs() {
		if err := cluster.GoBuild(p.folder, cluster.Static, "-o", program(p.name), p.source); err != nil {
			return err
		}
	}
	if err := prepareModules(); err != nil {
		return err
	}
	return preparePrevious()
}

// prepareModules builds the tests' filter, and takes the product's that
// WASMESH_MODULE names, as other tests do, or builds it by standard Go.
func prepareModules() error {
	modules := []built{{"picky.wasm", ".", "./picky"}, {"mesh.wasm", root, "./filters/modules/mesh"}}
	if given := os.Getenv("WASMESH_MODULE"); given != "" {
		wasm, err := os.ReadFile(given)
		if err == nil {
			err = os.WriteFile(program("mesh.wasm"), wasm, 0o644)
		}
		if err != nil {
			return err
		}
		modules = modules[:1]
	}
	for _, m := range modules {
		if err := cluster.GoBuild(m.folder, cluster.Wasm, "-buildmode=c-shared", "-trimpath", "-o", program(m.name), m.source); err != nil {
			return err
		}
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
	all := agent.Images{
		"app":                   {Files: in("app"), Entrypoint: []string{"app"}, User: 1000},
		"your/gateway":          {Files: in("app"), Entrypoint: []string{"app", "gateway", "--to", "http://web.shop"}, User: 1000},
		"wasmesh/bookstore-app": {Files: in("bookstore-app", "app"), Entrypoint: []string{"bookstore-app"}, User: 1000},
		"cert-manager":          {Files: map[string]string{"/usr/local/bin/cert-manager": tools.CertManager}, Entrypoint: []string{"cert-manager"}, User: 1000},
	}
	for _, i := range wasmesh.All() {
		image := agent.Image{Files: i.Files(filepath.Dir(program("any")), program("mesh.wasm")), Entrypoint: []string{i.Programs[0].Path()}, User: i.User}
		if i.Envoy {
			image.Libraries, image.Files["/usr/local/bin/envoy"] = true, os.Getenv(envoy.PathVariable)
		}
		all["wasmesh/"+i.Name] = image
	}
	addPrevious(all)
	return all
}
