package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/injector/envoy"
)

// stopGrace is how long each process may take to end when asked.
const stopGrace = 10 * time.Second

// Mesh is a running bookstore. Its fields do not change once Start has returned.
type Mesh struct {
	// Work has the logs and everything that processes keep.
	Work string
	// State is the control plane's own folder.
	State string
	// Snapshot is what the manifests said at the start.
	Snapshot *mesh.Snapshot
	// Apps are the applications by name, Sidecars by workload.
	Apps     map[string]*App
	Sidecars map[mesh.Name]*Sidecar
	// Processes are the children, in the order in which they were started.
	Processes []*Process

	options   Options
	given     string       // the source as the user wrote it
	temporary bool         // whether Work is ours to remove
	claimed   net.Listener // while open, no other demo starts at the same addresses
	runs      string       // the file name of the filter module
	// memory is where sidecars keep their keys while they run: not on a disk if
	// that can be helped.
	memory              string
	envoy               envoy.Envoy
	cast                []member
	xds, join, registry string // host:port
	status              Socket
	forker              *forker
	// ctx ends when a child ended by itself; the cause says which.
	ctx    context.Context
	cancel context.CancelCauseFunc
	stop   func() error
}

// Start brings the bookstore up and returns when all of it works. If it does not
// come up, nothing is left and the error says which part failed and what it
// said. The mesh runs until Stop; ctx only ends the start and the waits.
func Start(ctx context.Context, o Options) (*Mesh, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	m := &Mesh{options: o, given: o.Source, cast: cast(), Apps: map[string]*App{}, Sidecars: map[mesh.Name]*Sidecar{}}
	m.stop = sync.OnceValue(m.end)
	m.ctx, m.cancel = context.WithCancelCause(ctx)
	if err := m.prepare(); err != nil {
		return nil, errors.Join(err, m.removeFolders())
	}
	fmt.Fprintf(m.options.Progress, "the filter module is %s\n", m.bin(m.runs))
	m.forker = newForker()
	steps := []struct {
		what string
		do   func() error
	}{
		{"the control plane", m.startControlPlane},
		{"five sidecars", m.startSidecars},
		{"five applications", m.startApps},
	}
	for _, step := range steps {
		begun := time.Now()
		fmt.Fprintf(m.options.Progress, "starting %s ", step.what)
		if err := step.do(); err != nil {
			fmt.Fprintln(m.options.Progress, "- failed")
			return nil, errors.Join(err, m.Stop())
		}
		fmt.Fprintf(m.options.Progress, "- ready after %.1f s\n", time.Since(begun).Seconds())
	}
	return m, nil
}

// prepare looks at everything that can be wrong before anything runs.
func (m *Mesh) prepare() (err error) {
	for _, name := range []string{"wasmesh", "wasmesh-sidecar", "bookstore-app", standardModule} {
		if _, err := os.Stat(m.bin(name)); err != nil {
			return fmt.Errorf("%w; build it first, with make", err)
		}
	}
	for _, path := range []*string{&m.options.Source, &m.options.Bin, &m.options.Tools} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	m.runs = m.module()
	if m.Snapshot, err = m.Now(); err != nil {
		return err
	}
	for _, member := range m.cast {
		if _, err := member.arguments(m.Snapshot, ""); err != nil {
			return err
		}
	}
	if err := m.claim(); err != nil {
		return err
	}
	if err := allFree(m.Snapshot); err != nil {
		return err
	}
	if m.envoy, err = envoy.Find(m.ctx, m.options.Tools); err != nil {
		return err
	}
	return m.makeFolders()
}

func (m *Mesh) bin(name string) string { return filepath.Join(m.options.Bin, name) }

// run starts one child, which ends everything if it ends by itself.
func (m *Mesh) run(name, program string, args ...string) (*Process, error) {
	p, err := m.forker.start(m.logs(), name, m.bin(program), args, func(p *Process) { m.cancel(p.end()) })
	if err == nil {
		m.Processes = append(m.Processes, p)
	}
	return p, err
}

// Context ends when a child ended by itself, or with the context given to Start;
// its cause says which.
func (m *Mesh) Context() context.Context { return m.ctx }

// Stop ends every process, those first that call others, and makes sure that
// none is left. It can be called more than once.
func (m *Mesh) Stop() error { return m.stop() }

func (m *Mesh) end() error {
	var failures []error
	groups := m.Groups()
	for _, tier := range m.tiers() {
		failures = append(failures, stopAll(tier))
	}
	if m.forker != nil {
		m.forker.close()
	}
	m.cancel(errStopped)
	left, err := Leftovers(m.Folders(), groups)
	if len(left) > 0 {
		err = fmt.Errorf("processes are left: %s", strings.Join(left, ", "))
	}
	return errors.Join(append(failures, err, m.removeFolders())...)
}

// tiers are the processes in the order in which they end: who calls before who
// is called, and the control plane last.
func (m *Mesh) tiers() [][]*Process {
	var clients, servers, sidecars, others []*Process
	for _, member := range m.cast {
		if a, ok := m.Apps[member.workload.Name]; ok && member.calls() {
			clients = append(clients, a.Process)
		} else if ok {
			servers = append(servers, a.Process)
		}
		if s, ok := m.Sidecars[member.workload]; ok {
			sidecars = append(sidecars, s.Process)
		}
	}
	for _, p := range m.Processes {
		if !slices.Contains(clients, p) && !slices.Contains(servers, p) && !slices.Contains(sidecars, p) {
			others = append(others, p)
		}
	}
	return [][]*Process{clients, servers, sidecars, others}
}

var errStopped = errors.New("the mesh was stopped")

// Groups returns the process groups of the children.
func (m *Mesh) Groups() []int {
	var out []int
	for _, p := range m.Processes {
		out = append(out, p.ID)
	}
	return out
}
