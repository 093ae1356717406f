package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// XDSAddress and JoinAddress are where the control plane listens, host:port.
func (m *Mesh) XDSAddress() string  { return m.xds }
func (m *Mesh) JoinAddress() string { return m.join }

// HealthAddress is where the control plane's probes and its own metrics are, if it
// serves traffic metrics.
func (m *Mesh) HealthAddress() string { return m.health }

// MetricsAddress is where traffic metrics are told.
func (m *Mesh) MetricsAddress() string { return m.metrics }

// RegistryAddress is where it serves modules, host:port.
func (m *Mesh) RegistryAddress() string { return m.registry }

// StateFolder is the authority's, ModulesFolder that of the modules by digest.
func (m *Mesh) StateFolder() string   { return m.state() }
func (m *Mesh) ModulesFolder() string { return m.modules() }

// SidecarModules is where the sidecar of w keeps modules by digest.
func (m *Mesh) SidecarModules(w mesh.Name) string {
	return filepath.Join(m.work, w.Namespace+"."+w.Name, "state", "modules")
}

// SidecarPID is the process that runs beside the Envoy of w.
func (m *Mesh) SidecarPID(w mesh.Name) int { return m.sidecars[w].cmd.Process.Pid }

// RestartSidecar ends the sidecar of w and its Envoy, and starts them with what
// the state folder keeps. Its log begins anew.
func (m *Mesh) RestartSidecar(w mesh.Name) error {
	m.sidecars[w].ask()
	if err := m.sidecars[w].end(stopTimeout); err != nil {
		return err
	}
	return m.startSidecar(w, "")
}

// ControlPlaneLog returns what the control plane has logged so far.
func (m *Mesh) ControlPlaneLog() (string, error) {
	text, err := os.ReadFile(m.controlPlaneLog())
	return string(text), err
}

// SidecarLog returns what the sidecar of w and its Envoy have printed so far.
func (m *Mesh) SidecarLog(w mesh.Name) (string, error) {
	text, err := os.ReadFile(filepath.Join(m.work, w.Namespace+"."+w.Name, "log"))
	return string(text), err
}

// Join starts a sidecar beside a running mesh, without waiting for anything.
func (m *Mesh) Join(w mesh.Name, token string) error {
	if m.sidecars[w] != nil {
		return fmt.Errorf("%s has a sidecar already", w)
	}
	return m.startSidecar(w, token)
}

// AwaitReady returns when the sidecar of w accepts at all its listeners and has
// taken everything the control plane has for it.
func (m *Mesh) AwaitReady(w mesh.Name) error {
	return m.Await(readyTimeout, "the sidecar of "+w.String(), func(ctx context.Context) error { return m.ready(ctx, w) })
}

// serves returns nil if the control plane serves the module that it was given:
// a test must not judge another one.
func (m *Mesh) serves(digest string) error {
	if digest == "" {
		return errors.New("it has no good module")
	}
	wasm, err := os.ReadFile(m.options.Programs.Module)
	if err != nil {
		return err
	}
	if given := store.Digest(wasm); digest != given {
		return fmt.Errorf("it serves module %.12s, not %.12s, which is %s", digest, given, m.options.Programs.Module)
	}
	return nil
}

// Runs returns nil if the filters of w's Envoy are the module of that digest.
func (m *Mesh) Runs(ctx context.Context, w mesh.Name, digest string) error {
	dump, err := m.Admin(w).Get(ctx, "/config_dump?resource=ecds_filters")
	if err == nil && !strings.Contains(string(dump), "/"+digest+".wasm") {
		err = fmt.Errorf("the envoy of %s does not run module %.12s", w, digest)
	}
	return err
}

// Context ends when a part of the mesh ended by itself; the cause says which.
func (m *Mesh) Context() context.Context { return m.ctx }

// StatusSocket is where the control plane tells its state.
func (m *Mesh) StatusSocket() string { return m.status() }
