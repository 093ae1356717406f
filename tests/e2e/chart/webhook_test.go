package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// controlPlane is the program, run as the chart runs it: with the arguments of the
// Deployment, as its service account and with nothing else's rights.
type controlPlane struct {
	cmd *exec.Cmd
	log *lines
	// slice has the API server find it.
	slice string
}

// lines collects what a program prints.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func startControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	module, err := filepath.Abs(filepath.Join(root, "bin/mesh.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(module); err != nil {
		t.Fatalf("%v: run `make module`", err)
	}
	folder := t.TempDir()
	args := strings.Split(must(t, "", "get", "deployment", "wasmesh-controlplane", "-n", system, "-o",
		`jsonpath={range .spec.template.spec.containers[0].args[*]}{@}{"\n"}{end}`), "\n")
	replace := strings.NewReplacer("$(POD_NAMESPACE)", system, "$(POD_NAME)", "replica-1", "/var/lib/wasmesh", folder,
		"/usr/local/share/wasmesh/mesh.wasm", module, "/run/wasmesh", folder)
	for i := range args {
		args[i] = replace.Replace(args[i])
	}
	c := &controlPlane{log: &lines{}}
	c.cmd = exec.Command(wasmesh(), append(args[:len(args)-1], "--kubeconfig="+asAccount(t, "wasmesh-controlplane"))...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stop(t) })
	// No kubelet runs here, so no pod stands behind the Service.
	if c.slice, err = kube.StandIn(t.Context(), system, "wasmesh-controlplane", 15014); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = kube.Kubectl(context.Background(), "", "delete", "endpointslice", c.slice, "-n", system)
	})
	return c
}

// stop ends the program, once.
func (c *controlPlane) stop(t *testing.T) {
	if c.cmd.ProcessState != nil {
		return
	}
	_ = c.cmd.Process.Kill() // it may have ended
	_ = c.cmd.Wait()         // by that signal
	if t.Failed() {
		t.Logf("the control plane said:\n%s", c.log)
	}
}

// asAccount returns a kubeconfig that has a service account's token.
func asAccount(t *testing.T, account string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := kube.As(t.Context(), system, account, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestControlPlaneWithItsRightsOnly: the rights of the chart are enough for the
// whole work, what the control plane makes goes when the chart goes, and the
// webhook answers through the Service with a certificate of its own making, and
// is not missed when it is out.
func TestControlPlaneWithItsRightsOnly(t *testing.T) {
	install(t)
	must(t, "", "create", "ns", "meshed")
	t.Cleanup(func() { _, _ = kube.Kubectl(context.Background(), "", "delete", "ns", "meshed", "--wait=false") })
	c := startControlPlane(t)
	must(t, "", "label", "ns", "meshed", "wasmesh.io/inject=enabled")
	for what, object := range map[string]string{
		"the authority's key":         "secret/wasmesh-ca -n " + system + " -o jsonpath={.data}",
		"the webhook's certificate":   "secret/wasmesh-webhook-tls -n " + system + " -o jsonpath={.data.tls\\.crt}",
		"the webhook's bundle":        "validatingwebhookconfiguration/wasmesh-controlplane -o jsonpath={.webhooks[0].clientConfig.caBundle}",
		"the leader":                  "lease/wasmesh-controlplane -n " + system + " -o jsonpath={.spec.holderIdentity}",
		"the roots in the namespace":  "configmap/wasmesh-roots -n meshed -o jsonpath={.data.roots\\.pem}",
		"who owns the roots":          "configmap/wasmesh-roots -n meshed -o jsonpath={.metadata.ownerReferences[0].uid}",
		"that it is ready to the API": "--raw /readyz",
	} {
		await(t, what, func() error {
			out, err := kubectl(t, "", append([]string{"get"}, strings.Fields(object)...)...)
			if err != nil || out == "" || out == "{}" {
				return fmt.Errorf("%s: %w: %s", what, errors.Join(err), out)
			}
			return nil
		})
	}

	await(t, "the webhook refuses", func() error {
		out, err := kubectl(t, strings.Replace(group, "/books$", "/books(", 1), "create", "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(out, "validate.wasmesh.io") || !strings.Contains(out, "missing closing )") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	t.Run("bad objects", badObjects)
	for name, w := range map[string]struct{ object, old, new, says string }{
		"rule 14":              {target, "web, namespace: default", "web, namespace: other", "Move the TrafficTarget"},
		"rule 51":              {group, "[{name: get", "[{name: get}, {name: get", "Rename one"},
		"a field that is lost": {group, "pathRegex", "pathregex", "the field is unknown"},
		"written as v1alpha3":  {strings.Replace(group, "v1alpha4", "v1alpha3", 1), "/books$", "/books**", "invalid"},
	} {
		if out, err := kubectl(t, strings.Replace(w.object, w.old, w.new, 1), "create", "--dry-run=server", "--validate=false", "-f", "-"); err == nil || !strings.Contains(out, w.says) {
			t.Errorf("%s: want a refusal that says %q: %v: %s", name, w.says, err, out)
		}
		if out, err := kubectl(t, w.object, "create", "--dry-run=server", "-f", "-"); err != nil {
			t.Errorf("%s, the good one: %s", name, out)
		}
	}
	// What is missing may come: a warning.
	out := must(t, target, "create", "-f", "-")
	if !strings.Contains(out, `Warning: `) || !strings.Contains(out, `HTTPRouteGroup "web" does not exist`) {
		t.Errorf("nothing is said of what is missing: %s", out)
	}
	if out := must(t, quantities, "create", "-f", "-"); !strings.Contains(out, `Service "web" does not exist`) {
		t.Errorf("nothing is said of a missing service: %s", out)
	}
	// In the newest version the weights are text that it would refuse, but only
	// what an edit brings counts.
	must(t, "", "annotate", "ts", "one", "-n", "default", "a=b")
	must(t, vm+"---"+filter, "create", "-f", "-")
	await(t, "what became of own kinds is on them", func() error {
		for _, o := range []string{"workload/one", "wf/one"} {
			if out := must(t, "", "get", o, "-n", "default", "-o", "jsonpath={.status.conditions[*].type}"); !strings.Contains(out, "Accepted") {
				return fmt.Errorf("%s: %q", o, out)
			}
		}
		return nil
	})
	await(t, "what became of kinds of SMI is in Events", func() error {
		if out := must(t, "", "get", "events", "-n", "default"); !strings.Contains(out, "traffictarget/one") {
			return fmt.Errorf("events:\n%s", out)
		}
		return nil
	})

	c.stop(t)
	began := time.Now()
	must(t, strings.NewReplacer("name: one", "name: unjudged", "/books$", "/books(").Replace(group), "create", "-f", "-")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("without the webhook an object took %s", took)
	}
	if strings.Contains(c.log.String(), "forbidden") {
		t.Errorf("a right is missing:\n%s", c.log)
	}
	must(t, "", "delete", "endpointslice", c.slice, "-n", system)
	uninstall(t)
	await(t, "nothing is left, in meshed namespaces either", func() error {
		if left := ours(t); left != "" {
			return fmt.Errorf("left:\n%s", left)
		}
		return nil
	})
}
