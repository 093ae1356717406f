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
	// policyEach is native RBAC with a policy for each principal: what as many
	// TrafficTargets with one source say.
	policyEach
	// matcherTree is native RBAC that looks the principal up in a map.
	matcherTree
	// bothForms is the module as sidecars run it, both forms.
	bothForms
	// accessForm is the module without the form that ends connections.
	accessForm
	// accessOnly is the access stage alone: it decides and counts nothing, as
	// native RBAC.
	accessOnly
)

// module says whether the module decides.
func (d decider) module() bool { return d == bothForms || d == accessForm || d == accessOnly }

// wire is how requests reach the sidecar.
type wire string

const (
	// mutualTLS is the inbound side as the control plane builds it.
	mutualTLS wire = "mtls"
	// plaintext is HTTP/1 without TLS: as little as possible beside the decision.
	plaintext wire = "plain"
)

// variant is one way to decide among a number of granted principals.
type variant struct {
	name       string
	decider    decider
	principals int
	// patterns is how many paths are granted to each of them.
	patterns int
	// module is the digest of the module; empty for native variants.
	module string
	wire   wire
	// path is what the load asks for.
	path string
}

// caller is the index of the principal that sends the load: the middle of the
// list, so that a search along the list takes its average time.
func (v variant) caller() int { return v.principals / 2 }

// namedModule is a compiled module to measure.
type namedModule struct {
	// name tells modules apart in the report.
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

// released is where make puts the module that is released; it need not be there.
const released = "bin/mesh-tinygo.wasm"

// unnamed are the modules to measure when none is named: the one that tests were
// told to judge, or the one that standard Go makes of the source and, if it was
// made, the released one of the repository at root.
func unnamed(ctx context.Context, root, dir string) ([]namedModule, error) {
	built, err := module.UnderTest(ctx, dir)
	if err != nil {
		return nil, err
	}
	if os.Getenv(module.Variable) != "" {
		return []namedModule{{name: filepath.Base(built), path: built}}, nil
	}
	modules := []namedModule{{name: "standard Go", path: built}}
	if _, err := os.Stat(filepath.Join(root, released)); err == nil {
		modules = append([]namedModule{{name: "TinyGo", path: filepath.Join(root, released)}}, modules...)
	}
	return modules, nil
}

// install puts the modules where the control plane's configuration looks for
// them, below dir.
func install(ctx context.Context, root, dir string, modules []namedModule) ([]namedModule, error) {
	if len(modules) == 0 {
		var err error
		if modules, err = unnamed(ctx, root, dir); err != nil {
			return nil, err
		}
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

// variants lists what is measured on a wire, the bare chain first: everything
// else is compared with it, so it is never filtered out.
func variants(w wire, modules []namedModule, smoke bool, only *regexp.Regexp) []variant {
	all := onPlaintext(modules)
	if w == mutualTLS {
		all = onMutualTLS(modules)
	}
	if smoke {
		kept := []variant{}
		for _, v := range all {
			if !slices.ContainsFunc(kept, func(k variant) bool { return k.decider == v.decider }) {
				kept = append(kept, v)
			}
		}
		all = kept
	}
	bare := variant{name: "no filter", decider: nobody, principals: 1, patterns: 1}
	all = slices.DeleteFunc(all, func(v variant) bool { return !only.MatchString(v.name) })
	all = append([]variant{bare}, all...)
	for _, other := range []variant{{name: hostileBare, path: hostilePath}, {name: longBare, path: longPath}} {
		if slices.ContainsFunc(all, func(v variant) bool { return v.path == other.path }) {
			bare.name, bare.path = other.name, other.path
			all = append(all, bare)
		}
	}
	for i := range all {
		all[i].wire = w
		if all[i].path == "" {
			all[i].path = grantedPath
		}
	}
	return all
}

// onMutualTLS is the product: what a sidecar's request costs.
func onMutualTLS(modules []namedModule) []variant {
	ours := modules[0].digest
	all := []variant{
		{name: "native policy list, 10", decider: policyList, principals: 10, patterns: 1},
		{name: "native policy list, 1,000", decider: policyList, principals: 1000, patterns: 1},
		{name: "native matcher tree, 10", decider: matcherTree, principals: 10, patterns: 1},
		{name: "native matcher tree, 1,000", decider: matcherTree, principals: 1000, patterns: 1},
		{name: "wasmesh, 10", decider: bothForms, principals: 10, patterns: 1, module: ours},
		{name: "wasmesh, 1,000", decider: bothForms, principals: 1000, patterns: 1, module: ours},
		{name: "wasmesh, 10,000", decider: bothForms, principals: 10000, patterns: 1, module: ours},
		{name: "wasmesh, 1,000, access form only", decider: accessForm, principals: 1000, patterns: 1, module: ours},
	}
	for _, m := range modules[1:] {
		all = append(all, variant{name: "wasmesh, 1,000, module " + m.name, decider: bothForms, principals: 1000, patterns: 1, module: m.digest})
	}
	return all
}

// The variants that the bars are about.
const (
	smallest    = "wasmesh alone, 10 x 1"
	thousand    = "wasmesh alone, 1,000 x 1"
	largest     = "wasmesh alone, 10,000 x 1,000"
	hostile     = "wasmesh alone, 10,000 x 1,000, hostile path of 8 KB"
	long        = "wasmesh alone, 10,000 x 1,000, path of 8 KB"
	nativeList  = "native policy list, 1,000 x 1"
	nativeEach  = "native policies, 1,000 x 1"
	nativeTree  = "native matcher tree, 1,000 x 1"
	hostileBare = "no filter, hostile path of 8 KB"
	longBare    = "no filter, path of 8 KB"
)

// onPlaintext is the decision alone, principals times patterns.
func onPlaintext(modules []namedModule) []variant {
	ours := modules[0].digest
	all := []variant{
		{name: smallest, decider: accessOnly, principals: 10, patterns: 1, module: ours},
		{name: largest, decider: accessOnly, principals: 10000, patterns: 1000, module: ours},
		{name: thousand, decider: accessOnly, principals: 1000, patterns: 1, module: ours},
		{name: nativeTree, decider: matcherTree, principals: 1000, patterns: 1},
		{name: nativeList, decider: policyList, principals: 1000, patterns: 1},
		{name: nativeEach, decider: policyEach, principals: 1000, patterns: 1},
		{name: "wasmesh alone, 10,000 x 1", decider: accessOnly, principals: 10000, patterns: 1, module: ours},
		{name: "wasmesh alone, 10 x 1,000", decider: accessOnly, principals: 10, patterns: 1000, module: ours},
		{name: "native policy list, 10 x 1", decider: policyList, principals: 10, patterns: 1},
		{name: "native matcher tree, 10 x 1", decider: matcherTree, principals: 10, patterns: 1},
		{name: "wasmesh, 1,000 x 1, counting", decider: accessForm, principals: 1000, patterns: 1, module: ours},
		{name: hostile, decider: accessOnly, principals: 10000, patterns: 1000, module: ours, path: hostilePath},
		{name: long, decider: accessOnly, principals: 10000, patterns: 1000, module: ours, path: longPath},
	}
	for _, m := range modules[1:] {
		all = append(all, variant{name: thousand + ", module " + m.name, decider: accessOnly, principals: 1000, patterns: 1, module: m.digest})
	}
	return all
}
