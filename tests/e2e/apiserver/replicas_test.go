package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// replica is a control plane as its chart starts it.
type replica struct {
	name, address, dir string
	cmd                *exec.Cmd
}

// program builds the wasmesh command.
func program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wasmesh")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func (s *server) replica(program, name, at string) *replica {
	s.t.Helper()
	r := &replica{name: name, address: at, dir: filepath.Join(s.dir, name)}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	r.cmd = exec.Command(program, "controlplane", "--kubernetes", "--kubeconfig", s.kubeconfig("mesh"),
		"--namespace", "wasmesh-system", "--replica", name, "--state", r.dir, "--module", filepath.Join(r.dir, "none.wasm"),
		"--xds", at+":15010", "--join", at+":15012", "--registry", at+":15013", "--health", at+":15021")
	r.cmd.Stdout, r.cmd.Stderr = log, log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		stop(r.cmd)
		if s.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			s.t.Logf("log of replica %s:\n%s", name, text)
		}
	})
	return r
}

func (r *replica) is(path string) bool {
	resp, err := (&http.Client{Timeout: time.Second}).Get("http://" + r.address + ":15021" + path)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

type event struct{ Type, Reason, Message string }

// events lists what is told on an object.
func (s *server) events(kind, name string) []event {
	var list struct{ Items []event }
	out, err := s.tryKubectl("", "get", "events", "-A", "-o", "json", "--field-selector", "involvedObject.kind="+kind+",involvedObject.name="+name)
	if err != nil || json.Unmarshal([]byte(out), &list) != nil {
		return nil
	}
	return list.Items
}

func (s *server) leader() string {
	out, _ := s.tryKubectl("", "get", "lease", "-n", "wasmesh-system", "wasmesh-controlplane", "-o", "jsonpath={.spec.holderIdentity}")
	return out
}

func (s *server) roots(namespace string) string {
	out, err := s.tryKubectl("", "get", "configmap", "-n", namespace, "wasmesh-roots", "-o", `jsonpath={.data.roots\.pem}`)
	if err != nil {
		return ""
	}
	return out
}

func TestReplicas(t *testing.T) {
	t.Parallel() // they wait, mostly
	s := start(t)
	s.roles()
	s.apply(definitions())
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	s.apply(bookstore)
	path := program(t)
	var replicas []*replica
	for name, at := range map[string]string{"one": "127.188.0.2", "two": "127.188.0.3"} {
		r := s.replica(path, name, at)
		replicas = append(replicas, r)
		eventually(t, 30*time.Second, r.name+" is ready", func() bool { return r.is("/ready") })
	}
	t.Run("status", func(t *testing.T) { tellStatus(t, s, path, replicas[0]) })
	t.Run("events", func(t *testing.T) { tellEvents(t, s) })
	t.Run("conditions", func(t *testing.T) { tellConditions(t, s) })
	t.Run("roots", func(t *testing.T) { keepRoots(t, s) })
	t.Run("leader killed", func(t *testing.T) { takeover(t, s, replicas) })
	t.Run("API server away", func(t *testing.T) { away(t, s, replicas) })
}

// Within the pod `wasmesh status` answers as beside a folder.
func tellStatus(t *testing.T, s *server, program string, r *replica) {
	s.apply(strings.NewReplacer("name: buyers", "name: lonely", "name: books,", "name: nothing,").Replace(bookstore[strings.LastIndex(bookstore, "---"):]))
	var out []byte
	eventually(t, 5*time.Second, "the status tells the problem", func() bool {
		out, _ = exec.Command(program, "status", "-o", "json", "--status", filepath.Join(r.dir, "status.sock")).CombinedOutput()
		return strings.Contains(string(out), "TrafficTarget shop/lonely: spec.rules[0].name: HTTPRouteGroup")
	})
	s.kubectl("", "delete", "traffictarget", "-n", "shop", "lonely")
}

// What a target lacks is told on it once, and told to be solved.
func tellEvents(t *testing.T, s *server) {
	broken := strings.ReplaceAll(bookstore[strings.LastIndex(bookstore, "---"):], "name: books,", "name: movies,")
	s.apply(strings.ReplaceAll(broken, "name: buyers", "name: viewers"))
	var told []event
	took := eventually(t, 10*time.Second, "an event on the target", func() bool {
		told = s.events("TrafficTarget", "viewers")
		return len(told) > 0
	})
	t.Logf("told after %v: %+v", took.Round(time.Millisecond), told)
	if e := told[0]; e.Type != "Warning" || e.Reason != "NoEffect" || !strings.Contains(e.Message, `spec.rules[0].name: HTTPRouteGroup "movies" does not exist`) ||
		!strings.Contains(e.Message, "smi-rules 21") {
		t.Errorf("the event says %+v", e)
	}
	time.Sleep(2 * time.Second)
	s.apply(`
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: movies, namespace: shop}
spec: {matches: [{name: buy, pathRegex: /buy}]}
`)
	eventually(t, 20*time.Second, "the problem is told to be solved", func() bool {
		told = s.events("TrafficTarget", "viewers")
		return len(told) == 1 && told[0].Type == "Normal" && told[0].Reason == "Solved"
	})
	if described := s.kubectl("", "describe", "traffictarget", "-n", "shop", "viewers"); !strings.Contains(described, "Solved") {
		t.Errorf("kubectl describe does not show it:\n%s", described)
	}
	if others := s.events("TrafficTarget", "buyers"); len(others) > 0 {
		t.Errorf("a target without problems is told of: %+v", others)
	}
}

func (s *server) condition(name, kind string) string {
	return s.kubectl("", "get", "workload", "-n", "shop", name, "-o",
		fmt.Sprintf(`jsonpath={range .status.conditions[?(@.type==%q)]}{.status} {.reason} {.observedGeneration} {.message}{end}`, kind))
}

// Our own kinds carry conditions.
func tellConditions(t *testing.T, s *server) {
	workload := func(name, address, account string) string {
		return fmt.Sprintf("---\napiVersion: wasmesh.io/v1alpha1\nkind: Workload\nmetadata: {name: %s, namespace: shop}\nspec: {address: %s, serviceAccount: %s}\n", name, address, account)
	}
	s.apply(workload("good", "10.0.0.7", "bookstore") + workload("bad", "nowhere", "bookstore"))
	eventually(t, 10*time.Second, "the good one is accepted", func() bool { return strings.HasPrefix(s.condition("good", "Accepted"), "True Valid 1") })
	eventually(t, 10*time.Second, "the bad one is not", func() bool {
		return strings.HasPrefix(s.condition("bad", "Accepted"), `False Invalid 1 spec.address: "nowhere" is not an IP address.`)
	})
	if c := s.condition("bad", "InForce"); !strings.HasPrefix(c, "False Invalid") {
		t.Errorf("InForce is %q", c)
	}
	s.apply(workload("bad", "10.0.0.8", "bookstore"))
	eventually(t, 10*time.Second, "it is accepted once mended", func() bool { return s.condition("bad", "Accepted") == "True Valid 2 " })
}

// The roots are in every namespace that opted in, whatever is done to them.
func keepRoots(t *testing.T, s *server) {
	eventually(t, 10*time.Second, "the roots are in the namespace that opted in", func() bool { return strings.HasPrefix(s.roots("shop"), "-----BEGIN CERTIFICATE") })
	good := s.roots("shop")
	if s.roots("default") != "" {
		t.Error("the roots are in a namespace that did not opt in")
	}
	s.kubectl("", "patch", "configmap", "-n", "shop", "wasmesh-roots", "--type=merge", "-p", `{"data":{"roots.pem":"mine"}}`)
	eventually(t, 5*time.Second, "an edit is undone", func() bool { return s.roots("shop") == good })
	s.kubectl("", "delete", "configmap", "-n", "shop", "wasmesh-roots")
	eventually(t, 5*time.Second, "a deletion is undone", func() bool { return s.roots("shop") == good })
	s.kubectl("", "label", "namespace", "default", "wasmesh.io/inject=enabled")
	eventually(t, 5*time.Second, "a namespace that opts in gets them", func() bool { return s.roots("default") == good })
	if owner := s.kubectl("", "get", "configmap", "-n", "shop", "wasmesh-roots", "-o", "jsonpath={.metadata.ownerReferences[0].kind}"); owner != "ClusterRole" {
		t.Errorf("the ConfigMap is owned by %q: it would stay when the mesh is uninstalled", owner)
	}
}

// The other replica writes soon after the leader was killed.
func takeover(t *testing.T, s *server, replicas []*replica) {
	leader := s.leader()
	var left *replica
	for _, r := range replicas {
		if r.name == leader {
			r.cmd.Process.Kill()
			r.cmd.Wait()
			continue
		}
		left = r
	}
	if left == nil || left.name == leader {
		t.Fatalf("the Lease is held by %q", leader)
	}
	s.kubectl("", "delete", "configmap", "-n", "shop", "wasmesh-roots")
	took := eventually(t, 15*time.Second, "the other replica writes", func() bool { return s.roots("shop") != "" && s.leader() == left.name })
	figures.Tell(t, "taken over %v after the leader was killed", took.Round(time.Millisecond))
	if !left.is("/ready") {
		t.Error("the replica that is left is not ready")
	}
	if told := s.events("TrafficTarget", "viewers"); len(told) != 1 {
		t.Errorf("the takeover told again: %+v", told)
	}
}

// Without the API server replicas stay ready, and write again when it is back.
func away(t *testing.T, s *server, replicas []*replica) {
	leader := s.leader()
	s.stopAPI()
	for range 20 {
		for _, r := range replicas {
			if r.name == leader && !(r.is("/ready") && r.is("/healthy")) {
				t.Fatal("the replica is not ready any more, or dead")
			}
		}
		time.Sleep(time.Second)
	}
	s.startAPI()
	s.kubectl("", "delete", "configmap", "-n", "shop", "wasmesh-roots")
	took := eventually(t, 30*time.Second, "it writes again", func() bool { return s.roots("shop") != "" })
	t.Logf("writes again after %v", took.Round(time.Millisecond))
}
