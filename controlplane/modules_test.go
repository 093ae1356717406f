package controlplane

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/modules"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// desk is a keeper with its folders, and a file that it is given.
type desk struct {
	*keeper
	t     *testing.T
	dir   string
	again chan struct{}
}

// judge finds bad what says so, and fails to look at what says that.
func judge(ctx context.Context, wasm []byte, _ ...[]byte) error {
	switch {
	case bytes.HasPrefix(wasm, []byte("bad")):
		return errors.New("it says so itself")
	case bytes.HasPrefix(wasm, []byte("slow")):
		<-ctx.Done()
		return ctx.Err()
	case bytes.HasPrefix(wasm, []byte("unseen")):
		return inspect.ErrUnable
	}
	return nil
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, dir: t.TempDir(), again: make(chan struct{}, 1)}
	d.restart()
	t.Cleanup(func() { d.close() })
	return d
}

// restart is a control plane that ended and another that began.
func (d *desk) restart() {
	d.t.Helper()
	if d.keeper != nil {
		d.close()
	}
	var err error
	d.keeper, err = openKeeper(filepath.Join(d.dir, "modules"), d.dir, judge, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) file() string { return filepath.Join(d.dir, "mesh.wasm") }

// give writes the file and lets the keeper look.
func (d *desk) give(text string) []mesh.Problem {
	d.t.Helper()
	if err := os.WriteFile(d.file(), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return d.look()
}

func (d *desk) look() []mesh.Problem {
	return d.step(d.t.Context(), []candidate{ownCandidate(d.file(), &mesh.Snapshot{})}, d.again)
}

// until looks whenever it is told to.
func (d *desk) until(what string, holds func([]mesh.Problem) bool) {
	d.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		if holds(d.look()) {
			return
		}
		select {
		case <-d.again:
		case <-limit:
			d.t.Fatalf("waiting for %s: serving is %v", what, d.book.Serving)
		}
	}
}

func (d *desk) serves(text string) bool {
	return d.book.Serving[ownModule.String()].Digest == store.Digest([]byte(text))
}

func TestTheLastGoodOutlivesARestartWithABadFile(t *testing.T) {
	for _, bad := range []string{"bad", "slow", "unseen"} {
		d := newDesk(t)
		if problems := d.give("good"); len(problems) > 0 || !d.serves("good") {
			t.Fatalf("the first: %v", problems)
		}
		if err := os.WriteFile(d.file(), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		d.restart()
		if d.look(); !d.serves("good") {
			t.Errorf("%s: after a restart it serves %v", bad, d.book.Serving)
		}
		if bad == "bad" {
			d.until("the problem", func(p []mesh.Problem) bool {
				return len(p) == 1 && strings.Contains(p[0].Cause, "it says so itself; the module before it keeps serving.")
			})
		}
		if err := os.Remove(d.file()); err != nil {
			t.Fatal(err)
		}
		d.restart()
		if p := d.look(); !d.serves("good") || len(p) != 1 || !strings.Contains(p[0].Cause, "keeps serving") {
			t.Errorf("without a file: serves %v, told is %v", d.book.Serving, p)
		}
	}
}

func TestALastGoodThatIsDamagedIsNone(t *testing.T) {
	d := newDesk(t)
	d.give("good")
	if err := os.WriteFile(d.store.Path(store.Digest([]byte("good"))), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.restart()
	if p := d.give("bad"); len(d.book.Serving) > 0 || len(p) != 1 || !strings.Contains(p[0].Cause, "every sidecar denies") {
		t.Errorf("serves %v, told is %v", d.book.Serving, p)
	}
}

func TestARecordThatCannotBeReadIsNoObstacle(t *testing.T) {
	d := newDesk(t)
	d.give("good")
	if err := os.WriteFile(d.lastGood, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.restart()
	if d.look(); !d.serves("good") {
		t.Error("the good file is not served")
	}
}

func TestTheNextOneServesAfterTheLeadAndTheOldOneGoes(t *testing.T) {
	d := newDesk(t)
	d.give("good")
	theirs := store.Digest([]byte("put there by somebody"))
	if _, err := d.store.Put([]byte("put there by somebody")); err != nil {
		t.Fatal(err)
	}
	d.give("better")
	if d.serves("better") {
		t.Error("it serves before sidecars could fetch it")
	}
	began := time.Now()
	d.until("the next", func([]mesh.Problem) bool { return d.serves("better") })
	if took := time.Since(began); took < modules.Lead/2 {
		t.Errorf("it serves after %v", took)
	}
	if kept, err := d.store.List(); err != nil || len(kept) != 2 || !slices.Contains(kept, store.Digest([]byte("better"))) || !slices.Contains(kept, theirs) {
		t.Errorf("kept are %v, %v", kept, err)
	}
}

func TestAFileThatReplacesASlowOneDoesNotWaitForIt(t *testing.T) {
	d := newDesk(t)
	d.give("good")
	d.give("slow")
	if d.running != 1 {
		t.Fatalf("%d inspections", d.running)
	}
	d.give("better")
	d.until("the better one", func(p []mesh.Problem) bool { return d.serves("better") && len(p) == 0 })
	// Ended, then wanted again: the end says nothing about it.
	d.give("slow")
	d.give("better")
	if p := d.give("slow"); len(p) > 0 {
		t.Errorf("told is %v", p)
	}
}

func TestAFileThatIsTooLargeIsNotRead(t *testing.T) {
	d := newDesk(t)
	d.give("good")
	if err := os.Truncate(d.file(), 100<<20); err != nil {
		t.Fatal(err)
	}
	if p := d.look(); len(p) != 1 || !strings.Contains(p[0].Cause, "104857600 bytes; at most") || !d.serves("good") {
		t.Errorf("told is %v", p)
	}
	if _, err := readModule(d.file()); err == nil {
		t.Error("100 MB were read")
	}
}

func TestAFolderThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	d := newDesk(t)
	d.give("good")
	away := filepath.Join(d.dir, "away")
	folder := filepath.Join(d.dir, "modules")
	if err := errors.Join(os.Rename(folder, away), os.WriteFile(folder, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	d.give("better")
	d.until("the problem", func(p []mesh.Problem) bool { return len(p) == 1 && strings.Contains(p[0].Try, "Make room") })
	if d.serves("better") {
		t.Error("what is not kept is served")
	}
	if err := errors.Join(os.Remove(folder), os.Rename(away, folder)); err != nil {
		t.Fatal(err)
	}
	d.until("the better one", func(p []mesh.Problem) bool { return d.serves("better") && len(p) == 0 })
}

func TestAModuleThatWasTakenAwayIsPutBack(t *testing.T) {
	d := newDesk(t)
	d.give("good")
	if err := os.Remove(d.store.Path(store.Digest([]byte("good")))); err != nil {
		t.Fatal(err)
	}
	if d.look(); !d.store.Has(store.Digest([]byte("good"))) {
		t.Error("it is gone still")
	}
}

// Before anything is known, the status and the registry say so, and do not fail.
// That the root ends soon is known.
func TestAPlaneThatHasJustBegun(t *testing.T) {
	now := time.Now()
	authority, err := ca.Open(filepath.Join(t.TempDir(), "state"), ca.Options{TrustDomain: "cluster.test", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(ca.RootLifetime - time.Hour)
	p := &plane{server: serve.New(slog.New(slog.NewTextHandler(io.Discard, nil))), authority: authority}
	p.catalog.Store(&catalog{replaced: make(chan struct{})})
	answer := httptest.NewRecorder()
	p.statusHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/status", nil).WithContext(t.Context()))
	if answer.Code != http.StatusOK {
		t.Errorf("the status is %d", answer.Code)
	}
	if !strings.Contains(answer.Body.String(), "ca rotate start") {
		t.Errorf("the root's end is not told: %s", answer.Body)
	}
	if digests, known, changed := p.references("shop/store"); known || len(digests) > 0 || changed == nil {
		t.Errorf("references are %v, %v", digests, known)
	}
}
