// Package wasmfilter attaches a filter of a user to one of two services, with
// real Envoys and a real registry, and watches what becomes of requests while
// the filter is edited, exchanged and broken. It must never look into the
// control plane for what can be seen from outside.
package wasmfilter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
	"github.com/wasmesh/wasmesh/tests/rig"
	"github.com/wasmesh/wasmesh/wasm-registry/oci"
)

const (
	// applyTimeout is how late an edit may be in force: a module is compiled by the
	// inspection and by Envoys that share the machine.
	applyTimeout  = 40 * time.Second
	answerTimeout = 10 * time.Second
)

var (
	reports  = mesh.Name{Namespace: "shop", Name: "reports"}
	archive  = mesh.Name{Namespace: "shop", Name: "archive"}
	programs rig.Programs
)

func TestMain(m *testing.M) {
	os.Exit(rig.Main("wasmfilter", filepath.Join("..", ".."), &programs, m.Run))
}

// shop is the running mesh of testdata, a registry, and the example filter in
// it.
type shop struct {
	*rig.Mesh
	t        *testing.T
	folder   string
	registry string
	// wasm is the example filter.
	wasm []byte
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, folder: t.TempDir()}
	text, err := os.ReadFile(filepath.Join("testdata", "mesh.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("mesh.yaml", string(text))
	s.wasm = buildFilter(t)
	s.registry = serve(t, "127.154.250.1:0", registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	application := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "plan %q", r.Header.Values("x-plan"))
	})
	serve(t, "127.155.201.1:8081", application)
	serve(t, "127.154.201.1:8081", application)
	s.Mesh, err = rig.Start(context.Background(), rig.Options{
		Manifests: s.folder, Settings: smi.Settings{TrustDomain: "wasmfilter.test"}, Workloads: []mesh.Name{reports, archive},
		Programs: programs, InsecureRegistries: []string{s.registry},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, err := s.ControlPlaneLog(); err == nil && t.Failed() {
			t.Logf("the control plane said:\n%s", text)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func buildFilter(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plans.wasm")
	if err := wasmtest.Build(t.Context(), "github.com/wasmesh/wasmesh/examples/filters/plans", file); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// serve runs an HTTP server until the test ends and returns its host:port.
func serve(t *testing.T, address string, h http.Handler) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: answerTimeout, Handler: h}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// write replaces a manifest as an editor that writes safely does.
func (s *shop) write(name, text string) {
	s.t.Helper()
	part := filepath.Join(s.folder, ".part")
	if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(part, filepath.Join(s.folder, name)); err != nil {
		s.t.Fatal(err)
	}
}

// push puts a module into the registry and returns the image by its digest.
func (s *shop) push(to string, wasm []byte) string {
	s.t.Helper()
	r, err := oci.ParseReference(to)
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := oci.Client{PlainHTTP: true, AllowLoopback: true}.Push(s.t.Context(), r, wasm)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.At(digest).String()
}

// manifest is a WasmFilter in front of reports.
func manifest(name, image, config, more string) string {
	return fmt.Sprintf(`apiVersion: wasmesh.io/v1alpha1
kind: WasmFilter
metadata: {name: %s, namespace: shop}
spec:
  selector: {serviceAccount: reports}
  module:
    image: %s
  config: %q
%s`, name, image, config, more)
}

func (s *shop) must(what string, probe func(context.Context) error) {
	s.t.Helper()
	if err := s.Await(applyTimeout, what, probe); err != nil {
		s.t.Fatal(err)
	}
}

// problem waits for a problem whose text has all the parts.
func (s *shop) problem(parts ...string) {
	s.t.Helper()
	s.must(fmt.Sprintf("a problem with %q", parts), func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
	next:
		for _, p := range status.Problems {
			for _, part := range parts {
				if !strings.Contains(p, part) {
					continue next
				}
			}
			return nil
		}
		return fmt.Errorf("the problems are %q", status.Problems)
	})
}

func (s *shop) noProblems() {
	s.t.Helper()
	s.must("no problems", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err == nil && len(status.Problems) > 0 {
			err = fmt.Errorf("the problems are %q", status.Problems)
		}
		return err
	})
}

// answer is what a request comes to: its status and, if 200, the plans that the
// application saw.
type answer struct {
	status int
	plans  string
}

// ask sends a request to one of the two services, from the other.
func ask(ctx context.Context, to mesh.Name, path string, headers ...string) (answer, error) {
	at := map[mesh.Name]string{reports: "127.155.7.1:8081", archive: "127.154.7.2:8081"}[to]
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	a := answer{status: response.StatusCode}
	if a.status == http.StatusOK {
		a.plans = strings.TrimPrefix(string(body), "plan ")
	}
	return a, err
}

// answers waits until a request comes to what is wanted.
func (s *shop) answers(want answer, to mesh.Name, path string, headers ...string) {
	s.t.Helper()
	s.must(fmt.Sprintf("%s %s with %q", to, path, headers), func(ctx context.Context) error {
		got, err := ask(ctx, to, path, headers...)
		if err == nil && got != want {
			err = fmt.Errorf("it is answered %+v, want %+v", got, want)
		}
		return err
	})
}

// always fails the test unless a request comes to what is wanted at once.
func (s *shop) always(want answer, to mesh.Name, path string, headers ...string) {
	s.t.Helper()
	if got, err := ask(s.t.Context(), to, path, headers...); err != nil || got != want {
		s.t.Fatalf("%s %s with %q: got %+v, %v, want %+v", to, path, headers, got, err, want)
	}
}
