package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

// TestRefusedPodStays: a pod that the mesh refuses, at the start or when its
// certificate has ended, goes on asking, says why, and answers for its
// application: the kubelet must not kill what works. When it is known again, it is
// a member again.
func TestRefusedPodStays(t *testing.T) {
	c := newCluster(t)
	defer c.start(t)()
	c.vouch("another")
	e, _ := c.enrolment(t)
	port := serveApplication(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	const healthAt, probesAt = "127.186.0.3:15021", "127.186.0.3:15020"
	path := probe.Path("app", probe.Liveness)
	o := Options{
		Health: healthAt, Probes: probesAt, PodIP: theApplication, Log: quiet,
		AppProbes: map[string]probe.Action{path: {HTTP: &probe.HTTP{Port: port}}},
	}
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	end, err := o.serveHealth(&health{admin: e.admin, lack: &e.lack, stopping: ctx})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	get := func(address, path string) (int, string) {
		r, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(body)
	}
	tells := func(when string) {
		t.Helper()
		eventually(t, when+": /ready says why", func() bool {
			code, text := get(healthAt, "/ready")
			return code == http.StatusServiceUnavailable && strings.Contains(text, "refuses this workload")
		})
		if code, text := get(probesAt, path); code != http.StatusOK {
			t.Errorf("%s: the application's probe gets %d %s", when, code, text)
		}
	}

	started := make(chan error, 1)
	go func() { _, err := e.start(ctx); started <- err }()
	tells("at the start")
	c.write(t, c.tokenFile, "another")
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if _, text := get(healthAt, "/ready"); !strings.Contains(text, "envoy has not started") {
		t.Errorf("with a certificate: %s", text)
	}

	c.vouch("nobody's")
	e.current.Lifetime = time.Millisecond
	kept := make(chan error, 1)
	go func() { kept <- e.keepFresh(ctx) }()
	tells("after its certificate's end")
	c.vouch("another")
	eventually(t, "a certificate again", func() bool { return e.lack.Load() == nil })
	cancel()
	if err := <-kept; err != nil {
		t.Errorf("it gave up: %v", err)
	}
}

// TestLackOf: each cause has its phrase, and none repeats what an error says.
func TestLackOf(t *testing.T) {
	seen := map[string]error{}
	for _, err := range []error{errors.New("10.0.0.7: secret"), ca.ErrRefused, ca.ErrImpostor, ca.ErrRequest, ca.ErrClock, errPlatform} {
		text := lackOf(fmt.Errorf("secret: %w", err))
		if other, ok := seen[text]; ok || strings.Contains(text, "secret") {
			t.Errorf("%v and %v: %s", err, other, text)
		}
		seen[text] = err
	}
}
