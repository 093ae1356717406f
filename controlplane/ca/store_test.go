package ca

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// shared is a store that two control planes use.
type shared struct {
	mu   sync.Mutex
	data []byte
	down bool
}

func (s *shared) String() string { return "the shared store" }

func (s *shared) Load() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return nil, errors.New("nobody answers")
	case s.data == nil:
		return nil, fs.ErrNotExist
	}
	return s.data, nil
}

func (s *shared) Create(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data != nil {
		return fs.ErrExist
	}
	s.data = data
	return nil
}

func (s *shared) Replace(before, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(s.data, before) {
		return ErrConflict
	}
	s.data = data
	return nil
}

func (s *shared) set(data []byte, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.down = data, down
}

// replicas are two control planes of one mesh, of which the second follows.
func replicas(t *testing.T) (store *shared, first, second *Authority, signal chan struct{}, log *journal) {
	t.Helper()
	store = &shared{}
	open := func() *Authority {
		a, err := Open(filepath.Join(t.TempDir(), "state"), Options{TrustDomain: testDomain, Roots: store})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first, second = open(), open()
	signal, log = make(chan struct{}, 1), &journal{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		second.Follow(ctx, signal, slog.New(slog.NewTextHandler(log, nil)))
	}()
	t.Cleanup(func() { cancel(); <-done })
	return store, first, second, signal, log
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 5 s: ", what)
		}
	}
}

// A step that one replica makes is followed by the other, and none is made twice
// by two that make it at once.
func TestReplicasRotate(t *testing.T) {
	store, first, second, signal, _ := replicas(t)
	if first.Fingerprint() != second.Fingerprint() {
		t.Fatal("two replicas founded two meshes")
	}
	for _, step := range []Step{Start, Switch, Finish} {
		rotate(t, first, step)
		made, _ := store.Load()
		// It may have followed already, and then knows by itself.
		_, err := second.Rotate(step, true)
		if now, _ := store.Load(); err == nil || !bytes.Equal(now, made) {
			t.Fatalf("%s was made twice: %v", step, err)
		}
		signal <- struct{}{}
		eventually(t, string(step), func() bool {
			return first.Fingerprint() == second.Fingerprint() && bytes.Equal(first.TrustBundle(), second.TrustBundle())
		})
	}
}

// A store that is away, damaged, lost or another mesh's changes nothing; one that
// was lost is filled again.
func TestFollowKeepsWhatIsGood(t *testing.T) {
	store, first, second, signal, log := replicas(t)
	good, _ := store.Load()
	other := &shared{}
	if _, err := Open(filepath.Join(t.TempDir(), "state"), Options{TrustDomain: "other.test", Roots: other}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		down bool
		told string
	}{
		"away": {good, true, "nobody answers"}, "damaged": {good[:len(good)/2], false, "a certificate and a key"}, "other": {other.data, false, "other.test"},
	} {
		store.set(c.data, c.down)
		signal <- struct{}{}
		eventually(t, name, func() bool { return strings.Contains(log.String(), c.told) })
		if first.Fingerprint() != second.Fingerprint() {
			t.Fatalf("%s: another root signs", name)
		}
	}
	store.set(nil, false)
	signal <- struct{}{}
	eventually(t, "put back", func() bool { data, _ := store.Load(); return bytes.Equal(data, good) })
}
