package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// probed is a pod whose probes ask these ports. It serves at 8080 only.
func probed(name string, startup, liveness, readiness int) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  containers:
  - name: app
    image: app
    args: [serve, --listen, ":8080"]
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {exec: {command: [app, end, "http://127.0.0.1:%[2]d/"]}, periodSeconds: 1, failureThreshold: 2}
    livenessProbe: {tcpSocket: {port: %[3]d}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {httpGet: {path: /ready, port: %[4]d}, periodSeconds: 1}
`, name, startup, liveness, readiness)
}

// fickle are two pods behind one service, one that tells its readiness over HTTP
// and is alive by gRPC, and one the other way round.
const fickle = `
apiVersion: v1
kind: Service
metadata: {name: fickle}
spec: {selector: {kind: fickle}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: by-http, labels: {app: by-http, kind: fickle}}
spec:
  containers:
  - name: app
    image: app
    args: [serve, --health, ":9090"]
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {grpc: {port: 9090}, periodSeconds: 1, failureThreshold: 60}
---
apiVersion: v1
kind: Pod
metadata: {name: by-grpc, labels: {app: by-grpc, kind: fickle}}
spec:
  containers:
  - name: app
    image: app
    args: [serve, --health, ":9090"]
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {grpc: {port: 9090}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {tcpSocket: {port: 9090}, periodSeconds: 1}
`

// unready: an application that says it is not ready, in HTTP or in gRPC, gets no
// calls until it says that it is.
func unready(t *testing.T) {
	ns := namespace(t, "fickle", inMesh)
	applyAll(t, allowed("fickle", ns+"/caller", ns+"/default"))
	apply(t, ns, fickle+"---"+caller)
	pods := []corev1.Pod{ready(t, ns, "by-http", 1)[0], ready(t, ns, "by-grpc", 1)[0]}
	from := ready(t, ns, "caller", 1)[0]
	answering := func(names ...string) {
		t.Helper()
		await(t, fmt.Sprintf("calls are answered by %v only", names), settleTimeout, func() error {
			answers := call(t.Context(), from, "app", "-count", "20", "http://fickle/")
			for _, p := range pods {
				if strings.Contains(answers, `"pod":"`+p.Name) != slices.Contains(names, p.Name) {
					return fmt.Errorf("answers: %s", answers)
				}
			}
			return nil
		})
	}
	tell := func(p corev1.Pod, what string) {
		call(t.Context(), p, "app", "-method", "POST", "http://127.0.0.1:8080/"+what)
	}
	answering("by-http", "by-grpc")
	for i, p := range pods {
		tell(p, "unready")
		answering(pods[1-i].Name)
		tell(p, "ready")
		answering("by-http", "by-grpc")
	}
}

// probes: a kubelet has no certificate, and its probes say what the application
// says all the same: that it is well, and that it is not.
func probes(t *testing.T) {
	ns := namespace(t, "probed", inMesh)
	apply(t, ns, probed("well", 8080, 8080, 8080)+probed("not-started", 8081, 8080, 8080)+
		probed("not-alive", 8080, 8081, 8080)+probed("not-ready", 8080, 8080, 8081))
	ready(t, ns, "well", 1)
	status := func(name string) corev1.ContainerStatus {
		p, err := kube.Client.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Status.ContainerStatuses) != 1 {
			return corev1.ContainerStatus{}
		}
		return p.Status.ContainerStatuses[0]
	}
	for _, name := range []string{"not-started", "not-alive"} {
		await(t, name+" is started again", settleTimeout, func() error {
			if s := status(name); s.RestartCount == 0 {
				return fmt.Errorf("its status is %+v", s.State)
			}
			return nil
		})
	}
	await(t, "not-ready is started", settleTimeout, func() error {
		if s := status("not-ready"); s.Started == nil || !*s.Started {
			return fmt.Errorf("its status is %+v", s.State)
		}
		return nil
	})
	for name, want := range map[string]bool{"well": true, "not-ready": false} {
		if s := status(name); s.Ready != want || s.RestartCount > 0 {
			t.Errorf("%s is ready: %v, after %d restarts", name, s.Ready, s.RestartCount)
		}
	}
}
