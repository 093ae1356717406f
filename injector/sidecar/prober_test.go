package sidecar

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

// theApplication's address is one that nothing else uses, and not 127.0.0.1: the
// probes must go where they are told.
const theApplication = "127.186.0.1"

func serveApplication(t *testing.T, h http.Handler, change func(*httptest.Server)) int {
	t.Helper()
	l, err := net.Listen("tcp", theApplication+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	if change == nil {
		s.Start()
	} else {
		change(s)
	}
	t.Cleanup(s.Close)
	return l.Addr().(*net.TCPAddr).Port
}

// asked returns what a kubelet gets for one action.
func asked(t *testing.T, a probe.Action) (int, string) {
	t.Helper()
	if a.Seconds == 0 {
		a.Seconds = 5
	}
	path := probe.Path("app", probe.Liveness)
	p := &prober{actions: map[string]probe.Action{path: a}, pod: theApplication}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("User-Agent", "kube-probe/1.36")
	p.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestHTTPProbe: what an application answers means what it means to a kubelet.
func TestHTTPProbe(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/code/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "secret text")
	})
	mux.HandleFunc("/asked", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" || r.Header.Get("X-A") != "1" || len(r.Header["X-B"]) != 2 ||
			r.UserAgent() != "kube-probe/1.36" || r.Header.Get("Accept") != "*/*" || r.URL.RawQuery != "deep=1" {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/code/404", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.186.0.99:1/", http.StatusFound)
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/torn", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "torn")
	})
	plain := serveApplication(t, mux, nil)
	secure := serveApplication(t, mux, (*httptest.Server).StartTLS)
	headers := [][2]string{{"Host", "shop.example"}, {"X-A", "1"}, {"x-b", "1"}, {"X-B", "2"}}
	for name, c := range map[string]struct {
		action probe.HTTP
		want   int
	}{
		"200":                          {probe.HTTP{Path: "/code/200"}, 200},
		"399 is fine":                  {probe.HTTP{Path: "/code/399"}, 200},
		"no slash":                     {probe.HTTP{Path: "code/200"}, 200},
		"400":                          {probe.HTTP{Path: "/code/400"}, 400},
		"500":                          {probe.HTTP{Path: "/code/500"}, 500},
		"headers, host, query":         {probe.HTTP{Path: "/asked?deep=1", Headers: headers}, 200},
		"without headers":              {probe.HTTP{Path: "/asked?deep=1"}, 418},
		"redirected here is followed":  {probe.HTTP{Path: "/here"}, 404},
		"redirected away is an answer": {probe.HTTP{Path: "/away"}, 200},
		"redirected for ever":          {probe.HTTP{Path: "/round"}, 503},
		"breaks off":                   {probe.HTTP{Path: "/torn"}, 503},
		"TLS without verification":     {probe.HTTP{Path: "/code/200", TLS: true, Port: secure}, 200},
		"TLS where there is none":      {probe.HTTP{Path: "/code/200", TLS: true}, 503},
		"nobody listens":               {probe.HTTP{Path: "/", Port: 1}, 503},
		"on loopback only":             {probe.HTTP{Path: "/code/200", Host: theApplication}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if c.action.Port == 0 {
				c.action.Port = plain
			}
			code, text := asked(t, probe.Action{HTTP: &c.action})
			if code != c.want {
				t.Errorf("%d, want %d: %s", code, c.want, text)
			}
			if strings.Contains(text, "secret") || strings.Contains(text, theApplication+":"+strconv.Itoa(plain)+"/") {
				t.Errorf("the answer tells what the application said: %s", text)
			}
		})
	}
	began := time.Now()
	if code, _ := asked(t, probe.Action{HTTP: &probe.HTTP{Path: "/slow", Port: plain}, Seconds: 1}); code != 503 || time.Since(began) > 3*time.Second {
		t.Errorf("a slow application: %d after %v, want 503 after a second", code, time.Since(began))
	}
}

func TestTCPProbe(t *testing.T) {
	port := serveApplication(t, http.NotFoundHandler(), nil)
	if code, text := asked(t, probe.Action{TCP: &probe.TCP{Port: port}}); code != 200 {
		t.Errorf("%d: %s", code, text)
	}
	if code, _ := asked(t, probe.Action{TCP: &probe.TCP{Port: 1}}); code != 503 {
		t.Errorf("nobody listens: %d", code)
	}
}

// TestProbesAreOnlyThose: nothing else can be had through the sidecar.
func TestProbesAreOnlyThose(t *testing.T) {
	p := &prober{actions: map[string]probe.Action{"/app-probe/app/liveness": {}}, pod: theApplication}
	for target, want := range map[string]int{"/app-probe/app/readiness": 404, "/": 404, "/app-probe/app/liveness": 500} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/app-probe/app/liveness", nil))
	if w.Code != 404 {
		t.Errorf("a POST: %d", w.Code)
	}
}

func FuzzHealthStatus(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 8, 1})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		if n, err := healthStatus(body); err == nil && n == serving && (len(body) < 7 || binary.BigEndian.Uint32(body[1:]) == 0) {
			t.Errorf("%x is taken for SERVING", body)
		}
	})
}

// TestHealthServer: a kubelet gets a reason while Envoy is not there.
func TestHealthServer(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	o := Options{Health: "127.186.0.2:15021", Probes: "127.186.0.2:15020", Log: quiet}
	end, err := o.serveHealth(&health{admin: Admin{"/nowhere"}, lack: &atomic.Pointer[string]{}, stopping: ctx})
	if err != nil {
		t.Fatal(err)
	}
	get := func(url string) (int, string) {
		r, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(body)
	}
	for url, want := range map[string]int{"http://127.186.0.2:15021/healthy": 200, "http://127.186.0.2:15021/ready": 503,
		"http://127.186.0.2:15021/else": 404, "http://127.186.0.2:15020/else": 404} {
		if code, text := get(url); code != want {
			t.Errorf("%s: %d %s, want %d", url, code, text, want)
		}
	}
	stop()
	if _, text := get("http://127.186.0.2:15021/ready"); !strings.Contains(text, "stopping") {
		t.Errorf("asked to stop: %s", text)
	}
	end()
	if _, err := http.Get("http://127.186.0.2:15021/healthy"); err == nil {
		t.Error("it answers after its end")
	}
}
