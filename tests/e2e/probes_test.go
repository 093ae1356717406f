package e2e

import (
	"fmt"
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
