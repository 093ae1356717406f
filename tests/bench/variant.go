package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/tests/rig/module"
)

// decider is who decides about a request.
type decider int

const (
	nobody decider = iota
	// policyList is native RBAC with one policy that lists the principals: what
	// one TrafficTarget with many sources says, word for word.
	policyList
	// matcherTree is native RBAC that looks the principal up in a map.
	matcherTree
	// bothForms is the module as sidecars run it, both forms.
	bothForms
	// accessForm is the module without the form that ends connections.
	accessForm
)

// variant is one way to decide among a number of granted principals.
type variant struct {
	name       string
	decider    decider
	principals int
	// module is the digest of the module; empty for native variants.
	module string
}

// caller is the index of the principal that sends the load: the middle of the
// list, so that a search along the list takes its average time.
func (v variant) caller() int { return v.principals / 2 }

// namedModule is a compiled module to measure.
type namedModule struct {
	// name tells modules apart in the report; the first one's is empty.
	name   string
	path   string
	digest string
}

func parseModule(s string) namedModule {
	name, path, ok := strings.Cut(s, "=")
	if !ok {
		return namedModule{name: filepath.Base(s), path: s}
	}
	return namedModule{name: name, path: path}
}

// install puts the modules where the control plane's configuration looks for
// them, below dir. Without any, it takes the one that tests judge.
func install(ctx context.Context, dir string, modules []namedModule) ([]namedModule, error) {
	if len(modules) == 0 {
		built, err := module.UnderTest(ctx, dir)
		if err != nil {
			return nil, err
		}
		modules = []namedModule{{path: built}}
	}
	folder := filepath.Join(dir, xds.ModuleDirectory)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	installed := slices.Clone(modules)
	for i := range installed {
		code, err := os.ReadFile(installed[i].path)
		if err != nil {
			return nil, fmt.Errorf("reading the module: %w", err)
		}
		sum := sha256.Sum256(code)
		installed[i].digest = hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(folder, installed[i].digest+".wasm"), code, 0o644); err != nil {
			return nil, fmt.Errorf("installing the module: %w", err)
		}
	}
	return installed, nil
}

// variants lists what is measured, the bare chain first: everything else is
// compared with it, so it is never filtered out.
func variants(modules []namedModule, smoke bool, only *regexp.Regexp) []variant {
	ours := modules[0].digest
	all := []variant{
		{"native policy list, 10", policyList, 10, ""},
		{"native policy list, 1,000", policyList, 1000, ""},
		{"native matcher tree, 10", matcherTree, 10, ""},
		{"native matcher tree, 1,000", matcherTree, 1000, ""},
		{"wasmesh, 10", bothForms, 10, ours},
		{"wasmesh, 1,000", bothForms, 1000, ours},
		{"wasmesh, 10,000", bothForms, 10000, ours},
		{"wasmesh, 1,000, access form only", accessForm, 1000, ours},
	}
	for _, m := range modules[1:] {
		all = append(all, variant{"wasmesh, 1,000, module " + m.name, bothForms, 1000, m.digest})
	}
	if smoke {
		all = []variant{all[0], all[2], all[4], all[7]}
	}
	all = slices.DeleteFunc(all, func(v variant) bool { return !only.MatchString(v.name) })
	return append([]variant{{name: "no filter", decider: nobody, principals: 1}}, all...)
}
