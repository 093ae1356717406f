// Package inject proves injection on a real API server with the chart installed
// and the injector running with the rights that the chart gives it, and no
// others. It holds tests only and must never be imported.
package inject

import (
	"context"
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
)

const (
	root   = "../../.." // the product's source tree
	system = "wasmesh-system"
)

var kube *cluster.Cluster

func TestMain(m *testing.M) {
	cluster.Main(m, root, build, func(_ context.Context, c *cluster.Cluster, _ *slog.Logger) error {
		kube = c
		return nil
	})
}

// wasmesh is the program under test.
func wasmesh() string {
	path, err := filepath.Abs(filepath.Join(root, "bin/e2e/wasmesh"))
	if err != nil {
		return "wasmesh" // starting it will say so
	}
	return path
}

func build() error { return cluster.GoBuild(root, cluster.Static, "-o", wasmesh(), ".") }

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
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := kube.As(t.Context(), system, "wasmesh-injector", file); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(wasmesh(), "injector", "--kubeconfig", file, "--namespace", system, "--listen", ":9443")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(cmd) })
	if _, err := kube.StandIn(t.Context(), system, "wasmesh-injector", 9443); err != nil {
		t.Fatal(err)
	}
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
	out, err := exec.CommandContext(t.Context(), kube.Tools.Helm, "install", "wasmesh", root+"/charts/wasmesh", "-n", system, "--create-namespace", "--kubeconfig", kube.Kubeconfig).CombinedOutput()
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
