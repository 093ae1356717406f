package outages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/injector/sidecar"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	trustDomain = "outages.test"
	// outlet is where the caller's application dials the store.
	outlet = "127.172.7.1:8081"
	inlet  = "127.170.0.2:8081"

	xdsAddress  = "127.175.0.1:15010"
	joinAddress = "127.175.0.1:15012"
	registry    = "127.175.0.1:15013"
	application = "127.171.0.2:8081"

	// startTimeout covers Envoys that compile the module on one slow core.
	startTimeout = time.Minute
	stopTimeout  = 10 * time.Second
	applyTimeout = 10 * time.Second
	poll         = 10 * time.Millisecond
)

var (
	caller = mesh.Name{Namespace: "shop", Name: "caller"}
	store  = mesh.Name{Namespace: "shop", Name: "store"}
	noisy  = mesh.Name{Namespace: "shop", Name: "noisy"}
)

// The names of the processes of a site.
const (
	controlPlane  = "control plane"
	callerSidecar = "caller's sidecar"
	storeSidecar  = "store's sidecar"
	callerEnvoy   = "caller's Envoy"
	storeEnvoy    = "store's Envoy"
	app           = "application"
)

// site is a mesh of processes, each of which can be killed and started again.
type site struct {
	t            *testing.T
	folder       string // manifests
	work, memory string
	state        string // the control plane's
	lifetime     time.Duration
	authority    *ca.Authority
	children     *rig.Children
	running      map[string]*rig.Child
	runs         int
}

// open starts everything. change may alter the site before that.
func open(t *testing.T, change func(*site)) *site {
	t.Helper()
	s := &site{t: t, folder: t.TempDir(), lifetime: time.Hour, running: map[string]*rig.Child{}, children: rig.NewChildren()}
	t.Cleanup(s.close)
	s.makeFolders()
	if err := os.CopyFS(s.folder, os.DirFS(filepath.Join("testdata", "mesh"))); err != nil {
		t.Fatal(err)
	}
	s.allow(allowedPath)
	if change != nil {
		change(s)
	}
	var err error
	if s.authority, err = ca.Open(s.state, ca.Options{TrustDomain: trustDomain}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{app, controlPlane, callerSidecar, storeSidecar} {
		s.start(name)
	}
	s.ready(startTimeout, caller, store)
	s.must(startTimeout, "the first answer", answers(allowedPath, http.StatusOK))
	return s
}

// makeFolders keeps names short: a Unix socket's path has 107 bytes at most.
func (s *site) makeFolders() {
	s.t.Helper()
	var err error
	if s.work, err = os.MkdirTemp("", "outages"); err == nil {
		s.memory, err = os.MkdirTemp("/dev/shm", "outages")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.state = filepath.Join(s.work, "state")
}

func (s *site) close() {
	for name, child := range s.running {
		select {
		case <-child.Ended():
			continue
		default:
		}
		if name == app || name == controlPlane && s.t.Failed() {
			child.Kill()
		} else if err := child.Stop(stopTimeout); err != nil {
			s.t.Error(err)
		}
	}
	s.children.Close()
	if intruders, err := os.ReadFile(s.intruders()); err != nil || len(intruders) > 0 {
		s.t.Errorf("the application saw what is denied: %.500s %v", intruders, err)
	}
	if s.t.Failed() {
		s.logs()
	}
	for _, dir := range []string{s.work, s.memory} {
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *site) intruders() string { return filepath.Join(s.work, "intruders") }

// logs shows the end of what every run of every process said.
func (s *site) logs() {
	paths, err := filepath.Glob(filepath.Join(s.work, "*.log"))
	if err != nil {
		s.t.Error(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		s.t.Logf("%s: %s %v", filepath.Base(path), text[max(0, len(text)-4000):], err)
	}
}

// start runs a process that is not running.
func (s *site) start(name string) {
	s.t.Helper()
	s.runs++
	log := filepath.Join(s.work, fmt.Sprintf("%s.%d.log", name, s.runs))
	var child *rig.Child
	var err error
	switch name {
	case app:
		child, err = s.children.Start(name, log, os.Args[0], applicationRole, application, s.intruders())
	case controlPlane:
		child, err = s.children.Start(name, log, programs.Wasmesh, "controlplane", "--source", s.folder, "--state", s.state,
			"--module", programs.Module, "--xds", xdsAddress, "--join", joinAddress, "--registry", registry, "--trust-domain", trustDomain,
			"--leaf-lifetime", s.lifetime.String(), "--status", s.status())
	case callerSidecar:
		child, err = s.children.Start(name, log, programs.Sidecar, s.sidecarArguments(caller)...)
	case storeSidecar:
		child, err = s.children.Start(name, log, programs.Sidecar, s.sidecarArguments(store)...)
	default:
		err = errors.New(name + " is not started by the test")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.running[name] = child
}

func (s *site) status() string { return filepath.Join(s.work, "status.sock") }

func (s *site) sidecarState(w mesh.Name) string { return filepath.Join(s.work, w.Name) }

func (s *site) sidecarArguments(w mesh.Name) []string {
	token := filepath.Join(s.work, w.Name+".token")
	if _, err := os.Stat(token); errors.Is(err, os.ErrNotExist) { // later it has its renewal credential
		text, err := s.authority.CreateToken(w, startTimeout)
		if err == nil {
			err = os.WriteFile(token, []byte(text), 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return []string{
		"--join-url", "https://" + joinAddress, "--xds", xdsAddress, "--token-file", token,
		"--state", s.sidecarState(w), "--run", filepath.Join(s.memory, w.Name), "--registry", registry,
		"--envoy", programs.Envoy, "--concurrency", "1", "--drain-time", "0s",
	}
}

func (s *site) admin(w mesh.Name) sidecar.Admin {
	return sidecar.Admin{Socket: filepath.Join(s.memory, w.Name, sidecar.AdminSocket)}
}

// ready waits until the control plane sees the sidecars settled and they serve.
func (s *site) ready(limit time.Duration, workloads ...mesh.Name) {
	s.t.Helper()
	s.must(limit, fmt.Sprintf("the sidecars of %v", workloads), func(ctx context.Context) error {
		seen, err := s.seen(ctx)
		if err != nil {
			return err
		}
		settled := map[mesh.Name]bool{}
		for _, p := range seen.Proxies {
			settled[p.Name] = settled[p.Name] || p.Settled
		}
		for _, w := range workloads {
			if !settled[w] {
				return fmt.Errorf("%s is not connected or not settled", w)
			}
			if ok, waiting, err := s.admin(w).Ready(ctx); err != nil || !ok {
				return fmt.Errorf("%s waits for %q: %w", w, waiting, err)
			}
		}
		return nil
	})
}

// seen is what the control plane tells.
func (s *site) seen(ctx context.Context) (status controlplane.Status, err error) {
	client := http.Client{Timeout: answerTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.status())
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controlplane/status", nil)
	if err != nil {
		return status, err
	}
	response, err := client.Do(request)
	if err != nil {
		return status, err
	}
	defer response.Body.Close()
	return status, json.NewDecoder(response.Body).Decode(&status)
}

// must fails the test unless probe returns nil within limit, and returns how long
// that took.
func (s *site) must(limit time.Duration, what string, probe func(context.Context) error) time.Duration {
	s.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return time.Since(began)
		}
		if ctx.Err() != nil {
			s.t.Fatalf("waiting %v for %s: %v", limit, what, err)
		}
		time.Sleep(poll)
	}
}

// allow replaces the policy: these paths, whatever the method.
func (s *site) allow(paths ...string) {
	s.t.Helper()
	var text bytes.Buffer
	fmt.Fprint(&text, `apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: open, namespace: shop}
spec:
  matches:
`)
	for i, path := range paths {
		fmt.Fprintf(&text, "    - {name: m%d, pathRegex: %s$, methods: [\"*\"]}\n", i, path)
	}
	fmt.Fprint(&text, `---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: open, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: store}
  sources:
    - {kind: ServiceAccount, name: caller, namespace: shop}
  rules:
    - {kind: HTTPRouteGroup, name: open}
`)
	part := filepath.Join(s.folder, ".part")
	err := os.WriteFile(part, text.Bytes(), 0o600)
	if err == nil {
		err = os.Rename(part, filepath.Join(s.folder, "access.yaml"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// log is what the current and the former runs of a process said.
func (s *site) log(name string) string {
	s.t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.work, name+".*.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
