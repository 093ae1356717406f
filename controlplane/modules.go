package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// keepAgain is when a module that could not be kept is tried once more: a disk
// that was full tells nobody when it has room again.
const keepAgain = 5 * time.Second

// modules is the file a module comes from and the folder it goes to. Only what
// was inspected gets there. It belongs to the loop.
type modules struct {
	file  string
	store store.Store
	log   *slog.Logger
	// good is the digest of the module in use.
	good string
	// judged is the last file inspected, under the inspection that goes on.
	judged verdict
	under  *inspection
	// told is what is wrong with the newest file, as far as it is known.
	told  *mesh.Problem
	retry *time.Timer
}

// verdict is what an inspection found: a nil cause is a good module.
type verdict struct {
	digest string
	cause  error
}

// inspection runs beside the loop: a module that is slow to compile, or loops,
// must not hold up a policy.
type inspection struct {
	digest string // empty when nobody wants to know any more
	cancel context.CancelFunc
	found  chan error
}

func openModules(file, dir string, log *slog.Logger) (*modules, error) {
	s, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	return &modules{file: file, store: s, log: log}, nil
}

// reload returns the digest of the newest good module, empty if there never was
// one, and what is wrong with the file if it is not that one. While a file is
// inspected, all stays as it was; again is signalled when there is more to say.
func (m *modules) reload(ctx context.Context, s *mesh.Snapshot, again chan<- struct{}) (string, *mesh.Problem) {
	wasm, err := os.ReadFile(m.file)
	if err != nil {
		m.told = m.problem(err, buildAgain)
		return m.good, m.told
	}
	digest := store.Digest(wasm)
	switch {
	case digest == m.good:
		m.forget()
		m.told = nil
	case !m.judge(ctx, s, wasm, digest, again):
	case m.judged.cause != nil:
		m.told = m.problem(m.judged.cause, buildAgain)
	default:
		m.told = m.keep(wasm, digest, again)
	}
	return m.good, m.told
}

// judge reports whether it is known what to think of a file. The first module is
// waited for: without one nothing passes anyway, and sidecars that outlived a
// control plane must not be told that there is none.
func (m *modules) judge(ctx context.Context, s *mesh.Snapshot, wasm []byte, digest string, again chan<- struct{}) bool {
	for m.judged.digest != digest {
		if m.under == nil {
			m.under = m.inspect(ctx, s, wasm, digest, again)
		}
		if m.under.digest != digest {
			m.forget() // its end is signalled, and then this file's turn comes
		}
		var cause error
		if m.good == "" {
			cause = <-m.under.found
		} else {
			select {
			case cause = <-m.under.found:
			default:
				return false
			}
		}
		if m.under.digest != "" {
			m.judged = verdict{m.under.digest, cause}
		}
		m.under.cancel()
		m.under = nil
	}
	return true
}

// inspect starts an inspection. It ends with ctx.
func (m *modules) inspect(ctx context.Context, s *mesh.Snapshot, wasm []byte, digest string, again chan<- struct{}) *inspection {
	m.log.Info("a module is being inspected", "file", m.file, "module", short(digest))
	ctx, cancel := context.WithCancel(ctx)
	i := &inspection{digest: digest, cancel: cancel, found: make(chan error, 1)}
	configurations := configurations(s)
	go func() {
		i.found <- module.Inspect(ctx, wasm, configurations...)
		signal(again)
	}()
	return i
}

// forget ends an inspection whose outcome nobody wants to know.
func (m *modules) forget() {
	if m.under != nil {
		m.under.cancel()
		m.under.digest = ""
	}
}

// close returns when nothing of m runs any more.
func (m *modules) close() {
	if m.retry != nil {
		m.retry.Stop()
	}
	if m.under != nil {
		m.forget()
		<-m.under.found
	}
}

// keep makes a good module the one in use. What stands in the way of that is
// not the module's fault, and may pass.
func (m *modules) keep(wasm []byte, digest string, again chan<- struct{}) *mesh.Problem {
	if _, err := m.store.Put(wasm); err != nil {
		if m.retry == nil {
			m.retry = time.AfterFunc(keepAgain, func() { signal(again) })
		}
		m.retry.Reset(keepAgain)
		return m.problem(err, "Make room, or make the folder writable; it is tried again every few seconds.")
	}
	m.good = digest
	return nil
}

func signal(again chan<- struct{}) {
	select {
	case again <- struct{}{}:
	default: // there is a signal already
	}
}

const buildAgain = "Build it again with `make module`."

// problem says what becomes of the sidecars.
func (m *modules) problem(cause error, try string) *mesh.Problem {
	consequence := "the module before it keeps serving."
	if m.good == "" {
		consequence = "every sidecar denies until there is a good one."
	}
	return &mesh.Problem{
		Object: mesh.Object{Kind: "Module", Name: mesh.Name{Namespace: "wasmesh", Name: "filter"}},
		Effect: mesh.Broken,
		Cause:  fmt.Sprintf("%v; %s", cause, consequence),
		Try:    try,
		Where:  m.file,
	}
}

// configurations are what the module will be given: each form, with a policy of
// the mesh or, without workloads, an empty one.
func configurations(s *mesh.Snapshot) [][]byte {
	table := xds.Table(s, mesh.Workload{}).Encode()
	if len(s.Workloads) > 0 {
		table = xds.Table(s, s.Workloads[0]).Encode()
	}
	return [][]byte{
		config.Config{Form: config.Access, Destination: "inspection/inspection", Table: table}.Encode(),
		config.Config{Form: config.Connections, Destination: "inspection/inspection", Table: table}.Encode(),
		config.Config{Form: config.Lifetime, Destination: "inspection/inspection"}.Encode(),
	}
}
