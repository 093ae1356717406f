package ca

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

const testDomain = "mesh.test"

func open(t *testing.T) (*Authority, *clock) {
	t.Helper()
	c := &clock{t: time.Now()}
	a, err := Open(filepath.Join(t.TempDir(), "state"), Options{TrustDomain: testDomain, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return a, c
}

func TestRootSurvivesRestart(t *testing.T) {
	a, _ := open(t)
	for _, domain := range []string{testDomain, ""} {
		again, err := Open(a.dir, Options{TrustDomain: domain})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.TrustBundle(), a.TrustBundle()) || again.TrustDomain() != testDomain {
			t.Fatal("a restart changed the root")
		}
	}
	_, err := Open(a.dir, Options{TrustDomain: "other.test"})
	if err == nil || !strings.Contains(err.Error(), "another folder") {
		t.Fatalf("another trust domain: %v", err)
	}
	if _, err := Open(t.TempDir()+"/new", Options{}); err == nil {
		t.Fatal("founded a mesh without a trust domain")
	}
}

func TestStateIsPrivate(t *testing.T) {
	a, _ := open(t)
	if _, err := a.CreateToken(client, time.Hour); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(a.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || files != 2 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// Everyone who opens an empty folder at once must end up in the same mesh.
func TestFoundingRace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	prints := make([]string, 8)
	var wg sync.WaitGroup
	for i := range prints {
		wg.Go(func() {
			a, err := Open(dir, Options{TrustDomain: testDomain})
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = a.Fingerprint()
		})
	}
	wg.Wait()
	for _, p := range prints {
		if p != prints[0] {
			t.Fatalf("two roots: %v", prints)
		}
	}
}

func TestUnusableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.Mkdir(damaged, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged, "root.pem"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		filepath.Join(file, "state"): "choose a folder",
		shared:                       "chmod 700",
		damaged:                      "backup",
	} {
		_, err := Open(dir, Options{TrustDomain: testDomain})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
	if got, _ := os.ReadFile(filepath.Join(damaged, "root.pem")); string(got) != "half a fi" {
		t.Error("a damaged root was overwritten")
	}
}

func TestUnwritableFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root writes everywhere")
	}
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{TrustDomain: testDomain})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v", err)
	}
}

func TestTrustDomainAndLifetimeAreChecked(t *testing.T) {
	for _, domain := range []string{"Mesh", "a/b", "a b", strings.Repeat("a", 256), "a:1"} {
		if _, err := Open(filepath.Join(t.TempDir(), "s"), Options{TrustDomain: domain}); err == nil {
			t.Errorf("trust domain %q was accepted", domain)
		}
	}
	for _, d := range []time.Duration{-1, time.Second, RootLifetime} {
		if _, err := Open(filepath.Join(t.TempDir(), "s"), Options{TrustDomain: testDomain, LeafLifetime: d}); err == nil {
			t.Errorf("leaf lifetime %v was accepted", d)
		}
	}
}
