package sidecar

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
)

// runDir is the folder that holds the key while the sidecar runs.
type runDir struct {
	path    string
	release func()
	// remove is set if the folder is ours and not the operator's.
	remove bool
}

// openRunDir takes the run folder for this process, and clears what a sidecar
// that was killed may have left in it. The default is a folder in memory whose
// name follows from the state folder, so that the next start finds it again.
func openRunDir(path, stateDir string, log *slog.Logger) (*runDir, error) {
	r := &runDir{path: path, remove: path == ""}
	if r.remove {
		r.path = defaultRunDir(stateDir)
	}
	var err error
	if r.path, err = filepath.Abs(r.path); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	if err := durable.Dir(r.path); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	if r.release, err = durable.Lock(r.path); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	if err := r.clear(); err != nil {
		r.release()
		return nil, fmt.Errorf("run folder: %w", err)
	}
	if !inMemory(r.path) {
		log.Warn("the run folder is not in memory: the key touches a disk; choose one below /dev/shm", "run", r.path)
	}
	return r, nil
}

func defaultRunDir(stateDir string) string {
	sum := sha256.Sum256([]byte(stateDir))
	name := fmt.Sprintf("wasmesh-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:6]))
	if user := os.Getenv("XDG_RUNTIME_DIR"); user != "" && inMemory(user) {
		return filepath.Join(user, name)
	}
	if inMemory("/dev/shm") {
		return filepath.Join("/dev/shm", name)
	}
	return filepath.Join(os.TempDir(), name)
}

func (r *runDir) file(name string) string { return filepath.Join(r.path, name) }

// clear removes what a sidecar puts here, and nothing else: the operator may
// have pointed at a folder with other things in it.
func (r *runDir) clear() error {
	names := []string{r.file(IdentityFile), r.file(TrustFile), r.file(BootstrapFile), r.file(AdminSocket), r.file(ModulesLink)}
	parts, err := filepath.Glob(r.file(".new-*"))
	if err != nil {
		return err
	}
	var all error
	for _, name := range append(names, parts...) {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// close removes the key and everything else, and gives the folder free.
func (r *runDir) close() error {
	err := r.clear()
	if r.remove {
		_ = os.Remove(r.file("lock"))
		_ = os.Remove(r.path)
	}
	r.release()
	return err
}

// linkModules makes the folder of modules reachable under the name that the
// control plane uses.
func (r *runDir) linkModules(dir string) error {
	if dir == "" {
		return nil
	}
	target, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("modules folder: %w", err)
	}
	if err := os.Symlink(target, r.file(ModulesLink)); err != nil {
		return fmt.Errorf("modules folder: %w", err)
	}
	return nil
}
