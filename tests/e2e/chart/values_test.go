package chart

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/wasmesh/wasmesh/injector/inject"
)

// everything is a file of values in which nothing is as it is by default.
const everything = `
image: {repository: registry.example/a, tag: v1, pullPolicy: Always}
sidecarImage: {repository: registry.example/b, tag: v2, pullPolicy: Never}
imagePullSecrets: [{name: own}]
mesh: {trustDomain: a.example, mode: audit, plaintext: grace, pathMatch: full, leafLifetime: 1h30m}
sidecar:
  imagePullSecrets: [{name: pods}]
  logLevel: info
  concurrency: 4
  drainSeconds: 20
  startSeconds: 60
  plaintextMetrics: true
  resources:
    requests: {cpu: 50m, memory: 96Mi}
    limits: {cpu: 1, memory: null}
controlPlane: &component
  replicas: 3
  resources: {requests: {cpu: 200m, memory: 1Gi}, limits: {memory: 2Gi}}
  nodeSelector: {disk: ssd}
  tolerations: [{key: dedicated, operator: Equal, value: mesh, effect: NoSchedule}]
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector: {matchLabels: {app.kubernetes.io/part-of: wasmesh}}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: {matchLabels: {app.kubernetes.io/part-of: wasmesh}}
  priorityClassName: system-cluster-critical
  annotations: {example.com/owner: platform}
  podAnnotations: {example.com/scrape: "true"}
  podDisruptionBudget: {enabled: true, maxUnavailable: 50%}
injector: *component
`

func valuesFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rendered are the objects of the chart by kind/name.
func rendered(t *testing.T, values ...string) map[string]*unstructured.Unstructured {
	t.Helper()
	out, err := helm(t, append([]string{"template", "wasmesh", chartPath, "-n", system}, values...)...)
	if err != nil {
		t.Fatalf("template: %v: %s", err, out)
	}
	all := map[string]*unstructured.Unstructured{}
	d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(out)), 4096)
	for {
		var o unstructured.Unstructured
		if err := d.Decode(&o.Object); err != nil {
			break // its end
		}
		if o.Object != nil {
			all[o.GetKind()+"/"+o.GetName()] = &o
		}
	}
	return all
}

func settings(t *testing.T, all map[string]*unstructured.Unstructured) string {
	t.Helper()
	text, _, err := unstructured.NestedString(all["ConfigMap/wasmesh-sidecar"].Object, "data", "sidecar.yaml")
	if err != nil || text == "" {
		t.Fatalf("no settings: %v", err)
	}
	return text
}

// TestSharedDefaults: the chart and `wasmesh inject` make the same sidecar where
// nobody says otherwise.
func TestSharedDefaults(t *testing.T) {
	text := settings(t, rendered(t))
	got, err := inject.ParseSettings([]byte(text), inject.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if want := inject.Defaults(); !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("the chart says\n%+v\nthe programs\n%+v", got, want)
	}
}

// TestEverySetting: what is said in the values arrives in the objects, and the API
// server takes them all.
func TestEverySetting(t *testing.T) {
	file := valuesFile(t, everything)
	if out, err := helm(t, "lint", "--strict", chartPath, "-f", file); err != nil {
		t.Fatalf("lint: %v: %s", err, out)
	}
	const elsewhere = "mesh-of-mine"
	must(t, "", "create", "ns", elsewhere)
	t.Cleanup(func() { _, _ = kube.Kubectl(context.Background(), "", "delete", "ns", elsewhere, "--wait=false") })
	out, err := helm(t, "template", "wasmesh", chartPath, "-n", elsewhere, "-f", file)
	if err != nil {
		t.Fatal(err)
	}
	must(t, out, "create", "--dry-run=server", "--validate=strict", "-f", "-")
	all := rendered(t, "-f", file)
	got, err := inject.ParseSettings([]byte(settings(t, all)), inject.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	want := inject.Settings{
		Version: inject.Release, Image: "registry.example/b:v2", ImagePullPolicy: corev1.PullNever, ImagePullSecrets: []string{"pods"},
		SystemNamespace: system, Concurrency: 4, LogLevel: "info", DrainSeconds: 20, StartSeconds: 60, PlaintextMetrics: true,
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("96Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")},
		},
	}
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("settings\n%+v\nwant\n%+v", got, want)
	}
	for _, name := range []string{"wasmesh-controlplane", "wasmesh-injector"} {
		text, err := json.Marshal(all["Deployment/"+name])
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{`"registry.example/a:v1"`, `"imagePullPolicy":"Always"`, `"imagePullSecrets":[{"name":"own"}]`, `"replicas":3`,
			`"requests":{"cpu":"200m","memory":"1Gi"}`, `"nodeSelector":{"disk":"ssd"}`, `"tolerations":[{"effect":"NoSchedule"`, `"podAntiAffinity"`,
			`"topologySpreadConstraints":[`, `"priorityClassName":"system-cluster-critical"`, `"example.com/owner":"platform"`, `"example.com/scrape":"true"`} {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s does not have %s", name, part)
			}
		}
		if n, _, _ := unstructured.NestedString(all["PodDisruptionBudget/"+name].Object, "spec", "maxUnavailable"); n != "50%" {
			t.Errorf("%s: maxUnavailable %q", name, n)
		}
	}
	if rendered(t, "--set", "injector.podDisruptionBudget.enabled=false")["PodDisruptionBudget/wasmesh-injector"] != nil {
		t.Error("a budget that was switched off is there")
	}
}

// upgraded: other settings of sidecars arrive, and start another injector.
func upgraded(t *testing.T) {
	t.Helper()
	template := func() string {
		return must(t, "", "get", "deployment/wasmesh-injector", "-n", system, "-o", "jsonpath={.spec.template.metadata.annotations}")
	}
	before := template()
	file := valuesFile(t, everything)
	if out, err := helm(t, "upgrade", "wasmesh", chartPath, "-n", system, "-f", file, "--force-conflicts"); err != nil {
		t.Fatalf("upgrade: %v: %s", err, out)
	}
	if text := must(t, "", "get", "configmap/wasmesh-sidecar", "-n", system, "-o", "jsonpath={.data}"); !strings.Contains(text, "drainSeconds: 20") {
		t.Errorf("after the upgrade the settings are %s", text)
	}
	if after := template(); after == before {
		t.Errorf("other settings start no other injector: %s", after)
	}
	if got := must(t, "", "get", "pdb/wasmesh-controlplane", "-n", system, "-o", "jsonpath={.spec.maxUnavailable}"); got != "50%" {
		t.Errorf("after the upgrade %s may be away", got)
	}
}
