// Package rig runs a whole mesh for tests, out of the parts that ship: the
// control plane in this process, and beside each workload a sidecar process
// with its Envoy, which joins with a token and speaks mutual TLS.
//
// It replaces nothing by a stand-in and judges nothing. It must never leave a
// process behind, however the test ends, and never wait without a bound.
package rig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/injector/sidecar"
	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
)

// Options say what to run.
type Options struct {
	// Manifests is the folder that the control plane watches.
	Manifests string
	// Settings hold for the whole mesh.
	Settings smi.Settings
	// Workloads are those that get a sidecar.
	Workloads []mesh.Name
	Programs  Programs
	// BadModule: the module is none, on purpose. Start waits neither for one nor
	// for the sidecars, which are not ready without.
	BadModule bool
	// Inspect judges modules; nil does it as the program that ships.
	Inspect controlplane.Inspect
	// Relay, if there is one, is given the control plane's xDS address and returns
	// the one that sidecars connect to instead.
	Relay func(xds string) (string, error)
	// Metrics has the control plane serve traffic metrics, which it scrapes every
	// second.
	Metrics bool
	// AccessLog is the share of what sidecars log, in percent, Tracing where they tell
	// of requests.
	AccessLog float64
	Tracing   controlplane.Tracing
	// PlaintextMetrics has sidecars tell their metrics to everybody.
	PlaintextMetrics bool
	// InsecureRegistries are those from which the control plane may get modules of
	// filters although they are on this machine.
	InsecureRegistries []string
}

// Mesh is a running mesh.
type Mesh struct {
	options   Options
	work      string // state and logs
	memory    string // the sidecars' run folders
	xds, join string // host:port of the control plane
	registry  string // where it serves modules
	metrics   string // where it serves traffic metrics; empty: nowhere
	health    string // where it serves its own; empty: nowhere
	relay     string // where sidecars find xds
	starter   *starter
	sidecars  map[mesh.Name]*process
	served    chan error // how the control plane ended
	// ctx ends when a part of the mesh ended by itself; the cause says which.
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// errStopped is why a mesh ends that was asked to.
var errStopped = errors.New("the mesh was stopped")

// Start brings the mesh up and returns when every sidecar is ready. If it does
// not come up, nothing is left, and the error says which part is to blame.
func Start(ctx context.Context, o Options) (*Mesh, error) {
	m := &Mesh{options: o, sidecars: map[mesh.Name]*process{}}
	m.ctx, m.cancel = context.WithCancelCause(ctx)
	if err := m.start(); err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	return m, nil
}

func (m *Mesh) start() error {
	if err := m.makeFolders(); err != nil {
		return err
	}
	authority, err := ca.Open(m.state(), ca.Options{TrustDomain: m.options.Settings.TrustDomain})
	if err != nil {
		return err
	}
	if err := m.startControlPlane(); err != nil {
		return err
	}
	m.starter = newStarter()
	for _, w := range m.options.Workloads {
		token, err := authority.CreateToken(w, readyTimeout)
		if err != nil {
			return err
		}
		if err := m.startSidecar(w, token); err != nil {
			return err
		}
	}
	if m.options.BadModule {
		return nil
	}
	for _, w := range m.options.Workloads {
		if err := m.Await(readyTimeout, "the sidecar of "+w.String(), func(ctx context.Context) error { return m.ready(ctx, w) }); err != nil {
			return fmt.Errorf("%w\nthe sidecar said last:\n%s\nthe control plane said last:\n%s", err, m.sidecars[w].tail(), tail(m.controlPlaneLog()))
		}
	}
	return nil
}

// makeFolders keeps names short: a Unix socket's path has 107 bytes at most.
func (m *Mesh) makeFolders() (err error) {
	if m.work, err = os.MkdirTemp("", "rig"); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	if m.memory, err = os.MkdirTemp("/dev/shm", "rig"); err != nil {
		m.memory, err = os.MkdirTemp("", "rig")
	}
	return err
}

func (m *Mesh) state() string           { return filepath.Join(m.work, "state") }
func (m *Mesh) modules() string         { return filepath.Join(m.work, "modules") }
func (m *Mesh) status() string          { return filepath.Join(m.work, "status.sock") }
func (m *Mesh) controlPlaneLog() string { return filepath.Join(m.work, "controlplane.log") }

func (m *Mesh) runDir(w mesh.Name) string {
	return filepath.Join(m.memory, w.Namespace+"."+w.Name)
}

// startControlPlane returns when it has a module and a mesh to serve: a token is
// refused before that.
func (m *Mesh) startControlPlane() (err error) {
	if m.xds, err = freeAddress(m.ctx); err != nil {
		return err
	}
	if m.join, err = freeAddress(m.ctx); err != nil {
		return err
	}
	if m.registry, err = freeAddress(m.ctx); err != nil {
		return err
	}
	if m.options.Metrics {
		if m.metrics, err = freeAddress(m.ctx); err != nil {
			return err
		}
		if m.health, err = freeAddress(m.ctx); err != nil {
			return err
		}
	}
	m.relay = m.xds
	if m.options.Relay != nil {
		if m.relay, err = m.options.Relay(m.xds); err != nil {
			return err
		}
	}
	log, err := os.Create(m.controlPlaneLog())
	if err != nil {
		return fmt.Errorf("log of the control plane: %w", err)
	}
	options := controlplane.Options{
		Source: m.options.Manifests, State: m.state(), Module: m.options.Programs.Module, Modules: m.modules(),
		XDS: m.xds, Join: m.join, Registry: m.registry, Status: m.status(), Settings: m.options.Settings,
		InsecureRegistries: m.options.InsecureRegistries,
		AccessLog:          m.options.AccessLog,
		Tracing:            m.options.Tracing,
		Metrics:            controlplane.Metrics{Address: m.metrics, Interval: time.Second, Plaintext: m.options.PlaintextMetrics},
		Health:             m.health,
		LeafLifetime:       ca.DefaultLeafLifetime, Log: slog.New(slog.NewTextHandler(log, nil)),
		Inspect: m.options.Inspect,
	}
	if options.Inspect == nil {
		options.Inspect = inspect.Inspector{Program: m.options.Programs.Wasmesh}.Inspect
	}
	m.served = make(chan error, 1)
	go func() {
		err := controlplane.Run(m.ctx, options)
		log.Close()
		m.served <- err
		m.cancel(fmt.Errorf("the control plane ended by itself: %w", err))
	}()
	return m.Await(readyTimeout, "the control plane", func(ctx context.Context) error {
		s, err := m.Status(ctx)
		if err != nil || m.options.BadModule {
			return err
		}
		return m.serves(s.Module)
	})
}

// freeAddress finds a loopback address and port of nobody else. At 127.0.0.1 any
// connection that goes out could take the port before we do.
func freeAddress(ctx context.Context) (string, error) {
	own := fmt.Sprintf("127.%d.%d.%d:0", 240+rand.IntN(15), rand.IntN(256), 1+rand.IntN(254))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", own)
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func (m *Mesh) startSidecar(w mesh.Name, token string) error {
	dir := filepath.Join(m.work, w.Namespace+"."+w.Name)
	file := filepath.Join(dir, "token")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder of the sidecar of %s: %w", w, err)
	}
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return fmt.Errorf("join token of %s: %w", w, err)
	}
	p, err := m.starter.start("the sidecar of "+w.String(), filepath.Join(dir, "log"), m.options.Programs.Sidecar,
		[]string{
			"--join-url", "https://" + m.join, "--xds", m.relay, "--token-file", file,
			"--state", filepath.Join(dir, "state"), "--run", m.runDir(w), "--registry", m.registry,
			"--envoy", m.options.Programs.Envoy, "--concurrency", "1", "--drain-time", "0s",
		}, m.cancel)
	if err == nil {
		m.sidecars[w] = p
	}
	return err
}

// Admin is the admin interface of a workload's Envoy.
func (m *Mesh) Admin(w mesh.Name) sidecar.Admin {
	return sidecar.Admin{Socket: filepath.Join(m.runDir(w), sidecar.AdminSocket)}
}

// Stop ends every process and returns when they have ended. The error names
// those that had to be killed.
func (m *Mesh) Stop() error {
	var failures []error
	for _, p := range m.sidecars {
		p.ask()
	}
	for _, p := range m.sidecars {
		failures = append(failures, p.end(stopTimeout))
	}
	m.cancel(errStopped)
	if m.served != nil {
		select {
		case err := <-m.served:
			failures = append(failures, err)
		case <-time.After(stopTimeout):
			failures = append(failures, fmt.Errorf("the control plane did not end within %v", stopTimeout))
		}
	}
	if m.starter != nil {
		m.starter.close()
	}
	for _, dir := range []string{m.work, m.memory} {
		if dir != "" {
			failures = append(failures, os.RemoveAll(dir))
		}
	}
	return errors.Join(failures...)
}
