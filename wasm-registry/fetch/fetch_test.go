package fetch

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/serve"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// shelf is a control plane's side of the wire, as it ships, without its proof of
// identity.
type shelf struct {
	*httptest.Server
	store    store.Store
	named    atomic.Pointer[named]
	requests atomic.Int64
}

type named struct {
	digests []string
	changed chan struct{}
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{}
	var err error
	if s.store, err = store.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	s.named.Store(&named{changed: make(chan struct{})})
	caller := func(tls.ConnectionState) (string, time.Time, error) {
		return "shop/store", time.Now().Add(time.Hour), nil
	}
	references := func(string) ([]string, bool, <-chan struct{}) { n := s.named.Load(); return n.digests, true, n.changed }
	handler := serve.Handler(s.store, caller, references, slog.New(slog.DiscardHandler))
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) name(digests ...string) {
	old := s.named.Swap(&named{digests, make(chan struct{})})
	close(old.changed)
}

func (s *shelf) put(t *testing.T, text string) string {
	t.Helper()
	digest, err := s.store.Put([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func (s *shelf) fetcher(t *testing.T) *Fetcher {
	return &Fetcher{
		URL: s.URL, Store: store.At(filepath.Join(t.TempDir(), "modules")),
		Transport: func() (http.RoundTripper, error) { return s.Client().Transport, nil },
	}
}

func kept(t *testing.T, f *Fetcher) []string {
	t.Helper()
	all, err := f.Store.List()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func once(t *testing.T, f *Fetcher) []string {
	t.Helper()
	fetched, err := f.Once(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return fetched
}

func TestItBringsWhatIsNamedAndKeepsTheOneBefore(t *testing.T) {
	s := newShelf(t)
	f := s.fetcher(t)
	a, b, c := s.put(t, "a"), s.put(t, "b"), s.put(t, "c")
	s.name(a)
	if got := once(t, f); !slices.Equal(got, []string{a}) {
		t.Fatalf("brought %v", got)
	}
	if got := once(t, f); len(got) > 0 {
		t.Errorf("brought %v again", got)
	}
	s.name(a, b)
	once(t, f)
	s.name(b)
	once(t, f)
	if got := kept(t, f); len(got) != 2 || !f.Store.Has(a) {
		t.Errorf("keeps %v, and not the one before", got)
	}
	s.name(b, c)
	once(t, f)
	s.name(c)
	once(t, f)
	if got := kept(t, f); len(got) != 2 || f.Store.Has(a) || !f.Store.Has(b) {
		t.Errorf("keeps %v", got)
	}
	// Nothing is named, as by a control plane that lost all: what served stays.
	s.name()
	once(t, f)
	if !f.Store.Has(c) {
		t.Error("the last good module is gone")
	}
}

func TestNewsComeAtOnce(t *testing.T) {
	s := newShelf(t)
	f := s.fetcher(t)
	a := s.put(t, "a")
	once(t, f)
	time.AfterFunc(100*time.Millisecond, func() { s.name(a) })
	began := time.Now()
	fetched, err := f.Once(t.Context(), 30*time.Second)
	if err != nil || !slices.Equal(fetched, []string{a}) {
		t.Fatalf("brought %v, %v", fetched, err)
	}
	if took := time.Since(began); took < 90*time.Millisecond || took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	before := s.requests.Load()
	if _, err := f.Once(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if n := s.requests.Load() - before; n != 1 {
		t.Errorf("%d requests where there is no news", n)
	}
}

func TestWhatIsNotItsDigestIsNotTaken(t *testing.T) {
	s := newShelf(t)
	f := s.fetcher(t)
	a, b := s.put(t, "a"), s.put(t, "b")
	if err := os.WriteFile(s.store.Path(a), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.name(a, b, "../../etc/passwd")
	fetched, err := f.Once(t.Context(), 0)
	if !errors.Is(err, store.ErrOther) || !slices.Equal(fetched, []string{b}) {
		t.Errorf("brought %v, %v", fetched, err)
	}
	if got := kept(t, f); !slices.Equal(got, []string{b}) {
		t.Errorf("keeps %v", got)
	}
	// It heals, without news, and meanwhile nothing waits for some.
	s.name(a, b)
	s.put(t, "a")
	if fetched, err := f.Once(t.Context(), 30*time.Second); err != nil || !slices.Equal(fetched, []string{a}) {
		t.Errorf("brought %v, %v", fetched, err)
	}
}

func TestAFolderFromBeforeIsVerifiedAndCleanedLater(t *testing.T) {
	s := newShelf(t)
	f := s.fetcher(t)
	a, b, old := s.put(t, "a"), s.put(t, "b"), store.Digest([]byte("old"))
	for _, text := range []string{"a", "old"} {
		if _, err := f.Store.Put([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(f.Store.Path(a), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.name(a)
	if got := once(t, f); !slices.Equal(got, []string{a}) || !f.Store.Has(a) {
		t.Errorf("brought %v", got)
	}
	if !f.Store.Has(old) {
		t.Error("what may have served before the restart is gone at once")
	}
	s.name(b)
	if once(t, f); f.Store.Has(old) || !f.Store.Has(a) {
		t.Errorf("keeps %v", kept(t, f))
	}
}

func TestAFileThatWasTakenAwayIsBroughtAgain(t *testing.T) {
	s := newShelf(t)
	f := s.fetcher(t)
	a := s.put(t, "a")
	s.name(a)
	once(t, f)
	if err := os.Remove(f.Store.Path(a)); err != nil {
		t.Fatal(err)
	}
	if got := once(t, f); !slices.Equal(got, []string{a}) {
		t.Errorf("brought %v", got)
	}
}

func TestAFolderThatCannotBeWrittenIsTold(t *testing.T) {
	s := newShelf(t)
	f := s.fetcher(t)
	s.name(s.put(t, "a"))
	dir := filepath.Dir(f.Store.Path("x"))
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if fetched, err := f.Once(t.Context(), 0); err == nil || len(fetched) > 0 {
		t.Errorf("brought %v into a file", fetched)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if got := once(t, f); len(got) != 1 {
		t.Errorf("brought %v", got)
	}
}
