package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/injector/inject"
)

// an application as its owner must write it for a namespace that is "restricted".
const careful = `
metadata: {name: app}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: app
      image: app
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      livenessProbe: {httpGet: {path: /live, port: 8080}}
      readinessProbe: {tcpSocket: {port: 8080}}
`

// violations are what the level forbids of a pod, in Kubernetes' own judgement:
// the reason, and its detail.
func violations(t *testing.T, level api.Level, pod *corev1.Pod) map[string]string {
	t.Helper()
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, r := range judge.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !r.Allowed {
			found[r.ForbiddenReason] = r.ForbiddenDetail
		}
	}
	return found
}

func podOf(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := new(corev1.Pod)
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// TestChartIsRestricted: each pod that the chart makes, with its defaults and with
// everything set.
func TestChartIsRestricted(t *testing.T) {
	for _, values := range [][]string{nil, {"-f", valuesFile(t, everything)}, {"--set", "mesh.authoritySecret=intermediate"}} {
		judged := 0
		for name, o := range rendered(t, values...) {
			content, ok, err := unstructured.NestedMap(o.Object, "spec", "template")
			if err != nil || !ok {
				continue
			}
			var template corev1.PodTemplateSpec
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &template); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			judged++
			pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
			if v := violations(t, api.LevelRestricted, pod); len(v) > 0 {
				t.Errorf("%s with %v: %v", name, values, v)
			}
			pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
			if len(violations(t, api.LevelRestricted, pod)) != 1 {
				t.Errorf("%s: a pod that may gain privileges is taken, so the check says nothing", name)
			}
		}
		if judged != 2 {
			t.Errorf("%d pods were judged, want 2", judged)
		}
	}
}

// TestInjectedIsRestricted: all that is put into a pod, but the one container that
// sets up the redirection, and of that one its capability and its user only.
func TestInjectedIsRestricted(t *testing.T) {
	app := podOf(t, careful)
	if v := violations(t, api.LevelRestricted, app); len(v) > 0 {
		t.Fatalf("the application itself: %v", v)
	}
	got, report := inject.Pod(app, inject.Namespace{Name: "shop", Joined: true}, inject.Defaults())
	if report.Outcome != inject.Done || len(report.Probes) != 2 {
		t.Fatalf("%+v", report)
	}
	// What the API server fills in, which may be judged too.
	got.ObjectMeta.CreationTimestamp = metav1.Now()

	of := func(level api.Level, want ...string) {
		t.Helper()
		found := violations(t, level, got)
		if reasons := slices.Sorted(maps.Keys(found)); !slices.Equal(reasons, want) {
			t.Errorf("%s forbids %v", level, found)
		}
		for reason, detail := range found {
			if !strings.Contains(detail, inject.RedirectContainer) || strings.Contains(detail, inject.SidecarContainer) {
				t.Errorf("%s: %s: %s: it is not of %s alone", level, reason, detail, inject.RedirectContainer)
			}
		}
	}
	of(api.LevelRestricted, "runAsNonRoot != true", "runAsUser=0", "unrestricted capabilities")
	of(api.LevelBaseline, "non-default capabilities")
	got.Spec.InitContainers = slices.DeleteFunc(got.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == inject.RedirectContainer })
	of(api.LevelRestricted)
	of(api.LevelBaseline)
}
