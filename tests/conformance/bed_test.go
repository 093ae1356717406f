package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/conformance/suite"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain = "conformance.test"
	castFile    = "cast.yaml"
	// convergence is how late what was applied may be in force: the suite sleeps
	// that long before each assertion.
	convergence = 5 * time.Second
	// answerTimeout ends the wait for an answer that does not come.
	answerTimeout = 10 * time.Second
)

func named(name string) mesh.Name { return mesh.Name{Namespace: suite.Namespace, Name: name} }

// bed is a running mesh with its applications and the folder that describes it.
type bed struct {
	*rig.Mesh
	settings smi.Settings
	folder   string
	cast     *mesh.Snapshot
	apps     []*application
	// driver asks applications at their own addresses, in plaintext and past every
	// sidecar, as the suite's does from outside the mesh.
	driver http.Client
}

func startBed(ctx context.Context, programs rig.Programs, folder string, settings smi.Settings) (*bed, error) {
	b := &bed{folder: folder, settings: settings, driver: http.Client{Timeout: answerTimeout}}
	if err := b.put(castFile); err != nil {
		return nil, err
	}
	var err error
	if b.cast, err = b.snapshot(); err != nil {
		return nil, err
	}
	var names []mesh.Name
	for _, w := range b.cast.Workloads {
		a, err := startApplication(ctx, b.cast, w)
		if err != nil {
			return nil, errors.Join(err, b.stop())
		}
		b.apps = append(b.apps, a)
		names = append(names, w.Name)
	}
	b.Mesh, err = rig.Start(ctx, rig.Options{Manifests: folder, Settings: settings, Workloads: names, Programs: programs})
	if err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

func (b *bed) stop() error {
	var failures []error
	if b.Mesh != nil {
		failures = append(failures, b.Mesh.Stop())
	}
	b.driver.CloseIdleConnections()
	for _, a := range b.apps {
		failures = append(failures, a.stop())
	}
	return errors.Join(failures...)
}

// put writes a manifest into the folder, as an editor that writes safely does.
func (b *bed) put(name string) error {
	text, err := suite.Policy(name)
	if name == castFile {
		text, err = os.ReadFile(filepath.Join("testdata", name))
	}
	if err != nil {
		return err
	}
	part := filepath.Join(b.folder, ".part")
	if err := os.WriteFile(part, text, 0o600); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(b.folder, name))
}

// Apply makes the folder hold the cast and these manifests, and returns when the
// mesh runs that.
func (b *bed) Apply(manifests ...string) error {
	wanted := map[string]bool{castFile: true}
	for _, m := range manifests {
		wanted[m] = true
		if err := b.put(m); err != nil {
			return err
		}
	}
	present, err := os.ReadDir(b.folder)
	if err != nil {
		return err
	}
	for _, p := range present {
		if !wanted[p.Name()] {
			if err := os.Remove(filepath.Join(b.folder, p.Name())); err != nil {
				return err
			}
		}
	}
	return b.converged()
}

// snapshot is what the folder means. A problem in it is an error: every manifest
// of the suite is to be taken as it is.
func (b *bed) snapshot() (*mesh.Snapshot, error) {
	loaded, err := files.Load(b.folder)
	if err != nil {
		return nil, err
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, b.settings)
	var failures []error
	for _, p := range append(loaded.Problems, problems...) {
		failures = append(failures, errors.New(p.String()))
	}
	return snapshot, errors.Join(failures...)
}

// Knows is what is left of an assertion about a CRD's names where there is no API
// server: a manifest of the kind is read without a problem, changes what the
// sidecars have to run, and they run it; and they no longer do without it.
func (b *bed) Knows(_ suite.Kind, policy string, others ...string) error {
	if err := b.Apply(others...); err != nil {
		return err
	}
	without, err := b.snapshot()
	if err != nil {
		return err
	}
	if err := b.Apply(slices.Concat(others, []string{policy})...); err != nil {
		return err
	}
	with, err := b.snapshot()
	if err != nil {
		return err
	}
	if meant(with) == meant(without) {
		return fmt.Errorf("the mesh is the same with and without %s", policy)
	}
	return b.Apply(others...)
}

func (b *bed) Ready(app string) error { return b.AwaitReady(named(app)) }

func (b *bed) Behind(service string) (found []string, err error) {
	s, _ := b.cast.Service(named(service))
	for _, p := range s.Ports {
		for _, e := range p.Endpoints {
			found = append(found, e.Workload.Name)
		}
	}
	return found, nil
}

// Reach gives an application's own address.
func (b *bed) Reach(name string) (*http.Client, string, error) {
	w, ok := b.cast.Workload(named(name))
	if !ok {
		return nil, "", fmt.Errorf("there is no application %q in %s", name, castFile)
	}
	return &b.driver, "http://" + netip.AddrPortFrom(w.Application, suite.Port).String(), nil
}
