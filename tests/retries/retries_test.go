package retries

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain   = "retries.test"
	manifests     = "testdata"
	settleTimeout = 10 * time.Second
	answerTimeout = 10 * time.Second
	// mark is what one sidecar tells the other by.
	mark = "x-wasmesh-unreached"
	// calls are so many that all endpoints are chosen: of four, one is left out of
	// 200 choices with a chance of less than 10 to the power of -24.
	calls = 200
)

func shop(name string) mesh.Name { return mesh.Name{Namespace: "shop", Name: name} }

// store is the running mesh, and the application that is there, twice.
type store struct {
	*rig.Mesh
	url    string
	client http.Client
	seen   atomic.Int64 // requests that the application got
}

func TestRetries(t *testing.T) {
	s := open(t)
	for name, part := range map[string]func(*testing.T, *store){
		"unseen": testUnseen, "cut off": testCutOff, "answered": testAnswered,
	} {
		t.Run(name, func(t *testing.T) {
			s.seen.Store(0)
			part(t, s)
		})
	}
}

func open(t *testing.T) *store {
	s := &store{client: http.Client{Timeout: answerTimeout}}
	application := &http.Server{Handler: s, ReadHeaderTimeout: answerTimeout}
	t.Cleanup(func() { application.Close() })
	for _, address := range []string{"127.240.1.1:8080", "127.240.1.5:8080"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		go application.Serve(l)
	}
	var err error
	s.Mesh, err = rig.Start(context.Background(), rig.Options{
		Manifests: manifests, Settings: smi.Settings{TrustDomain: trustDomain}, Programs: programs,
		Workloads: []mesh.Name{shop("first"), shop("second"), shop("empty"), shop("buyer")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.url = dialled(t)
	if err := s.Await(settleTimeout, "the store to answer", func(context.Context) error {
		if code, _, err := s.ask(http.MethodGet, "/", ""); err != nil || code != http.StatusOK {
			return fmt.Errorf("%d, %v", code, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// dialled is where the buyer's application finds the store.
func dialled(t *testing.T) string {
	loaded, err := files.Load(manifests)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, smi.Settings{TrustDomain: trustDomain})
	if problems = append(loaded.Problems, problems...); len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	buyer, _ := snapshot.Workload(shop("buyer"))
	service, ok := snapshot.Service(shop("store"))
	if !ok {
		t.Fatal("there is no store")
	}
	return "http://" + netip.AddrPortFrom(buyer.AddressOf(service), 8080).String()
}

// ServeHTTP is the application: it counts, and does what the path says.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.seen.Add(1)
	switch r.URL.Path {
	case "/cut":
		panic(http.ErrAbortHandler)
	case "/answered":
		w.Header().Set(mark, "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (s *store) ask(method, path, body string) (int, http.Header, error) {
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Header, err
}

// testUnseen: whatever endpoint is chosen first, every request is answered, and
// the application gets each of them once.
func testUnseen(t *testing.T, s *store) {
	before := s.failures(t)
	for n := range calls {
		method, body := http.MethodGet, ""
		if n%2 == 1 {
			method, body = http.MethodPost, strings.Repeat("x", 1000)
		}
		if code, header, err := s.ask(method, "/", body); err != nil || code != http.StatusOK || header.Get(mark) != "" {
			t.Fatalf("call %d, %s: %d %v %v", n, method, code, header, err)
		}
	}
	if n := s.seen.Load(); n != calls {
		t.Errorf("the application got %d requests of %d", n, calls)
	}
	if after := s.failures(t); after[0] == before[0] || after[1] == before[1] {
		t.Errorf("failed connections before %v, after %v: no endpoint without an application was chosen", before, after)
	}
}

// failures count what could not connect: the sidecar without an application to
// it, and the buyer's to where nothing is.
func (s *store) failures(t *testing.T) (n [2]uint64) {
	t.Helper()
	for i, at := range []struct{ workload, stat string }{
		{"empty", "cluster.inbound|8080.upstream_cx_connect_fail"},
		{"buyer", "cluster.outbound|shop/store|8080.upstream_cx_connect_fail"},
	} {
		stats, err := s.Stats(t.Context(), shop(at.workload), `upstream_cx_connect_fail$`)
		if err != nil {
			t.Fatal(err)
		}
		value, ok := stats[at.stat]
		if !ok {
			t.Fatalf("%s has no %s: %v", at.workload, at.stat, stats)
		}
		n[i] = value
	}
	return n
}

// testCutOff: what the application may have worked on is not sent again.
func testCutOff(t *testing.T, s *store) { s.once(t, "/cut") }

// testAnswered: an application's own answer stands, whatever headers it has.
func testAnswered(t *testing.T, s *store) { s.once(t, "/answered") }

func (s *store) once(t *testing.T, path string) {
	t.Helper()
	for n := range calls / 10 {
		code, header, err := s.ask(http.MethodPost, path, "body")
		if err != nil || code != http.StatusServiceUnavailable || header.Get(mark) != "" {
			t.Errorf("call %d: %d %v %v, want 503", n, code, header, err)
		}
	}
	if n := s.seen.Load(); n != calls/10 {
		t.Errorf("the application got %d requests of %d", n, calls/10)
	}
}
