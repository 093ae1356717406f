package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	split1 "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha1"
	split2 "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/split/v1alpha2"
	splits "github.com/servicemeshinterface/smi-sdk-go/pkg/gen/client/split/clientset/versioned"
	"github.com/wasmesh/wasmesh/tests/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// canaryInterval is the window of the analysis: some scrapes of a second.
const canaryInterval = "5s"

// delivery writes the split as one client of SMI does.
type delivery interface {
	create(t *testing.T, ns string)
	weigh(t *testing.T, ns string, canary int)
}

// canary: clients of progressive delivery shift traffic by SMI's splits, judge by what
// a Prometheus of the user's reads from sidecars, and go back on errors.
func canary(t *testing.T) {
	server := startPrometheus(t)
	client, err := splits.NewForConfig(kube.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{"sum(wasmesh_controlplane_proxies)", `sum(wasmesh_injector_admissions_total{outcome="injected"})`} {
		await(t, "Prometheus reads "+own, settleTimeout, func() error {
			if n, known := query(t, server, own); !known || n == 0 {
				return fmt.Errorf("%v (%v)", n, known)
			}
			return nil
		})
	}
	for name, d := range map[string]delivery{"flagger": flagger{client}, "argo-rollouts": argo{client}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deliver(t, name, d, server)
		})
	}
}

const canaryWorkload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: app, image: app, args: [serve], ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [{name: http, port: 80, targetPort: http}]}
---
`

// deliver takes a good canary to all of the traffic, and a bad one back to none.
func deliver(t *testing.T, name string, d delivery, server prometheus.Server) {
	ns := namespace(t, name, inMesh)
	applyAll(t, allowed("all", ns+"/default", ns+"/default"))
	apply(t, ns, fmt.Sprintf(canaryWorkload, "shop-canary")+fmt.Sprintf(canaryWorkload, "shop-primary")+
		"apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {selector: {app: shop-primary}, ports: [{name: http, port: 80, targetPort: http}]}\n---\n"+client)
	from := ready(t, ns, "client", 1)[0]
	ready(t, ns, "shop-canary", 1)
	ready(t, ns, "shop-primary", 1)
	d.create(t, ns)
	shares := func(weight int) {
		t.Helper()
		await(t, fmt.Sprintf("the canary has %d %%", weight), settleTimeout, func() error {
			answers := call(t.Context(), from, "app", "-count", "40", "http://shop/")
			primary, canary := strings.Count(answers, `"pod":"shop-primary`), strings.Count(answers, `"pod":"shop-canary`)
			if primary+canary != 40 || (canary > 0) != (weight > 0) || (primary > 0) != (weight < 100) {
				return fmt.Errorf("%d of the canary, %d of the primary: %.200s", canary, primary, answers)
			}
			return nil
		})
	}
	judged := func(good bool) {
		t.Helper()
		await(t, fmt.Sprintf("the analysis says %v", good), settleTimeout, func() error {
			call(t.Context(), from, "app", "-count", "40", "-pause", "5ms", "http://shop/")
			success, known := query(t, server, successRate(ns, "shop-canary"))
			ms, timed := query(t, server, requestDuration(ns, "shop-canary"))
			// Where no request succeeded there is no value: Flagger then does not go on.
			if !timed || (known && success >= 99) != good || ms > 500 {
				return fmt.Errorf("%v %% (%v), %v ms (%v)", success, known, ms, timed)
			}
			return nil
		})
	}
	shares(0)
	if success, known := query(t, server, successRate(ns, "shop-canary")); known {
		t.Errorf("without traffic, the success rate is %v", success)
	}
	for _, weight := range []int{50, 100} {
		d.weigh(t, ns, weight)
		shares(weight)
		judged(true)
	}
	d.weigh(t, ns, 0)
	shares(0)
	kubectl(t, "patch", "-n", ns, "deployment", "shop-canary", "--type=json", "-p", `[{"op":"replace","path":"/spec/template/spec/containers/0/args","value":["serve","--status","500"]}]`)
	kubectl(t, "rollout", "status", "-n", ns, "deployment", "shop-canary", "--timeout=60s")
	d.weigh(t, ns, 50)
	shares(50)
	judged(false)
	d.weigh(t, ns, 0)
	shares(0)
	if answers := call(t.Context(), from, "app", "-count", "40", "http://shop/"); strings.Count(answers, "200 ") != 40 {
		t.Errorf("after it went back: %s", answers)
	}
}

// successRate and requestDuration are what Flagger's provider "osm" asks
// (fluxcd/flagger, pkg/metrics/observers/osm.go).
func successRate(ns, target string) string {
	of := fmt.Sprintf(`destination_namespace=%q,destination_kind="Deployment",destination_name=%q`, ns, target)
	return fmt.Sprintf(`sum(rate(osm_request_total{%[1]s,response_code!~"5.*"}[%[2]s])) / sum(rate(osm_request_total{%[1]s}[%[2]s])) * 100`, of, canaryInterval)
}

func requestDuration(ns, target string) string {
	return fmt.Sprintf(`histogram_quantile(0.99, sum(rate(osm_request_duration_ms_bucket{destination_namespace=%q,destination_kind="Deployment",destination_name=%q}[%s])) by (le))`, ns, target, canaryInterval)
}

// flagger names the split after the service, in v1alpha2, the canary first, and
// updates the whole object.
type flagger struct{ client splits.Interface }

func (f flagger) split(canary int) split2.TrafficSplitSpec {
	return split2.TrafficSplitSpec{Service: "shop", Backends: []split2.TrafficSplitBackend{
		{Service: "shop-canary", Weight: canary}, {Service: "shop-primary", Weight: 100 - canary},
	}}
}

func (f flagger) create(t *testing.T, ns string) {
	t.Helper()
	object := &split2.TrafficSplit{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: ns, OwnerReferences: controlledBy(t, ns)}, Spec: f.split(0)}
	if _, err := f.client.SplitV1alpha2().TrafficSplits(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (f flagger) weigh(t *testing.T, ns string, canary int) {
	t.Helper()
	object, err := f.client.SplitV1alpha2().TrafficSplits(ns).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	object.Spec = f.split(canary)
	if _, err := f.client.SplitV1alpha2().TrafficSplits(ns).Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// argo names the split after the rollout, in v1alpha1 with weights that are
// quantities, the stable one last, and patches what changed.
type argo struct{ client splits.Interface }

func (a argo) split(canary int) split1.TrafficSplitSpec {
	weight := func(n int) *resource.Quantity { return resource.NewQuantity(int64(n), resource.DecimalExponent) }
	return split1.TrafficSplitSpec{Service: "shop", Backends: []split1.TrafficSplitBackend{
		{Service: "shop-canary", Weight: weight(canary)}, {Service: "shop-primary", Weight: weight(100 - canary)},
	}}
}

func (a argo) create(t *testing.T, ns string) {
	t.Helper()
	object := &split1.TrafficSplit{ObjectMeta: metav1.ObjectMeta{Name: "rollout", Namespace: ns, OwnerReferences: controlledBy(t, ns)}, Spec: a.split(0)}
	if _, err := a.client.SplitV1alpha1().TrafficSplits(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (a argo) weigh(t *testing.T, ns string, canary int) {
	t.Helper()
	object, err := a.client.SplitV1alpha1().TrafficSplits(ns).Get(t.Context(), "rollout", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	texts := [2][]byte{}
	for i, spec := range []split1.TrafficSplitSpec{object.Spec, a.split(canary)} {
		if texts[i], err = json.Marshal(split1.TrafficSplit{Spec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(texts[0], texts[1], split1.TrafficSplit{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.client.SplitV1alpha1().TrafficSplits(ns).Patch(t.Context(), "rollout", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
}

// controlledBy stands for the client's own object.
func controlledBy(t *testing.T, ns string) []metav1.OwnerReference {
	t.Helper()
	d, err := kube.Client.AppsV1().Deployments(ns).Get(t.Context(), "shop-primary", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
}

// startPrometheus runs one by the configuration that users are given. What it finds by
// itself in a cluster, Debian's cannot: it was built without that.
func startPrometheus(t *testing.T) prometheus.Server {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "examples/monitoring/prometheus.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := `http_sd_configs: [{url: "` + announced(t) + `", refresh_interval: 1s}]`
	return prometheus.Start(t, strings.NewReplacer("kubernetes_sd_configs: [{role: pod}]", found,
		"scrape_interval: 10s", "scrape_interval: 1s", "scrape_timeout: 5s", "scrape_timeout: 900ms", "rule_files: [alerts.yaml]", "").Replace(string(text)))
}

// announced serves the containers of all pods with the labels that Prometheus's own
// discovery of pods gives them.
func announced(t *testing.T) string {
	t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pods, err := kube.Client.CoreV1().Pods("").List(r.Context(), metav1.ListOptions{})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		groups := []group{}
		for _, p := range pods.Items {
			for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
				for _, port := range append(c.Ports, corev1.ContainerPort{})[:max(1, len(c.Ports))] {
					groups = append(groups, group{[]string{net.JoinHostPort(p.Status.PodIP, fmt.Sprint(port.ContainerPort))}, discovered(p, c, port)})
				}
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(groups)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// discovered are the labels of role pod in Prometheus's documentation of kubernetes_sd_config.
func discovered(p corev1.Pod, c corev1.Container, port corev1.ContainerPort) map[string]string {
	const prefix = "__meta_kubernetes_"
	labels := map[string]string{
		prefix + "namespace": p.Namespace, prefix + "pod_name": p.Name, prefix + "pod_ip": p.Status.PodIP,
		prefix + "pod_phase": string(p.Status.Phase), prefix + "pod_container_name": c.Name, prefix + "pod_container_port_name": port.Name,
	}
	word := regexp.MustCompile(`[^a-zA-Z0-9_]`)
	for name, value := range p.Annotations {
		labels[prefix+"pod_annotation_"+word.ReplaceAllString(name, "_")] = value
	}
	for name, value := range p.Labels {
		labels[prefix+"pod_label_"+word.ReplaceAllString(name, "_")] = value
	}
	return labels
}

// query asks for one value, as Flagger does; known: there is one, and it is a number.
func query(t *testing.T, server prometheus.Server, text string) (value float64, known bool) {
	t.Helper()
	samples := server.Query(t, text)
	if len(samples) != 1 || math.IsNaN(samples[0].Value) {
		return 0, false
	}
	return samples[0].Value, true
}
