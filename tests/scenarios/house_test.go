package scenarios

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// applyTimeout is how late a policy may run: revocation within 5 s is what
// smi-rules 32 asks for.
const applyTimeout = 5 * time.Second

// house holds the applications and one running mesh at a time, that of the
// settings last asked for.
type house struct {
	programs rig.Programs
	// folder is where each mesh gets a watched folder of its own.
	folder       string
	applications *applications
	asked        int
	allowed      int
	// ended are requests that an edit ended; applications may have seen them.
	ended []string

	settings smi.Settings
	mesh     *rig.Mesh // nil before the first
	// failed is why one did not start: the next would not either.
	failed error
	// watched is the folder that the control plane watches; empty is what it
	// amounts to without a policy.
	watched string
	empty   *mesh.Snapshot
	leaves  map[mesh.Name]tls.Certificate

	// edits were applied to running meshes, the slowest in that time; polls were
	// made while they took effect.
	edits, polls int
	slowest      time.Duration
}

// open makes sure that a mesh with these settings runs.
func (h *house) open(s smi.Settings) error {
	if h.failed != nil || h.mesh != nil && h.settings == s {
		return h.failed
	}
	if h.failed = h.close(); h.failed == nil {
		h.failed = h.start(s)
	}
	return h.failed
}

func (h *house) start(s smi.Settings) (err error) {
	if h.watched, err = os.MkdirTemp(h.folder, "watched"); err != nil {
		return err
	}
	st, err := setStage(h.watched, scenario{file: castFile, settings: s}, step{})
	if err != nil {
		return err
	}
	if err := st.surprises(); err != nil {
		return err
	}
	if h.applications == nil {
		if h.applications, err = startApplications(context.Background(), st.snapshot); err != nil {
			return err
		}
	}
	var members []mesh.Name
	for _, w := range st.snapshot.Workloads {
		members = append(members, w.Name)
	}
	h.settings, h.empty, h.leaves = s, st.snapshot, map[mesh.Name]tls.Certificate{}
	h.mesh, err = rig.Start(context.Background(), rig.Options{
		Manifests: h.watched, Settings: s, Workloads: members, Programs: h.programs,
	})
	return err
}

// close ends the mesh that runs.
func (h *house) close() error {
	if h.mesh == nil {
		return nil
	}
	running := h.mesh
	h.mesh = nil
	return running.Stop()
}

// stop ends everything, the mesh before its applications.
func (h *house) stop() error {
	err := h.close()
	if h.applications != nil {
		err = errors.Join(err, h.applications.stop())
	}
	return err
}

// apply edits the policy under the running mesh and returns when it runs. Where
// it is an edit of a step before, callers watch it happen.
func (h *house) apply(ctx context.Context, s stage) error {
	if s.broken() {
		// A running control plane keeps the last good form of what is broken. Here
		// that would be what another scenario gave the same name.
		if err := errors.Join(h.edit(nil), h.applied(h.empty)); err != nil {
			return err
		}
	}
	end := func() error { return nil }
	if s.before != nil && !s.broken() {
		var err error
		if end, err = h.watch(ctx, s); err != nil {
			return err
		}
	}
	began := time.Now()
	err := errors.Join(h.edit(s.policy), h.applied(s.snapshot))
	h.edits++
	h.slowest = max(h.slowest, time.Since(began))
	return errors.Join(err, end())
}

// edit replaces the policy as an editor that writes safely does.
func (h *house) edit(policy []byte) error {
	part := filepath.Join(h.watched, ".part")
	if err := os.WriteFile(part, policy, 0o600); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(h.watched, policyFile))
}

func (h *house) applied(s *mesh.Snapshot) error {
	return h.mesh.Await(applyTimeout, "the policy to run", func(ctx context.Context) error { return h.mesh.Applied(ctx, s) })
}

func (h *house) counters(ctx context.Context, server mesh.Name) (map[string]uint64, error) {
	return h.mesh.Stats(ctx, server, `^wasmcustom\.(`+strings.Join(tallied, "|")+`)`)
}

func (h *house) nextID() string {
	h.asked++
	return fmt.Sprintf("asked-%d", h.asked)
}

// late finds requests that reached an application after their answer.
func (h *house) late() error {
	n := h.applications.total()
	for _, id := range h.ended {
		n -= len(h.applications.seen(id))
	}
	if n != h.allowed {
		return fmt.Errorf("%d requests were allowed, and applications saw %d", h.allowed, n)
	}
	return nil
}
