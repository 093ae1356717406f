package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/agent"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// settleTimeout is for what includes starts of pods on a slow machine.
const settleTimeout = 30 * time.Second

// namespace makes one for the test, which ends with it.
func namespace(t *testing.T, name string, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if _, err := kube.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "account default of "+name, settleTimeout, func() error { // else pods are refused
		_, err := kube.Client.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	t.Cleanup(func() {
		now := int64(0)
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			describe(ctx, t, name)
		}
		_ = kube.Client.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
		_ = kube.Client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}) // the run's end ends it too
	})
	return name
}

// othersGone waits for the namespaces of tests that are over: when the services in
// them end, every sidecar is told.
func othersGone(t *testing.T) {
	t.Helper()
	await(t, "the namespaces of other tests are gone", time.Minute, func() error {
		if phases := kubectl(t, "get", "namespaces", "-o", "jsonpath={.items[*].status.phase}"); strings.Contains(phases, "Terminating") {
			return errors.New(phases)
		}
		return nil
	})
}

// describe prints what there is of pods, for a test that failed.
func describe(ctx context.Context, t *testing.T, namespace string) {
	for _, args := range [][]string{{"get", "pods", "-o", "wide"}, {"get", "events", "--sort-by=.lastTimestamp"}} {
		out, err := kube.Kubectl(ctx, "", append([]string{"-n", namespace}, args...)...)
		t.Logf("%s\n%s%v", strings.Join(args, " "), out, err)
	}
	pods, err := kube.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, p := range pods.Items {
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			text, _ := node(&p).Logs(namespace, p.Name, c.Name)
			t.Logf("%s/%s %s %+v\n%s", p.Name, c.Name, p.Status.Message, c.State, tail(text))
		}
	}
}

func tail(text []byte) string {
	return string(text[max(0, len(text)-2000):])
}

// apply applies manifests with kubectl, as a user does.
func apply(t *testing.T, namespace, manifests string) {
	t.Helper()
	if out, err := kube.Kubectl(t.Context(), manifests, "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// applyAll applies manifests that name their namespaces.
func applyAll(t *testing.T, manifests string) {
	t.Helper()
	if out, err := kube.Kubectl(t.Context(), manifests, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kube.Kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// await repeats what has to come true.
func await(t *testing.T, what string, limit time.Duration, probe func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := probe()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// ready waits until that many pods with the label app are ready, and gives them.
func ready(t *testing.T, namespace, app string, count int) []corev1.Pod {
	t.Helper()
	var found []corev1.Pod
	await(t, fmt.Sprintf("%d pods of %s ready", count, app), settleTimeout, func() error {
		pods, err := kube.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return err
		}
		found = nil
		for _, p := range pods.Items {
			if p.DeletionTimestamp == nil && isReady(p) {
				found = append(found, p)
			}
		}
		if len(found) != count {
			return fmt.Errorf("%d of %d are", len(found), len(pods.Items))
		}
		return nil
	})
	return found
}

func isReady(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// node gives the agent that runs a pod.
func node(p *corev1.Pod) *agent.Agent {
	for _, n := range nodes {
		if n.Name == p.Spec.NodeName {
			return n
		}
	}
	return nodes[0]
}

// call has a pod's container call a URL and gives the line of the answer.
func call(ctx context.Context, p corev1.Pod, container string, args ...string) string {
	_, out, err := node(&p).Exec(ctx, &p, container, append([]string{"app", "call"}, args...)...)
	if err != nil {
		return "0 " + err.Error()
	}
	return strings.TrimSpace(out)
}

// expect waits until a call of the container app is answered with that status.
func expect(t *testing.T, status string, p corev1.Pod, args ...string) {
	t.Helper()
	expectFrom(t, p, "app", status, args...)
}

// expectFrom waits until a call of that container is answered with that status.
func expectFrom(t *testing.T, p corev1.Pod, container, status string, args ...string) {
	t.Helper()
	await(t, p.Name+": "+strings.Join(args, " ")+" answers "+status, settleTimeout, func() error {
		if answer := call(t.Context(), p, container, args...); !strings.HasPrefix(answer, status+" ") {
			return fmt.Errorf("the answer is %s", answer)
		}
		return nil
	})
}
