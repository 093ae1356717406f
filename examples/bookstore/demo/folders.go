package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// name tells this demo from others on the machine: those that use other
// addresses, or belong to other users.
func (m *Mesh) name() string {
	return fmt.Sprintf("wasmesh-demo-%d-%s", os.Geteuid(), m.Snapshot.Workloads[0].Address)
}

// claim makes sure that no other demo uses the same addresses. The claim is an
// abstract socket: like the addresses it belongs to the network namespace, and
// it ends with this process, however that ends.
func (m *Mesh) claim() (err error) {
	m.claimed, err = net.Listen("unix", "@"+m.name())
	if errors.Is(err, syscall.EADDRINUSE) {
		return errors.New("another demo is running on this machine; end it first, or give the Workloads other addresses")
	}
	return err
}

// makeFolders makes the folder for logs and state, and one in memory for keys.
// Those of an earlier demo that was killed are removed. Sockets live in them,
// and the path of a socket is limited to 107 bytes, so names are short.
func (m *Mesh) makeFolders() (err error) {
	if m.Work = m.options.Work; m.Work == "" {
		m.temporary = true
		if m.Work, err = fresh(os.TempDir(), m.name()); err != nil {
			return fmt.Errorf("work folder: %w; choose another with --work", err)
		}
	}
	if m.Work, err = filepath.Abs(m.Work); err != nil {
		return err
	}
	if err := os.MkdirAll(m.logs(), 0o700); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	// Leftovers compares with what the kernel says, which knows no links.
	if m.Work, err = filepath.EvalSymlinks(m.Work); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	m.State = filepath.Join(m.Work, "state")
	m.status = Socket(filepath.Join(m.State, "status.sock"))
	if m.memory, err = fresh("/dev/shm", m.name()); err != nil {
		// Without memory to write to, keys touch the disk; the sidecars warn of it.
		m.memory, err = fresh(m.Work, "run")
	}
	return err
}

// fresh makes a folder for this user only, in place of one of that name.
func fresh(parent, name string) (string, error) {
	path := filepath.Join(parent, name)
	if err := os.RemoveAll(path); err != nil {
		return "", err
	}
	return path, os.Mkdir(path, 0o700)
}

// The filter module by each of its two compilers.
const (
	standardModule = "mesh.wasm"
	lightModule    = "mesh-tinygo.wasm"
)

// module returns the file name of the filter module that the mesh runs: the
// lighter build if there is one.
func (m *Mesh) module() string {
	if _, err := os.Stat(m.bin(lightModule)); err == nil {
		return lightModule
	}
	return standardModule
}

func (m *Mesh) logs() string    { return filepath.Join(m.Work, "logs") }
func (m *Mesh) modules() string { return filepath.Join(m.Work, "modules") }

// Folders returns those in which only processes of this mesh have business.
func (m *Mesh) Folders() []string { return []string{m.Work, m.memory} }

// removeFolders removes what makeFolders made, and gives the addresses free.
func (m *Mesh) removeFolders() error {
	ours := []string{m.memory}
	if m.temporary {
		ours = append(ours, m.Work)
	}
	var failures []error
	for _, folder := range ours {
		if folder != "" {
			failures = append(failures, os.RemoveAll(folder))
		}
	}
	if m.claimed != nil {
		failures = append(failures, m.claimed.Close())
	}
	return errors.Join(failures...)
}
