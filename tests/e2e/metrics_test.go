package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metrics "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	metricsVersion = "metrics.smi-spec.io/v1alpha1"
	metricsBase    = "/apis/" + metricsVersion
	scrapeInterval = 2 * time.Second
)

// metricsAPI is asked as people, scripts and clients do: through the API server,
// which says who may.
func metricsAPI(t *testing.T) {
	await(t, "the aggregated API is available", settleTimeout, func() error {
		out, err := kube.Kubectl(t.Context(), "", "get", "apiservice", "v1alpha1.metrics.smi-spec.io", "-o", `jsonpath={.status.conditions[?(@.type=="Available")]}`)
		if err == nil && !strings.Contains(out, `"status":"True"`) {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	t.Run("discovery", metricsDiscovery)
	t.Run("figures", metricsFigures)
	t.Run("traffic", metricsTraffic)
	t.Run("every kind", metricsKinds)
	t.Run("tables", metricsTables)
	t.Run("errors", metricsErrors)
	t.Run("who may ask", metricsRights)
	t.Run("in the terminal", metricsInTheTerminal)
}

// metricsDiscovery: both of its forms, and no name of Kubernetes means another thing
// now.
func metricsDiscovery(t *testing.T) {
	list, err := kube.Client.Discovery().ServerResourcesForGroupVersion(metricsVersion)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, r := range list.APIResources {
		names = append(names, r.Name)
		if r.Kind != "TrafficMetrics" || !slices.Equal(r.Verbs, metav1.Verbs{"get", "list"}) || r.Namespaced == (r.Name == "namespaces") {
			t.Errorf("%+v", r)
		}
	}
	for _, want := range []string{"deployments", "pods", "daemonsets", "statefulsets", "namespaces", "trafficsplits"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	await(t, "kubectl finds the group", settleTimeout, func() error {
		out, err := kube.Kubectl(t.Context(), "", "api-resources", "--api-group=metrics.smi-spec.io", "--cached=false", "-o", "name")
		if err == nil && !strings.Contains(out, "deployments.metrics.smi-spec.io") {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	if _, _, err := kube.Client.Discovery().ServerGroupsAndResources(); err != nil {
		t.Errorf("all of discovery: %v", err)
	}
	for what, want := range map[string]string{"pods": "pod/", "deployments": "deployment.apps/"} {
		if out := kubectl(t, "get", what, "-n", "bookstore", "-o", "name"); !strings.HasPrefix(out, want) {
			t.Errorf("kubectl get %s: %s", what, out)
		}
	}
}

// asked is what a client with SMI's Go types gets.
func asked(t *testing.T, path string, into any) error {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	request := kube.Client.RESTClient().Get().AbsPath(metricsBase + path)
	for _, parameter := range strings.Split(query, "&") {
		if name, value, ok := strings.Cut(parameter, "="); ok {
			request.Param(name, value)
		}
	}
	text, err := request.DoRaw(t.Context())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// metricsTraffic: who called whom, and how often, is what the callers and the
// applications say, by Deployments, whichever pods they have.
func metricsTraffic(t *testing.T) {
	const calls = 60
	ns := namespace(t, "metered", inMesh)
	applyAll(t, allowed("server", ns+"/caller", ns+"/default"))
	apply(t, ns, caller+"---"+server)
	ready(t, ns, "server", 2)
	from := ready(t, ns, "caller", 1)[0]
	counted := func() (n int64, err error) {
		var edges metrics.TrafficMetricsList
		if err := asked(t, "/namespaces/"+ns+"/deployments/server/edges?t=5m", &edges); err != nil {
			return 0, err
		}
		for _, e := range edges.Items {
			r := e.Edge.Resource
			if r == nil || e.Edge.Direction != metrics.From || r.Namespace != ns || r.Name != from.Name || r.Kind != "Pod" {
				return 0, fmt.Errorf("an edge %+v", e.Edge)
			}
			n += e.Get("success_count").Value.Value()
		}
		return n, nil
	}
	// Counters that are read for the first time may have risen before: only what is
	// read after them is traffic of the window.
	await(t, "the sidecars are read", settleTimeout, func() error {
		expect(t, "200", from, "http://server/")
		if n, err := counted(); err != nil || n == 0 {
			return fmt.Errorf("%d requests are counted: %w", n, err)
		}
		return nil
	})
	time.Sleep(2 * scrapeInterval)
	before, err := counted()
	if err != nil {
		t.Fatal(err)
	}
	if answers := call(t.Context(), from, "app", "-count", fmt.Sprint(calls), "http://server/"); strings.Count(answers, `"pod":"server-`) != calls {
		t.Fatalf("%d calls were answered: %s", calls, answers)
	}
	await(t, "the API counts what the applications answered", settleTimeout, func() error {
		if now, err := counted(); err != nil || now-before != calls {
			return fmt.Errorf("%d requests after %d, while %d were answered: %w", now, before, calls, err)
		}
		return nil
	})
}

func metricsFigures(t *testing.T) {
	var one metrics.TrafficMetrics
	await(t, "the sidecars are read", settleTimeout, func() error {
		one = metrics.TrafficMetrics{}
		if err := asked(t, "/namespaces/bookstore/deployments/bookstore-v1?t=4s", &one); err != nil {
			return err
		}
		if why := one.Annotations["wasmesh.io/partial"]; why != "" {
			return fmt.Errorf("it is partial: %s", why)
		}
		return nil
	})
	if one.Interval == nil || one.Window.Duration != 4*time.Second || time.Since(one.Timestamp.Time) > time.Minute || len(one.Metrics) != 5 || one.Resource.Name != "bookstore-v1" {
		t.Errorf("%+v", one)
	}
	for _, name := range []string{"p99_response_latency", "p90_response_latency", "p50_response_latency", "success_count", "failure_count"} {
		if m := one.Get(name); m == nil || m.Value == nil {
			t.Errorf("%s is missing", name)
		}
	}
	for path, want := range map[string][]string{
		"/deployments?labelSelector=app=bookstore":                        {"bookstore-v1", "bookstore-v2"},
		"/namespaces/bookstore/deployments":                               {"bookstore-v1", "bookstore-v2"},
		"/namespaces/bookbuyer/deployments":                               {"bookbuyer"},
		"/namespaces?fieldSelector=metadata.name=bookstore":               {"bookstore"},
		"/namespaces/bookstore/deployments?labelSelector=app=nothing":     nil,
		"/namespaces/no-such/deployments":                                 nil,
		"/namespaces/bookstore/deployments?labelSelector=version in (v1)": {"bookstore-v1"},
	} {
		var list metrics.TrafficMetricsList
		if err := asked(t, path, &list); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var names []string
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%s: %v, want %v", path, names, want)
		}
	}
	var edges metrics.TrafficMetricsList
	for _, path := range []string{"/namespaces/bookstore/edges", "/namespaces/bookstore/deployments/bookstore-v1/edges"} {
		if err := asked(t, path, &edges); err != nil || edges.Kind != "TrafficMetricsList" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if out := kubectl(t, "get", "--raw", metricsBase+"/namespaces/bookstore/pods"); strings.Count(out, `"kind":"TrafficMetrics"`) != 2 {
		t.Errorf("%s", out)
	}
}

// metricsInTheTerminal asks a replica as its operator would.
func metricsInTheTerminal(t *testing.T) {
	p := readyReplicas(t)[0]
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"top", "--once", "--edges"}, "SUCCESS"}, {[]string{"graph", "-o", "mermaid"}, "graph LR"}} {
		args := append([]string{"wasmesh"}, append(c.args, "--status", "/run/wasmesh/status.sock")...)
		code, out, err := node(&p).Exec(t.Context(), &p, "controlplane", args...)
		if err != nil || code != 0 || !strings.Contains(string(out), c.want) {
			t.Errorf("%v: %d %v %s", args, code, err, out)
		}
	}
}

// metricsTables: SMI gives all resources one kind, and kubectl get finds deployments
// by it; tables of the others are there for clients that ask by path.
func metricsTables(t *testing.T) {
	out := kubectl(t, "get", "deployments.metrics.smi-spec.io", "-n", "bookstore")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !slices.Equal(strings.Fields(lines[0]), []string{"NAME", "KIND", "PEER", "SUCCESS", "RPS", "P50", "P90", "P99", "WINDOW", "NOTE"}) || !strings.HasPrefix(lines[1], "bookstore-v1 ") {
		t.Errorf("%s", out)
	}
	out = kubectl(t, "get", "deployments.metrics.smi-spec.io", "-A", "-l", "app=bookbuyer")
	lines = strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "NAMESPACE") || !slices.Equal(strings.Fields(lines[1])[:3], []string{"bookbuyer", "bookbuyer", "Deployment"}) {
		t.Errorf("%s", out)
	}
	if out := kubectl(t, "get", "deployments.metrics.smi-spec.io", "bookstore-v1", "-n", "bookstore", "-o", "jsonpath={.resource.kind}"); out != "Deployment" {
		t.Errorf("%s", out)
	}
}

// metricsErrors are those of Kubernetes, each with a reason.
func metricsErrors(t *testing.T) {
	for path, is := range map[string]func(error) bool{
		"/namespaces/bookstore/replicasets":                    apierrors.IsNotFound,
		"/namespaces/bookstore/deployments/absent":             apierrors.IsNotFound,
		"/namespaces/bookstore/deployments/a/edges/more":       apierrors.IsNotFound,
		"/namespaces/bookstore/deployments?t=0s":               apierrors.IsBadRequest,
		"/namespaces/bookstore/deployments?t=-1s":              apierrors.IsBadRequest,
		"/namespaces/bookstore/deployments?t=8760h":            apierrors.IsBadRequest,
		"/namespaces/bookstore/deployments?t=soon":             apierrors.IsBadRequest,
		"/namespaces/bookstore/deployments?labelSelector=a in": apierrors.IsBadRequest,
		"/namespaces/bookstore/deployments?watch=true":         apierrors.IsMethodNotSupported,
		"/namespaces/bookstore/deployments?fieldSelector=a=b":  apierrors.IsBadRequest,
	} {
		err := asked(t, path, &metrics.TrafficMetricsList{})
		status, ok := err.(apierrors.APIStatus)
		if !is(err) || !ok || status.Status().Message == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// metricsRights: the API server asks its own rules; and nobody gets by it, whatever
// certificate and headers are shown.
func metricsRights(t *testing.T) {
	ns := namespace(t, "metrics-reader", nil)
	kubectl(t, "create", "rolebinding", "viewer", "-n", "bookstore", "--clusterrole=view", "--serviceaccount="+ns+":default")
	defer kubectl(t, "delete", "rolebinding", "viewer", "-n", "bookstore")
	config := rest.CopyConfig(kube.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + ns + ":default", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	reader, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) error {
		_, err := reader.RESTClient().Get().AbsPath(metricsBase + path).DoRaw(t.Context())
		return err
	}
	for _, path := range []string{"/namespaces/bookstore/deployments", "/namespaces/bookstore/deployments/bookstore-v1/edges", "/namespaces/bookstore/edges"} {
		await(t, "who may view a namespace may view its traffic", settleTimeout, func() error { return get(path) })
	}
	for _, path := range []string{"/deployments", "/namespaces/bookbuyer/deployments", "/namespaces/bookbuyer/edges", "/namespaces", "/namespaces/bookstore/../bookbuyer/deployments"} {
		if err := get(path); !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
	admin, err := rest.TLSConfigFor(kube.Config)
	if err != nil {
		t.Fatal(err)
	}
	admin.InsecureSkipVerify = true
	for _, p := range readyReplicas(t) {
		for name, config := range map[string]*tls.Config{"the administrator": admin, "a stranger": {InsecureSkipVerify: true}} {
			if code, said := pastTheAPIServer(t, p, config); code != 0 {
				t.Errorf("%s gets %d past the API server: %s", name, code, said)
			}
		}
	}
}

// pastTheAPIServer asks a replica itself, in the name of somebody who may everything.
func pastTheAPIServer(t *testing.T, p corev1.Pod, config *tls.Config) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+net.JoinHostPort(p.Status.PodIP, "15017")+metricsBase+"/deployments", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Remote-User", "admin")
	r.Header.Set("X-Remote-Group", "system:masters")
	response, err := client.Do(r)
	if err != nil {
		if !strings.Contains(err.Error(), "tls") {
			t.Errorf("it is no refusal: %v", err)
		}
		return 0, ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	return response.StatusCode, string(body)
}
