package e2e

import (
	"strings"
	"testing"
)

// patient is a Deployment whose pods answer for two seconds more when they are to
// end, as Kubernetes asks of them: callers hear of the end a moment later.
const patient = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  strategy: {rollingUpdate: {maxSurge: 100%, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: app
        args: [serve, --linger, 2s]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
`

// twentyReplaced: where applications end as Kubernetes asks, the mesh adds no
// failure of its own, whatever is replaced.
func twentyReplaced(t *testing.T) {
	ns := namespace(t, "patient", inMesh)
	applyAll(t, allowed("web", ns+"/caller", ns+"/default"))
	apply(t, ns, patient+"---"+caller)
	first := ready(t, ns, "web", 4)
	from := ready(t, ns, "caller", 1)[0]
	expect(t, "200", from, "http://web/")
	stream := startCalls(t, from, "app", "http://web/")
	seen := map[string]bool{}
	for range 5 {
		kubectl(t, "rollout", "restart", "-n", ns, "deployment/web")
		kubectl(t, "rollout", "status", "-n", ns, "deployment/web", "--timeout=60s")
		for _, p := range ready(t, ns, "web", 4) {
			seen[p.Name] = true
		}
	}
	stream.stop(t)
	for _, p := range first {
		delete(seen, p.Name)
	}
	if len(seen) != 20 {
		t.Errorf("%d pods came, want 20: %v", len(seen), strings.Join(podNames(seen), " "))
	}
}

func podNames(of map[string]bool) (names []string) {
	for name := range of {
		names = append(names, name)
	}
	return names
}
