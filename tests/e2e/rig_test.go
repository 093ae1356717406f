package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// server is a Deployment with a Service of both families.
const server = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  replicas: 2
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      containers:
      - name: app
        image: app:1
        args: [serve, --listen, ":8080"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}}
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ipFamilyPolicy: RequireDualStack
  ports: [{name: http, port: 80, targetPort: http}]
`

const client = `
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  containers: [{name: app, image: "app", args: [serve]}]
`

// The rig's own tests: what others rely on.

func TestRigService(t *testing.T) {
	ns := namespace(t, "rig-service", nil)
	apply(t, ns, server+"---"+client)
	servers := ready(t, ns, "server", 2)
	from := ready(t, ns, "client", 1)[0]
	for _, family := range []string{"tcp4", "tcp6"} {
		expect(t, "200", from, "-network", family, "http://server/")
		expect(t, "200", from, "-network", family, "http://server."+ns+".svc.cluster.local/")
		await(t, family+" reaches each pod", settleTimeout, func() error {
			answers := call(t.Context(), from, "app", "-network", family, "-count", "20", "http://server/")
			for _, s := range servers {
				if !strings.Contains(answers, s.Name) {
					return fmt.Errorf("20 calls never reached %s", s.Name)
				}
			}
			return nil
		})
	}
	if answer := call(t.Context(), from, "app", "http://nobody/"); !strings.Contains(answer, "no such host") {
		t.Errorf("a name that is not there: %s", answer)
	}
	out, err := kube.Kubectl(t.Context(), "", "-n", ns, "logs", servers[0].Name)
	if err != nil || !strings.Contains(out, "serve") {
		t.Errorf("kubectl logs: %v: %q", err, out)
	}
	apply(t, ns, strings.Replace(server, "replicas: 2", "replicas: 0", 1))
	ready(t, ns, "server", 0)
	await(t, "a Service without pods refuses", settleTimeout, func() error {
		if answer := call(t.Context(), from, "app", "http://server/"); !strings.HasPrefix(answer, "0 ") {
			return fmt.Errorf("it answers %s", answer)
		}
		return nil
	})
}

func TestRigJobAndSidecar(t *testing.T) {
	ns := namespace(t, "rig-job", nil)
	apply(t, ns, `
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  template:
    metadata: {labels: {app: job}}
    spec:
      restartPolicy: Never
      initContainers:
      - {name: before, image: app, args: [end]}
      - name: sidecar
        image: app
        restartPolicy: Always
        args: [serve, --listen, ":9090", --delay, 500ms]
        startupProbe: {httpGet: {path: /, port: 9090}, periodSeconds: 1}
      - {name: after, image: app, args: [end, "http://127.0.0.1:9090/"]}
      containers:
      - {name: app, image: app, args: [end, "http://localhost:9090/"]}
`)
	await(t, "the job completes", settleTimeout, func() error {
		job, err := kube.Client.BatchV1().Jobs(ns).Get(t.Context(), "job", metav1.GetOptions{})
		if err == nil && job.Status.Succeeded != 1 {
			err = fmt.Errorf("status %+v", job.Status)
		}
		return err
	})
	pods, err := kube.Client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods: %v", len(pods.Items), err)
	}
	inOrder(t, &pods.Items[0], "before end", "sidecar start", "sidecar serve", "after start", "after end", "app start", "app end", "sidecar terminated")
}

// inOrder checks by their logs that things happened one after the other. Each is
// a container and a word of its log.
func inOrder(t *testing.T, p *corev1.Pod, what ...string) {
	t.Helper()
	last := ""
	for _, w := range what {
		container, word, _ := strings.Cut(w, " ")
		text, err := node(p).Logs(p.Namespace, p.Name, container)
		if err != nil {
			t.Fatal(err)
		}
		at := ""
		for _, line := range strings.Split(string(text), "\n") {
			if when, said, _ := strings.Cut(line, " "); said == word {
				at = when
			}
		}
		if at == "" || at <= last {
			t.Errorf("%s at %q, what had to be before at %q", w, at, last)
		}
		last = at
	}
}

func TestRigStatefulSet(t *testing.T) {
	ns := namespace(t, "rig-stateful", nil)
	apply(t, ns, client+`
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ipFamilyPolicy: RequireDualStack, ports: [{name: http, port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - {name: app, image: app, args: [serve, --linger, 1s]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: db.rig-stateful.svc.cluster.local}
`)
	pods := ready(t, ns, "db", 2)
	from := ready(t, ns, "client", 1)[0]
	for _, family := range []string{"tcp4", "tcp6"} {
		for _, name := range []string{"db-0", "db-1"} {
			url := "http://" + name + ".db:8080/"
			expect(t, "200", from, "-network", family, url) // its name is known a moment after it is ready
			if answer := call(t.Context(), from, "app", "-network", family, url); !strings.Contains(answer, `"pod":"`+name+`"`) {
				t.Errorf("%s by %s: %s", name, family, answer)
			}
		}
	}
	expect(t, "200", from, "http://alias:8080/")
	// The end of a pod takes as long as its program needs, and not the whole grace.
	begin := time.Now()
	if err := kube.Client.CoreV1().Pods(ns).Delete(t.Context(), "db-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the pod is gone", settleTimeout, func() error {
		p, err := kube.Client.CoreV1().Pods(ns).Get(t.Context(), "db-1", metav1.GetOptions{})
		if err == nil && p.UID == pods[1].UID {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	if took := time.Since(begin); took < 900*time.Millisecond || took > 5*time.Second {
		t.Errorf("a pod that needs a second to end took %v", took)
	}
}

func TestRigAPIServerRestarts(t *testing.T) {
	ns := namespace(t, "rig-restart", nil)
	apply(t, ns, server+"---"+client)
	ready(t, ns, "server", 2)
	from := ready(t, ns, "client", 1)[0]
	expect(t, "200", from, "http://server/")
	kube.StopAPIServer()
	if answer := call(t.Context(), from, "app", "http://server/"); !strings.HasPrefix(answer, "200 ") {
		t.Errorf("without an API server: %s", answer)
	}
	ctx, cancel := context.WithTimeout(t.Context(), settleTimeout)
	defer cancel()
	if err := kube.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	apply(t, ns, strings.Replace(server, "replicas: 2", "replicas: 3", 1))
	ready(t, ns, "server", 3)
}
