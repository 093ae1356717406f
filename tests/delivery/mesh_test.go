package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	trustDomain = "delivery.test"
	// applyTimeout is how long anything may take here: modules are compiled by a
	// control plane and by Envoys that share the machine.
	applyTimeout  = time.Minute
	answerTimeout = 20 * time.Second
	outlet        = "127.152.8.1:8081" // where the buyer's application dials the store
)

var (
	buyer  = mesh.Name{Namespace: "shop", Name: "buyer"}
	seller = mesh.Name{Namespace: "shop", Name: "store"}
)

// shop is a running mesh, its folder of manifests and its application.
type shop struct {
	*rig.Mesh
	t *testing.T
	// module is the file that the control plane watches.
	module string
	// seen counts the requests that reached the application.
	seen atomic.Int64
}

// openShop starts the mesh; look, if not nil, judges modules instead of what
// ships.
func openShop(t *testing.T, look controlplane.Inspect) *shop {
	t.Helper()
	s := &shop{t: t, module: filepath.Join(t.TempDir(), "mesh.wasm")}
	s.put(variant(t, 0))
	s.startApplication()
	o := rig.Options{
		Manifests: filepath.Join("testdata", "mesh"), Settings: smi.Settings{TrustDomain: trustDomain},
		Workloads: []mesh.Name{buyer, seller}, Programs: programs, Inspect: look,
	}
	o.Programs.Module = s.module
	var err error
	if s.Mesh, err = rig.Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.logs()
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *shop) logs() {
	plane, err := s.ControlPlaneLog()
	s.t.Logf("the control plane said last: %v\n%s", err, plane[max(0, len(plane)-6000):])
	for _, w := range []mesh.Name{buyer, seller} {
		said, err := s.SidecarLog(w)
		s.t.Logf("the sidecar of %s said last: %v\n%s", w, err, said[max(0, len(said)-4000):])
	}
}

// variant is the module under test with a section that means nothing: as good,
// with another digest.
func variant(t *testing.T, n int) []byte {
	t.Helper()
	wasm, err := os.ReadFile(programs.Module)
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return wasm
	}
	return append(bytes.Clone(wasm), 0, 7, 4, 'n', 'o', 't', 'e', byte(n>>8), byte(n))
}

// put replaces the file as an editor that writes safely does.
func (s *shop) put(wasm []byte) (digest string) {
	s.t.Helper()
	part := filepath.Join(filepath.Dir(s.module), ".part")
	if err := os.WriteFile(part, wasm, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(part, s.module); err != nil {
		s.t.Fatal(err)
	}
	return store.Digest(wasm)
}

func (s *shop) startApplication() {
	s.t.Helper()
	l, err := new(net.ListenConfig).Listen(s.t.Context(), "tcp", "127.151.0.2:8081")
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: answerTimeout, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.seen.Add(1) })}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	s.t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
			s.t.Error(err)
		}
	})
}

// must fails the test unless probe returns nil in time.
func (s *shop) must(what string, probe func(context.Context) error) {
	s.t.Helper()
	if err := s.Await(applyTimeout, what, probe); err != nil {
		s.t.Fatal(err)
	}
}

// taken waits until the store's Envoy runs the module of that digest, and has
// told so.
func (s *shop) taken(digest string) {
	s.t.Helper()
	s.must("module "+digest[:12], func(ctx context.Context) error {
		p, err := s.proxy(ctx)
		if err != nil {
			return err
		}
		if !p.Settled {
			return fmt.Errorf("it is not acknowledged: %+v", p.Refusals)
		}
		return s.runs(ctx, digest)
	})
}

// runs returns nil if the store's Envoy has the module of that digest.
func (s *shop) runs(ctx context.Context, digest string) error {
	dump, err := s.Admin(seller).Get(ctx, "/config_dump?resource=ecds_filters")
	if err == nil && !strings.Contains(string(dump), digest) {
		err = errors.New("envoy does not have it")
	}
	return err
}

// proxy is the store's sidecar as the control plane sees it.
func (s *shop) proxy(ctx context.Context) (serve.Proxy, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return serve.Proxy{}, err
	}
	for _, p := range status.Proxies {
		if p.Name == seller {
			return p, nil
		}
	}
	return serve.Proxy{}, errors.New("the store is not connected")
}

// refused waits until the store's Envoy has refused a module with that cause.
func (s *shop) refused(cause string) {
	s.t.Helper()
	s.must("a refusal with "+cause, func(ctx context.Context) error {
		p, err := s.proxy(ctx)
		if err != nil {
			return err
		}
		for _, r := range p.Refusals {
			if strings.Contains(r.Cause, cause) {
				return nil
			}
		}
		return fmt.Errorf("the refusals are %+v", p.Refusals)
	})
}

// sidecarSays waits for words in the log of the store's sidecar.
func (s *shop) sidecarSays(words string) {
	s.t.Helper()
	s.must("the sidecar to say "+words, func(context.Context) error {
		said, err := s.SidecarLog(seller)
		if err == nil && !strings.Contains(said, words) {
			err = errors.New("it does not")
		}
		return err
	})
}
