package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

var probing = flag.Duration("probing", 5*time.Second, "how long the application is probed ten times a second, each way")

const (
	applicationIP = "127.187.2.1"
	sidecarIP     = "127.187.2.2"
)

// probed is an application and how it is probed, in each way that there is, also
// such that fail.
func probed(t *testing.T) (actions map[string]probe.Action, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	serve := func(begin func(*httptest.Server), h http.HandlerFunc) int {
		l, err := net.Listen("tcp", applicationIP+":0")
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(h)
		s.Listener.Close()
		s.Listener = l
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		begin(s)
		t.Cleanup(s.Close)
		return l.Addr().(*net.TCPAddr).Port
	}
	large := make([]byte, 100<<10)
	answer := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Content-Type") == "application/grpc" {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, 1})
			w.Header().Set("Grpc-Status", "0")
			return
		}
		_, _ = w.Write(large)
	}
	plain, secure := serve((*httptest.Server).Start, answer), serve((*httptest.Server).StartTLS, answer)
	bad := serve((*httptest.Server).Start, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	slow := serve((*httptest.Server).Start, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return map[string]probe.Action{
		"/app-probe/http/liveness": {HTTP: &probe.HTTP{Port: plain, Path: "/"}, Seconds: 1},
		"/app-probe/tls/liveness":  {HTTP: &probe.HTTP{Port: secure, TLS: true}, Seconds: 1},
		"/app-probe/bad/liveness":  {HTTP: &probe.HTTP{Port: bad}, Seconds: 1},
		"/app-probe/slow/liveness": {HTTP: &probe.HTTP{Port: slow}, Seconds: 1},
		"/app-probe/tcp/liveness":  {TCP: &probe.TCP{Port: plain}, Seconds: 1},
		"/app-probe/none/liveness": {TCP: &probe.TCP{Port: 1}, Seconds: 1},
		"/app-probe/grpc/liveness": {GRPC: &probe.GRPC{Port: plain}, Seconds: 1},
	}, asked
}

// TestMemoryUnderProbes: a sidecar that probes its application, tells how it is and
// renews its certificate all the time stays small, and keeps no file open.
func TestMemoryUnderProbes(t *testing.T) {
	d := startDummy(t)
	h := serveHasty(t, d)
	token, err := d.authority.CreateToken(workload, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	actions, asked := probed(t)
	text, err := json.Marshal(actions)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, d, newFolders(t), token, "--health", sidecarIP+":15021", "--probes", sidecarIP+":15020", "--pod-ip", applicationIP, "--app-probes", string(text))
	p.await(t, "the sidecar", p.ready)
	urls := []string{"http://" + sidecarIP + ":15021/ready"}
	for path := range actions {
		urls = append(urls, "http://"+sidecarIP+":15020"+path)
	}
	round := func(within time.Duration) {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		began := time.Now()
		done := make(chan int)
		for _, url := range urls {
			go func() {
				n := 0
				for ; n == 0 || time.Since(began) < within; time.Sleep(100 * time.Millisecond) {
					if r, err := client.Get(url); err == nil {
						_, _ = io.Copy(io.Discard, r.Body)
						_ = r.Body.Close()
						n++
					}
				}
				done <- n
			}()
		}
		for range urls {
			if n := <-done; n == 0 {
				t.Error("a probe was never answered")
			}
		}
	}
	round(2 * time.Second)
	before := files(t, p.cmd.Process.Pid)
	round(*probing)
	time.Sleep(1500 * time.Millisecond) // the slow ones have ended
	after, anonymous := files(t, p.cmd.Process.Pid), anonymousKiB(t, p.cmd.Process.Pid)
	t.Logf("%v, %d answers of the application, %d renewals: %d KiB of anonymous memory, %d files open, %d before", *probing, asked.Load(), h.issued.Load(), anonymous, after, before)
	if n := int64(*probing / (200 * time.Millisecond)); asked.Load() < n || h.issued.Load() < 10 {
		t.Errorf("only %d probes and %d renewals: it proves nothing", asked.Load(), h.issued.Load())
	}
	if anonymous > maxAnonymous {
		t.Errorf("%d KiB of anonymous memory, want at most %d", anonymous, maxAnonymous)
	}
	// A renewal and a probe may be on.
	if after > before+8 {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

func files(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
