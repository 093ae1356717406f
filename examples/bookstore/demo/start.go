package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// startControlPlane returns when it has a good module and a mesh to serve.
func (m *Mesh) startControlPlane() (err error) {
	if m.xds, err = freeAddress(); err != nil {
		return err
	}
	if m.join, err = freeAddress(); err != nil {
		return err
	}
	if m.registry, err = freeAddress(); err != nil {
		return err
	}
	p, err := m.run("controlplane", "wasmesh", "controlplane",
		"--source", m.options.Source, "--state", m.State, "--status", string(m.status),
		"--module", m.bin(m.runs), "--modules", m.modules(),
		"--xds", m.xds, "--join", m.join, "--registry", m.registry, "--trust-domain", TrustDomain)
	if err != nil {
		return err
	}
	err = m.Await(readyTimeout, "the control plane", func(ctx context.Context) error {
		status, err := m.Status(ctx)
		if err == nil && status.Module == "" {
			err = errors.New("it has no good module yet")
		}
		return err
	})
	return m.explain(err, p)
}

// explain adds what the processes said last to an error that one of them is the
// likely cause of. One that ended by itself has explained itself.
func (m *Mesh) explain(err error, suspects ...*Process) error {
	if err == nil || errors.Is(err, errEnded) {
		return err
	}
	for _, p := range suspects {
		err = fmt.Errorf("%w\n%s said last:\n%s", err, p.Name, p.tail())
	}
	return err
}

// startSidecars starts all before it waits for any: most of the time goes into
// compiling the module, once per Envoy.
func (m *Mesh) startSidecars() error {
	for _, member := range m.cast {
		if err := m.startSidecar(member.workload); err != nil {
			return err
		}
	}
	for _, member := range m.cast {
		sidecar := m.Sidecars[member.workload]
		err := m.Await(readyTimeout, sidecar.Process.Name, func(ctx context.Context) error {
			return m.ready(ctx, member.workload)
		})
		if err != nil {
			return m.explain(err, sidecar.Process, m.Processes[0])
		}
	}
	return nil
}

func (m *Mesh) startSidecar(name mesh.Name) error {
	dir := filepath.Join(m.Work, "sidecars", name.Name)
	run, state, token := filepath.Join(m.memory, name.Name), filepath.Join(dir, "state"), filepath.Join(dir, "token")
	for _, d := range []string{run, state} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("folder of the sidecar of %s: %w", name, err)
		}
	}
	if err := m.createToken(name, token); err != nil {
		return err
	}
	p, err := m.run(name.Name+"-sidecar", "wasmesh-sidecar",
		"--join-url", "https://"+m.join, "--xds", m.xds, "--token-file", token,
		"--state", state, "--run", run, "--registry", m.registry,
		"--envoy", m.envoy.Path, "--concurrency", "1",
		// The applications have ended before: nothing is left to drain.
		"--drain-time", "100ms")
	if err != nil {
		return err
	}
	m.Sidecars[name] = &Sidecar{Process: p, Admin: Socket(filepath.Join(run, "admin.sock"))}
	return nil
}

// createToken does what an operator does for a new machine.
func (m *Mesh) createToken(workload mesh.Name, file string) error {
	cmd := exec.CommandContext(m.ctx, m.bin("wasmesh"), "token", "create", "--state", m.State, "--workload", workload.String())
	token, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return fmt.Errorf("join token for %s: %w", workload, err)
	}
	if err := os.WriteFile(file, token, 0o600); err != nil {
		return fmt.Errorf("join token for %s: %w", workload, err)
	}
	return nil
}

// startApps starts those who are called first, so that nobody calls in vain.
func (m *Mesh) startApps() error {
	for _, member := range m.cast {
		args, err := member.arguments(m.Snapshot, m.Work)
		if err != nil {
			return err
		}
		p, err := m.run(member.workload.Name, "bookstore-app", args...)
		if err != nil {
			return err
		}
		a := &App{Process: p, Counts: countsSocket(m.Work, member)}
		m.Apps[member.workload.Name] = a
		err = m.Await(readyTimeout, p.Name, func(ctx context.Context) error {
			_, err := a.Report(ctx)
			return err
		})
		if err != nil {
			return m.explain(err, p)
		}
	}
	return nil
}
