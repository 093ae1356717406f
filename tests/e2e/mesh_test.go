package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	system = "wasmesh-system"
	chart  = root + "/charts/wasmesh"
	books  = root + "/examples/kubernetes/bookstore"
)

// store is the Service that the bookstore's buyers call.
const store = "http://bookstore.bookstore:14001"

// TestMesh installs the chart as a user would and runs the bookstore on it: each
// step goes on where the one before ended.
func TestMesh(t *testing.T) {
	if !t.Run("install", install) {
		return
	}
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"bookstore", startBookstore},
		{"startup", startup},
		{"access", access},
		{"metrics API", metricsAPI},
		{"around the proxy", aroundTheProxy},
		{"excluded port", excludedPort},
		{"replicas", replicas},
		{"refusal", refusal},
		{"split", split},
		{"conformance", conformance},
		{"counters", counters},
		{"rollout", rollout},
		{"twenty pods replaced", twentyReplaced},
		{"same name elsewhere", sameName},
		{"plaintext", plaintext},
		{"job", job},
		{"stateful", stateful},
		{"two containers", twoContainers},
		{"services without pods of their own", foreignServices},
		{"from outside", fromOutside},
		{"probes", probes},
		{"unready", unready},
		{"canary", canary},
		{"edits", editLatency},
		{"outage", outage},
		{"skew", skew}, // the last: it leaves sidecars of the build before
	}
	for _, s := range steps {
		if !t.Run(s.name, s.run) {
			for _, ns := range []string{"bookbuyer", "bookstore", system} {
				describe(t.Context(), t, ns)
			}
		}
	}
	t.Run("uninstall leaves nothing", uninstall)
}

func install(t *testing.T) {
	out, err := kube.Helm(t.Context(), "install", "wasmesh", chart, "--namespace", system, "--create-namespace", "--wait", "--timeout", "90s",
		"--set", "metricsAPI.enabled=true", "--set", "metricsAPI.scrapeInterval="+scrapeInterval.String(),
		"--set", "sidecar.plaintextMetrics=true")
	if err != nil {
		describe(t.Context(), t, system)
		t.Fatalf("%v\n%s", err, out)
	}
	ready := podsOf(t, system)
	if len(ready) == 0 {
		t.Error("helm waited for nothing")
	}
}

func startBookstore(t *testing.T) {
	for _, file := range []string{"namespaces.yaml", "apps.yaml"} {
		if out, err := kube.Kubectl(t.Context(), "", "apply", "-f", filepath.Join(books, file)); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for app, count := range map[string]int{"bookbuyer": 1, "bookthief": 1, "bookwarehouse": 1, "bookstore": 2} {
		for _, p := range ready(t, app, app, count) {
			if p.Labels["wasmesh.io/sidecar"] != "injected" {
				t.Errorf("%s has no sidecar", p.Name)
			}
		}
	}
}

// one gives the one pod of an application of the bookstore.
func one(t *testing.T, app string) corev1.Pod {
	t.Helper()
	return ready(t, app, app, 1)[0]
}

// access: nothing by default, what a TrafficTarget says, what it says after an
// edit, and nothing again.
func access(t *testing.T) {
	buyer, thief := one(t, "bookbuyer"), one(t, "bookthief")
	expectFrom(t, buyer, "buyer", "403", store+"/books-bought")
	expectFrom(t, thief, "thief", "403", store+"/books-bought")
	manifest, err := os.ReadFile(filepath.Join(root, "examples/bookstore/access.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	applyAll(t, string(manifest))
	expectFrom(t, buyer, "buyer", "200", store+"/books-bought")
	expectFrom(t, buyer, "buyer", "200", store+"/buy-a-book")
	expectFrom(t, buyer, "buyer", "403", store+"/something-else")
	expectFrom(t, thief, "thief", "403", store+"/books-bought")
	applyAll(t, strings.Replace(string(manifest), "[books-bought, buy-a-book, preview]", "[buy-a-book]", 1))
	expectFrom(t, buyer, "buyer", "403", store+"/books-bought")
	expectFrom(t, buyer, "buyer", "200", store+"/buy-a-book")
	kubectl(t, "delete", "traffictarget", "-n", "bookstore", "buyers")
	expectFrom(t, buyer, "buyer", "403", store+"/buy-a-book")
	applyAll(t, string(manifest))
	expectFrom(t, buyer, "buyer", "200", store+"/books-bought")
}

// aroundTheProxy: from a pod without a sidecar, and from one with, nobody reaches
// an application at its own address, in either family.
func aroundTheProxy(t *testing.T) {
	ns := namespace(t, "outside", nil)
	apply(t, ns, client)
	outside := ready(t, ns, "client", 1)[0]
	thief := one(t, "bookthief")
	for _, p := range ready(t, "bookstore", "bookstore", 2) {
		for _, ip := range p.Status.PodIPs {
			for _, port := range []string{"14001", "15001", "15006"} {
				url := "http://" + net.JoinHostPort(ip.IP, port) + "/books-bought"
				if answer := call(t.Context(), outside, "app", url); !strings.HasPrefix(answer, "0 ") {
					t.Errorf("without a sidecar, %s answers %s", url, answer)
				}
				if answer := call(t.Context(), thief, "thief", url); strings.HasPrefix(answer, "200 ") {
					t.Errorf("with a sidecar that has no right, %s answers %s", url, answer)
				}
			}
		}
	}
	// The same client reaches who is not in the mesh.
	apply(t, ns, server)
	ready(t, ns, "server", 2)
	expect(t, "200", outside, "http://server/")
}

// excludedPort: only the port that an annotation names is reached around the
// proxy, which also shows that aroundTheProxy could find one that is open.
func excludedPort(t *testing.T) {
	ns := namespace(t, "excluded", inMesh)
	apply(t, ns, `
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}, annotations: {wasmesh.io/exclude-inbound-ports: "9090"}}
spec:
  containers:
  - {name: app, image: app, args: [serve, --listen, ":8080,:9090"], ports: [{name: http, containerPort: 8080}, {containerPort: 9090}]}
`)
	plain := namespace(t, "excluded-outside", nil)
	apply(t, plain, client)
	outside := ready(t, plain, "client", 1)[0]
	for _, ip := range ready(t, ns, "server", 1)[0].Status.PodIPs {
		expect(t, "200", outside, "http://"+net.JoinHostPort(ip.IP, "9090")+"/")
		expect(t, "0", outside, "http://"+net.JoinHostPort(ip.IP, "8080")+"/")
	}
}

func uninstall(t *testing.T) {
	if out, err := kube.Helm(t.Context(), "uninstall", "wasmesh", "--namespace", system, "--wait", "--timeout", "90s"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	await(t, "nothing of the mesh is left", settleTimeout, func() error {
		left := leftovers(t)
		if len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		return nil
	})
}

// leftovers names everything in the cluster that speaks of the mesh, but the
// applications' own pods and namespaces.
func leftovers(t *testing.T) []string {
	t.Helper()
	var left []string
	kinds := "customresourcedefinitions,apiservices,clusterroles,clusterrolebindings,mutatingwebhookconfigurations," +
		"validatingwebhookconfigurations,roles,rolebindings,configmaps,secrets,services,deployments,leases,serviceaccounts,poddisruptionbudgets"
	for _, name := range strings.Fields(kubectl(t, "get", kinds, "--all-namespaces", "-o", "name")) {
		if strings.Contains(name, "wasmesh") || strings.Contains(name, "smi-spec.io") {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return left
}

func podsOf(t *testing.T, namespace string) []corev1.Pod {
	t.Helper()
	pods, err := kube.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pods.Items
}
