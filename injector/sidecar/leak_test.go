package sidecar

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"

	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

// TestProbesLeaveNothing: whatever comes of a probe, no goroutine stays.
func TestProbesLeaveNothing(t *testing.T) {
	port := serveApplication(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
	}), func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	})
	actions := map[string]probe.Action{}
	for i, a := range []probe.Action{
		{HTTP: &probe.HTTP{Port: port}}, {HTTP: &probe.HTTP{Port: port, Path: "/slow"}}, {HTTP: &probe.HTTP{Port: 1}}, {HTTP: &probe.HTTP{Port: port, TLS: true}},
		{TCP: &probe.TCP{Port: port}}, {TCP: &probe.TCP{Port: 1}}, {GRPC: &probe.GRPC{Port: port}}, {},
	} {
		// Each many times, as one that has just been answered is not done again.
		for n := range 20 {
			a.Seconds = 1
			actions[fmt.Sprintf("/app-probe/%d/%d", i, n)] = a
		}
	}
	before := runtime.NumGoroutine()
	p := &prober{actions: actions, pod: theApplication}
	var all sync.WaitGroup
	for path := range actions {
		all.Go(func() { p.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)) })
	}
	all.Wait()
	defer func() {
		if t.Failed() {
			stacks := make([]byte, 1<<20)
			t.Logf("%d before\n%s", before, stacks[:runtime.Stack(stacks, true)])
		}
	}()
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
}
