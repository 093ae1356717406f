// Package chart proves the Helm chart on a real API server with the real Helm:
// what it installs, what its CRDs take and refuse, what its accounts may do, and
// that nothing of it is left. It holds tests only and must never be imported.
package chart

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

const (
	// root is the product's source tree.
	root      = "../../.."
	chartPath = root + "/charts/wasmesh"
	system    = "wasmesh-system"
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

// run returns what a program prints on both outputs: warnings are on the second.
func run(ctx context.Context, kubeconfig, stdin, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HOME="+filepath.Join(cluster.Home, "home"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func kubectl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	return run(t.Context(), kube.Kubeconfig, stdin, kube.Tools.Kubectl, args...)
}

// must is kubectl that has to work.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := kubectl(t, stdin, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return run(t.Context(), kube.Kubeconfig, "", kube.Tools.Helm, args...)
}

// install does what a user does, and undoes it when the test ends.
func install(t *testing.T, values ...string) {
	t.Helper()
	// A name is free when what had it is gone: of CRDs that takes a moment.
	await(t, "the CRDs of the test before are gone", func() error {
		if left := ours(t); left != "" {
			return fmt.Errorf("left: %s", left)
		}
		return nil
	})
	t.Cleanup(func() { uninstall(t) })
	args := append([]string{"install", "wasmesh", chartPath, "-n", system, "--create-namespace"}, values...)
	if out, err := helm(t, args...); err != nil {
		t.Fatalf("helm install: %v: %s", err, out)
	}
	must(t, "", "wait", "--for=condition=Established", "--timeout=30s", "crd", "-l", "app.kubernetes.io/part-of=wasmesh")
}

// uninstall undoes an installation; there may be none. An API server that has
// just made a CRD and is told to delete it tries to list its objects, is told by
// itself that their storage is being initialised, and tries again ever more
// rarely, for minutes. People are slower; here every kind is listed first.
func uninstall(t *testing.T) {
	t.Helper()
	ctx := context.Background() // that of a test has ended when it cleans up
	for _, kind := range []string{"tt", "htr", "tr", "ur", "ts", "workloads.wasmesh.io", "wf"} {
		for range 20 {
			out, err := run(ctx, kube.Kubeconfig, "", kube.Tools.Kubectl, "get", kind, "-A")
			if err == nil || !strings.Contains(out, "initializ") {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	if out, err := run(ctx, kube.Kubeconfig, "", kube.Tools.Helm, "uninstall", "wasmesh", "-n", system, "--ignore-not-found"); err != nil {
		t.Errorf("helm uninstall: %v: %s", err, out)
	}
}

// ours lists all that is in the cluster and carries the mesh's label or name.
func ours(t *testing.T) string {
	t.Helper()
	var left []string
	kinds := "crd,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration," +
		"deployment,service,serviceaccount,secret,lease,role,rolebinding,pdb,configmap,endpointslice"
	for line := range strings.Lines(must(t, "", "get", kinds, "-A", "--no-headers", "-o", "custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name")) {
		if strings.Contains(line, "wasmesh") && !strings.Contains(line, "Namespace") || strings.Contains(line, "smi-spec.io") {
			if !strings.Contains(line, "kube-root-ca.crt") && !strings.Contains(line, " default") {
				left = append(left, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return strings.Join(left, "\n")
}

// await tries until it works, or half a minute.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}
