package inject

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// ordinary is a pod with some of everything that can be wrong. A port of the node
// is nobody's concern but the node's.
const ordinary = `
metadata:
  name: web
  namespace: meshed
  annotations: {wasmesh.io/inject: enabled, wasmesh.io/exclude-inbound-ports: "9090", wasmesh.io/exclude-outbound-ports: "5432",
    wasmesh.io/exclude-outbound-cidrs: 192.0.2.0/24, wasmesh.io/exclude-uids: "1000", note: short}
spec:
  hostNetwork: false
  securityContext: {runAsUser: 1001}
  initContainers: [{name: first, image: app}]
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - name: app
    image: app
    securityContext: {runAsUser: 1002}
    ports: [{name: web, containerPort: 8080, hostPort: 15001}]
    readinessProbe: {httpGet: {port: web}}
    livenessProbe: {tcpSocket: {port: 8081}}
    volumeMounts: [{name: data, mountPath: /data}]
`

// admitted asks the API server for the pod, and does not keep it.
func admitted(t *testing.T, text string) (*corev1.Pod, error) {
	t.Helper()
	p := new(corev1.Pod)
	if err := yaml.Unmarshal([]byte(text), p); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return kube.Client.CoreV1().Pods("meshed").Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

func hasSidecar(p *corev1.Pod) bool {
	return len(p.Spec.InitContainers) > 1 && p.Spec.InitContainers[0].Name == "wasmesh-redirect" && p.Spec.InitContainers[1].Name == "wasmesh-sidecar"
}

// badPods: each differs from the ordinary pod, which is injected, in one thing, and
// is refused by the injector or by the API server, with a reason.
func badPods(t *testing.T) {
	if p, err := admitted(t, ordinary); err != nil || !hasSidecar(p) {
		t.Fatalf("the ordinary pod: %v", err)
	}
	const ours = "the sidecar does not fit this pod: "
	for name, c := range map[string]struct{ old, new, says string }{
		"neither in nor out":   {"inject: enabled", "inject: maybe", ours + "annotation wasmesh.io/inject"},
		"port too large":       {`"9090"`, `"65536"`, ours + "annotation wasmesh.io/exclude-inbound-ports"},
		"port of letters":      {`"5432"`, `"postgres"`, ours + "annotation wasmesh.io/exclude-outbound-ports"},
		"bits beyond the mask": {"192.0.2.0/24", "192.0.2.1/24", "did you mean 192.0.2.0/24"},
		"user by name":         {`"1000"`, `"root"`, "is not a numeric user"},
		"user of the pod":      {"1001", "1337", "securityContext.runAsUser 1337"},
		"user of a container":  {"1002", "1337", "container app: securityContext.runAsUser 1337"},
		"name of a container":  {"name: app", "name: wasmesh-sidecar", "rename it"},
		"name of an init":      {"name: first", "name: wasmesh-redirect", "rename it"},
		"our volume":           {"name: data", "name: wasmesh-token", "volume wasmesh-token has a name that the mesh uses"},
		"outbound port":        {"8080", "15001", "port 15001 is the sidecar's"},
		"inbound port":         {"8080", "15006", "port 15006 is the sidecar's"},
		"probes' port":         {"8080", "15020", "port 15020 is the sidecar's"},
		"health port":          {"8080", "15021", "port 15021 is the sidecar's"},
		"no port at all":       {"8080", "70000", "containerPort"},
		"probe of no port":     {"port: web", "port: wep", `no port of the container is named "wep"`},
		"probe out of range":   {"8081", "65536", "65536 is not a port"},
		"1 MB of notes":        {"short", strings.Repeat("n", 1<<20), "metadata.annotations: Too long"},
		"4 MB":                 {"short", strings.Repeat("n", 4<<20), "too large"},
		"ephemeral at birth":   {"  hostNetwork: false", "  ephemeralContainers: [{name: debug, image: app}]", "ephemeralContainers"},
		"too many values":      {"  hostNetwork: false", "  tolerations: [" + strings.Repeat("{}, ", 60_000) + "{}]", ours + "it has "},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if !strings.Contains(ordinary, c.old) {
				t.Fatalf("%q is not in the pod", c.old)
			}
			if _, err := admitted(t, strings.ReplaceAll(ordinary, c.old, c.new)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want a refusal that says %q: %.400v", c.says, err)
			}
		})
	}
	for name, change := range map[string][2]string{ // what is large, and taken
		"200 KB of notes": {"short", strings.Repeat("n", 200<<10)},
		"100 containers":  {"  containers:\n", "  containers:\n" + strings.Repeat("  - {name: cNR, image: app, livenessProbe: {httpGet: {port: 80}}}\n", 100)},
		"1000 values":     {"  hostNetwork: false", "  tolerations: [" + strings.Repeat("{operator: Exists}, ", 1000) + "{operator: Exists}]"},
	} {
		text := strings.ReplaceAll(ordinary, change[0], change[1])
		for i := range 100 {
			text = strings.Replace(text, "cNR", "c"+strconv.Itoa(i), 1)
		}
		began := time.Now()
		p, err := admitted(t, text)
		if err != nil || !hasSidecar(p) || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %.400v after %v", name, err, time.Since(began))
		}
	}
	if p, err := admitted(t, strings.NewReplacer("hostNetwork: false", "hostNetwork: true", "hostPort: 15001", "hostPort: 8080").Replace(ordinary)); err != nil || hasSidecar(p) {
		t.Errorf("a pod in the node's network is left alone: %v", err)
	}
}

// halfInjected: a pod that was injected already is taken as it is; one that has
// lost a part is not.
func halfInjected(t *testing.T) {
	whole, err := admitted(t, ordinary)
	if err != nil {
		t.Fatal(err)
	}
	whole.ObjectMeta = metav1.ObjectMeta{Name: "web", Namespace: "meshed", Labels: whole.Labels, Annotations: whole.Annotations}
	whole.Status = corev1.PodStatus{}
	text := func(change func(*corev1.Pod)) string {
		p := whole.DeepCopy()
		change(p)
		out, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if p, err := admitted(t, text(func(*corev1.Pod) {})); err != nil || !hasSidecar(p) || len(p.Spec.InitContainers) != len(whole.Spec.InitContainers) {
		t.Errorf("injected before: %v", err)
	}
	for says, change := range map[string]func(*corev1.Pod){
		"no container wasmesh-redirect": func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[1:] },
		"restartPolicy Always": func(p *corev1.Pod) {
			p.Spec.InitContainers[1].RestartPolicy, p.Spec.InitContainers[1].StartupProbe = nil, nil
		},
		"is damaged": func(p *corev1.Pod) { p.Annotations["wasmesh.io/injection"] = "yes" },
		"rename it":  func(p *corev1.Pod) { p.Labels, p.Annotations = nil, nil },
	} {
		if _, err := admitted(t, text(change)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want a refusal that says %q: %v", says, err)
		}
	}
}

// later: what is done to pods that are there does not ask the injector, so that
// its outage stops none of it.
func later(t *testing.T) (after func(t *testing.T)) {
	pods := kube.Client.CoreV1().Pods("meshed")
	for _, name := range []string{"debugged", "evicted", "deleted"} {
		p := new(corev1.Pod)
		if err := yaml.Unmarshal([]byte(ordinary), p); err != nil {
			t.Fatal(err)
		}
		p.Name = name
		if _, err := pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return func(t *testing.T) {
		for name, args := range map[string][]string{
			"a debugging container": {"debug", "debugged", "-n", "meshed", "--image=app", "--container=debug", "--attach=false"},
			"its label":             {"label", "pod/debugged", "-n", "meshed", "a=b"},
			"its status":            {"patch", "pod/debugged", "-n", "meshed", "--subresource=status", "--type=merge", "-p", `{"status":{"message":"x"}}`},
			"a deletion":            {"delete", "pod/deleted", "-n", "meshed", "--wait=false"},
		} {
			if out, err := kube.Kubectl(t.Context(), "", args...); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
		eviction := `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"evicted","namespace":"meshed"}}`
		if out, err := kube.Kubectl(t.Context(), eviction, "create", "--raw", "/api/v1/namespaces/meshed/pods/evicted/eviction", "-f", "-"); err != nil {
			t.Errorf("an eviction: %v: %s", err, out)
		}
		p, err := pods.Get(t.Context(), "debugged", metav1.GetOptions{})
		if err != nil || !hasSidecar(p) || len(p.Spec.EphemeralContainers) != 1 {
			t.Errorf("after the debugging container: %v, %d", err, len(p.Spec.EphemeralContainers))
		}
	}
}
