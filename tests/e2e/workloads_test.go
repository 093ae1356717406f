package e2e

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// inMesh is the label by which a namespace opts in.
var inMesh = map[string]string{"wasmesh.io/inject": "enabled"}

// allowed lets one account, namespace/name, send everything to another.
func allowed(name, from, to string) string {
	fromSpace, fromName, _ := strings.Cut(from, "/")
	toSpace, toName, _ := strings.Cut(to, "/")
	return fmt.Sprintf(`
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: %[1]s, namespace: %[4]s}
spec: {matches: [{name: all, pathRegex: ".*", methods: ["*"]}]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: %[1]s, namespace: %[4]s}
spec:
  destination: {kind: ServiceAccount, name: %[5]s}
  sources: [{kind: ServiceAccount, name: %[3]s, namespace: %[2]s}]
  rules: [{kind: HTTPRouteGroup, name: %[1]s}]
`, name, fromSpace, fromName, toSpace, toName)
}

// sameName: an account of the same name in another namespace is somebody else.
func sameName(t *testing.T) {
	ns := namespace(t, "impostor", inMesh)
	apply(t, ns, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: bookbuyer}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  serviceAccountName: bookbuyer
  containers: [{name: app, image: app, args: [serve]}]
`)
	impostor := ready(t, ns, "client", 1)[0]
	expect(t, "403", impostor, store+"/books-bought")
	expectFrom(t, one(t, "bookbuyer"), "buyer", "200", store+"/books-bought")
}

// plaintext: who has no sidecar is refused in strict and let in where the
// namespace gives grace, until it does no longer.
func plaintext(t *testing.T) {
	ns := namespace(t, "plain", nil)
	apply(t, ns, client)
	plain := ready(t, ns, "client", 1)[0]
	expect(t, "0", plain, store+"/books-bought")
	label := func(patch string) {
		_, err := kube.Client.CoreV1().Namespaces().Patch(t.Context(), "bookstore", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	label(`{"metadata":{"labels":{"wasmesh.io/plaintext":"grace"}}}`)
	expect(t, "200", plain, store+"/books-bought")
	label(`{"metadata":{"labels":{"wasmesh.io/plaintext":null}}}`)
	expect(t, "0", plain, store+"/books-bought")
}

// job: one that calls through the mesh completes, and its sidecar with it.
func job(t *testing.T) {
	ns := namespace(t, "jobs", inMesh)
	applyAll(t, allowed("jobs", ns+"/default", "bookstore/bookstore"))
	apply(t, ns, `
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  backoffLimit: 10
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: app, args: [end, "`+store+`/books-bought"]}
`)
	await(t, "the job completes", settleTimeout, func() error {
		j, err := kube.Client.BatchV1().Jobs(ns).Get(t.Context(), "job", metav1.GetOptions{})
		if err == nil && j.Status.Succeeded != 1 {
			err = fmt.Errorf("status %+v", j.Status)
		}
		return err
	})
	for _, p := range podsOf(t, ns) {
		if p.Labels["wasmesh.io/sidecar"] != "injected" {
			t.Errorf("%s has no sidecar: it proves nothing", p.Name)
		}
		afterwards(t, &p)
	}
}

// afterwards: a Job's pod ends with its application, and does not wait for a
// sidecar that nobody is connected to. Times in a status are whole seconds.
func afterwards(t *testing.T, p *corev1.Pod) {
	t.Helper()
	const most = 3 * time.Second
	app, sidecar := p.Status.ContainerStatuses[0].State.Terminated, (*corev1.ContainerStateTerminated)(nil)
	for _, c := range p.Status.InitContainerStatuses {
		if c.Name == "wasmesh-sidecar" {
			sidecar = c.State.Terminated
		}
	}
	if app == nil || sidecar == nil {
		t.Errorf("%s: the application or its sidecar has not ended: %v %v", p.Name, app, sidecar)
		return
	}
	took := sidecar.FinishedAt.Sub(app.FinishedAt.Time)
	figures.Tell(t, "%s: the sidecar ended %v after the application", p.Name, took)
	if took > most || sidecar.ExitCode != 0 {
		t.Errorf("%s: the sidecar ended %v after the application, with %d; want at most %v, and 0", p.Name, took, sidecar.ExitCode, most)
	}
}

// stateful: pods of a StatefulSet are called by their own names.
func stateful(t *testing.T) {
	ns := namespace(t, "stateful", inMesh)
	apply(t, ns, `
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
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
      - {name: app, image: app, args: [serve], ports: [{name: http, containerPort: 8080}]}
`)
	ready(t, ns, "db", 2)
	buyer := one(t, "bookbuyer")
	each := func(judge func(name, family, url string)) {
		for _, family := range []string{"tcp4", "tcp6"} {
			for _, name := range []string{"db-0", "db-1"} {
				judge(name, family, "http://"+name+".db."+ns+":8080/")
			}
		}
	}
	each(func(_, family, url string) { expectFrom(t, buyer, "buyer", "403", "-network", family, url) })
	applyAll(t, allowed("db", "bookbuyer/bookbuyer", ns+"/default"))
	each(func(name, family, url string) {
		expectFrom(t, buyer, "buyer", "200", "-network", family, url)
		if answer := call(t.Context(), buyer, "buyer", "-network", family, url); !strings.Contains(answer, `"pod":"`+name+`"`) {
			t.Errorf("%s is answered by %s", url, answer)
		}
	})
}

// catchUp is how late an edit may be enforced after an outage of the API server.
const catchUp = 10 * time.Second

// outage: with all replicas of the control plane killed, then without an API
// server, what is allowed goes on, and nothing else; afterwards edits are enforced again.
func outage(t *testing.T) {
	buyer := one(t, "bookbuyer")
	url := store + "/buy-a-book"
	expectFrom(t, buyer, "buyer", "200", url)
	now := int64(0)
	err := kube.Client.CoreV1().Pods(system).DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=wasmesh-controlplane"})
	if err != nil {
		t.Fatal(err)
	}
	goesOn(t, buyer, url, "without a control plane")
	await(t, "the control plane is back", settleTimeout, func() error {
		for _, p := range podsOf(t, system) {
			if p.DeletionTimestamp != nil || !isReady(p) {
				return fmt.Errorf("%s is not ready", p.Name)
			}
		}
		return nil
	})
	othersGone(t)
	before := sent(t)
	kube.StopAPIServer()
	goesOn(t, buyer, url, "without an API server")
	if err := kube.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	lostIsTold(t)
	if after := sent(t); !maps.Equal(after, before) {
		t.Errorf("everything was listed anew, nothing had changed, and sidecars have been sent\n%v bytes\nafter\n%v", after, before)
	}
	begin := time.Now()
	kubectl(t, "delete", "traffictarget", "-n", "bookstore", "buyers")
	expectFrom(t, buyer, "buyer", "403", url)
	took := time.Since(begin)
	figures.Tell(t, "an edit after both had been away was enforced %v after kubectl returned", took)
	if after := sent(t); maps.Equal(after, before) {
		t.Errorf("an edit that was enforced was sent to nobody: %v", after)
	}
	if took > catchUp {
		t.Errorf("an edit was enforced %v after kubectl returned", took)
	}
}

// sent gives how many bytes each sidecar of the bookstore has been sent on its
// stream, once all have what they should have.
func sent(t *testing.T) (bytes map[string]uint64) {
	t.Helper()
	replica, sidecars := readyReplicas(t)[0], map[string]bool{}
	for _, p := range meshed(t) {
		sidecars[p.Namespace+"/"+p.Name] = true
	}
	await(t, "every sidecar has everything", settleTimeout, func() error {
		s, err := meshStatus(t.Context(), replica)
		bytes = map[string]uint64{}
		for _, p := range s.Proxies {
			if sidecars[p.Name.String()] && p.Settled {
				bytes[p.Name.String()] = p.Sent
			}
		}
		if err == nil && len(bytes) != len(sidecars) {
			err = fmt.Errorf("of %v have everything: %v", sidecars, bytes)
		}
		return err
	})
	return bytes
}

// lostIsTold waits until the control plane has seen an object that changes nothing
// for anybody, and has told what it thinks of it.
func lostIsTold(t *testing.T) {
	t.Helper()
	ns := namespace(t, "lost", nil)
	apply(t, ns, allowed("lost", "nowhere/nobody", ns+"/nobody"))
	await(t, "an Event on it", settleTimeout, func() error {
		if told := kubectl(t, "get", "events", "-n", ns, "-o", "name"); told == "" {
			return errors.New("there is none")
		}
		return nil
	})
}

func goesOn(t *testing.T, p corev1.Pod, url, when string) {
	t.Helper()
	answers := strings.Split(call(t.Context(), p, "buyer", "-count", "20", "-pause", "50ms", url), "\n")
	for _, a := range answers {
		if !strings.HasPrefix(a, "200 ") {
			t.Errorf("%s: %s", when, a)
		}
	}
	if len(answers) != 20 {
		t.Errorf("%s: %d answers to 20 calls", when, len(answers))
	}
	if answer := call(t.Context(), p, "buyer", store+"/something-else"); !strings.HasPrefix(answer, "403 ") {
		t.Errorf("%s what is denied is answered %s", when, answer)
	}
}
