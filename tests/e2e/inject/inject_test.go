// Package inject proves injection on a real API server with the chart installed
// and the injector running with the rights that the chart gives it, and no
// others. It holds tests only and must never be imported.
package inject

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
	"github.com/wasmesh/wasmesh/tests/e2e/network"
)

const (
	root   = "../../.." // the product's source tree
	system = "wasmesh-system"
)

var (
	kube  *cluster.Cluster
	tools cluster.Tools
)

// TestMain starts this program twice: the second time in namespaces of its own,
// with a Kubernetes of its own.
func TestMain(m *testing.M) {
	flag.Parse()
	code, err := 1, error(nil)
	if cluster.Inside() {
		code, err = inside(m)
	} else if err = build(); err == nil {
		code, err = cluster.Reenter()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "inject:", err)
		code = 1
	}
	os.Exit(code)
}

func inside(m *testing.M) (int, error) {
	if err := cluster.Settle(); err != nil {
		return 1, err
	}
	folder := os.Getenv("WASMESH_E2E_TOOLS")
	if folder == "" {
		folder = filepath.Join(root, ".tools/e2e")
	}
	var err error
	if tools, err = cluster.FindTools(folder); err != nil {
		return 1, err
	}
	if kube, err = cluster.Boot(context.Background(), tools, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))); err != nil {
		return 1, err
	}
	defer kube.Close()
	return m.Run(), nil
}

// wasmesh is the program under test.
func wasmesh() string {
	path, err := filepath.Abs(filepath.Join(root, "bin/e2e/wasmesh"))
	if err != nil {
		return "wasmesh" // starting it will say so
	}
	return path
}

func build() error {
	cmd := exec.Command("go", "build", "-o", wasmesh(), ".")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.Run()
}

func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := kube.Kubectl(t.Context(), stdin, args...)
	if err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return out
}

// injector starts the program as its service account, behind its Service.
func injector(t *testing.T) *exec.Cmd {
	t.Helper()
	token := strings.TrimSpace(must(t, "", "create", "token", "wasmesh-injector", "-n", system))
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
		"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority":%q}}],
		"users":[{"name":"u","user":{"token":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`,
		cluster.Server, filepath.Join(filepath.Dir(kube.Kubeconfig), "ca.crt"), token)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(wasmesh(), "injector", "--kubeconfig", file, "--namespace", system, "--listen", ":9443")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(cmd) })
	must(t, fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: wasmesh-injector-here, namespace: %s, labels: {kubernetes.io/service-name: wasmesh-injector}}
addressType: IPv4
ports: [{name: https-webhook, port: 9443, protocol: TCP}]
endpoints: [{addresses: [%s], conditions: {ready: true}}]
`, system, network.NodeIP), "apply", "-f", "-")
	return cmd
}

func stop(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // by that signal
	}
}

// pod is created as nobody but the API server's admission will have it: it is
// asked for, and not kept.
func pod(t *testing.T, ns, more string) (string, error) {
	return kube.Kubectl(t.Context(), fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: %s, %s}
spec: {containers: [{name: app, image: app, ports: [{containerPort: 8080}], readinessProbe: {httpGet: {port: 8080}}}]}
`, ns, more), "create", "--dry-run=server", "-o", "json", "-f", "-")
}

// eventually tries until it works, for half a minute.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func TestAdmission(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), tools.Helm, "install", "wasmesh", root+"/charts/wasmesh", "-n", system, "--create-namespace", "--kubeconfig", kube.Kubeconfig).CombinedOutput()
	if err != nil {
		t.Fatalf("helm: %v\n%s", err, out)
	}
	must(t, "", "create", "ns", "meshed")
	must(t, "", "create", "ns", "plain")
	must(t, "", "label", "ns", "meshed", "kube-system", system, "wasmesh.io/inject=enabled")
	for _, ns := range []string{"meshed", "plain"} {
		eventually(t, "the namespace's account", func() error {
			_, err := kube.Kubectl(t.Context(), "", "get", "serviceaccount", "default", "-n", ns)
			return err
		})
	}
	cmd := injector(t)
	eventually(t, "a pod gets its sidecar", func() error {
		out, err := pod(t, "meshed", "labels: {app: web}")
		if err == nil && (!strings.Contains(out, `"wasmesh-sidecar"`) || !strings.Contains(out, "/app-probe/app/readiness")) {
			err = fmt.Errorf("there is no sidecar: %s", out)
		}
		return err
	})
	if out, err := pod(t, "plain", ""); err != nil || strings.Contains(out, "wasmesh-sidecar") {
		t.Errorf("where nobody opted in: %v %s", err, out)
	}
	if out, err := pod(t, "meshed", `annotations: {wasmesh.io/inject: disabled}`); err != nil || strings.Contains(out, "wasmesh-sidecar") {
		t.Errorf("a pod that opted out: %v %s", err, out)
	}
	if out, err := pod(t, "meshed", `annotations: {wasmesh.io/exclude-uids: root}`); err == nil || !strings.Contains(out+err.Error(), "is not a numeric user") {
		t.Errorf("a malformed annotation: %v %s", err, out)
	}
	if out, err := pod(t, "meshed", `annotations: {wasmesh.io/exclude-uids: "1000"}`); err != nil || !strings.Contains(out, "--exclude-uids") {
		t.Errorf("its twin: %v %s", err, out)
	}
	t.Run("bad pods", badPods)
	t.Run("half injected", halfInjected)
	t.Run("at the door", func(t *testing.T) { atTheDoor(t, cmd) })
	after := later(t)
	stop(cmd)
	t.Run("what is done later", after)
	if out, err := pod(t, "meshed", ""); err == nil {
		t.Errorf("without an injector, a pod starts without its sidecar: %s", out)
	}
	for _, ns := range []string{"plain", "kube-system", system} {
		eventually(t, "without an injector, a pod in "+ns, func() error {
			_, err := pod(t, ns, "")
			return err
		})
	}
}
