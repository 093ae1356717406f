package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whoever is in the way between leaves and the root and ends soon is told of, with
// what to do, and so are files that cannot be used; a renewal mends both.
func TestTroublesOfAnIntermediate(t *testing.T) {
	dir, long := t.TempDir(), time.Now().Add(365*24*time.Hour)
	ending := func(when time.Time) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = when }
	}
	good, key := newIssuer(t, ending(long)), newKey(t)
	good.write(t, dir, intermediate(ending(long)), key)
	now := time.Now()
	a, err := Open(filepath.Join(t.TempDir(), "state"), Options{TrustDomain: testDomain, External: dir, LeafLifetime: time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, parts ...string) {
		t.Helper()
		told := a.Troubles()
		for i, part := range parts {
			if len(told) != len(parts) || !strings.Contains(told[i], part) {
				t.Fatalf("%s: told are %q, want %q", what, told, parts)
			}
		}
		if len(told) != len(parts) {
			t.Fatalf("%s: told are %q", what, told)
		}
	}
	want("all is well")
	now = long.Add(-3 * time.Hour)
	want("three leaf lifetimes before the end")
	now = long.Add(-time.Hour)
	want("the intermediate ends", "mesh intermediate")
	now = time.Now()
	newIssuer(t, ending(now.Add(90*time.Minute))).write(t, dir, intermediate(ending(long)), key)
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(settleTime + time.Second)
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	want("the root above ends first", "company root")
	if err := os.Remove(filepath.Join(dir, externalRoots)); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil {
		t.Fatal("there are no roots")
	}
	want("the files are incomplete", "cannot be read anew", "company root")
	good.write(t, dir, intermediate(ending(long)), newKey(t))
	for range 2 {
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(settleTime + time.Second)
	}
	want("renewed")
}

// The end of a root of the mesh's own is told once, by the log too.
func TestTroubleOfAnOwnRoot(t *testing.T) {
	now := time.Now()
	a, err := Open(filepath.Join(t.TempDir(), "state"), Options{TrustDomain: testDomain, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(RootLifetime - 36*time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	log, changed, done := &journal{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		a.Follow(ctx, changed, slog.New(slog.NewTextHandler(log, nil)))
	}()
	for range 3 {
		changed <- struct{}{}
	}
	cancel()
	<-done
	if n := bytes.Count([]byte(log.String()), []byte("ca rotate start")); n != 1 {
		t.Errorf("told %d times:\n%s", n, log)
	}
}
