package e2e

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// edits is how many are made in each half. `make e2e-edits` makes 200, and holds
// them to what users are promised.
var edits = flag.Int("edits", 10, "edits whose way into Envoy is measured; from 100 on 99 of 100 have a limit")

// editLatency: how long it takes from the request to the API server until the
// filters in all Envoys of the destination report another policy, with nothing else
// to do and beside ten changes of pods per second.
func editLatency(t *testing.T) {
	measure(t, "idle", 250*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	made := make(chan int, 1) // measure may end the test
	go func() { made <- churn(ctx, t) }()
	began := time.Now()
	measure(t, "beside changes of pods", 500*time.Millisecond)
	cancel()
	rate := float64(<-made) / time.Since(began).Seconds()
	figures.Tell(t, "%.1f changes of pods per second", rate)
	if *edits >= 100 && rate < 9 {
		t.Errorf("%.1f changes of pods per second prove nothing", rate)
	}
}

func measure(t *testing.T, beside string, bar time.Duration) {
	t.Helper()
	buyer, pods := one(t, "bookbuyer"), ready(t, "bookstore", "bookstore", 2)
	url := store + "/buy-a-book"
	expectFrom(t, buyer, "buyer", "200", url)
	var took []time.Duration
	for i := range *edits {
		methods, status := "POST", "403"
		if i%2 == 1 {
			methods, status = "GET", "200"
		}
		patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/matches/1/methods","value":[%q]}]`, methods)
		before := policies(t, pods)
		begin := time.Now()
		err := kube.Client.RESTClient().Patch(types.JSONPatchType).AbsPath("/apis/specs.smi-spec.io/v1alpha4/namespaces/bookstore/httproutegroups/bookstore-routes").
			Body([]byte(patch)).Do(t.Context()).Error()
		if err != nil {
			t.Fatal(err)
		}
		for another(before, policies(t, pods)) < len(pods) && time.Since(begin) < settleTimeout {
			time.Sleep(5 * time.Millisecond)
		}
		took = append(took, time.Since(begin))
		if answer := call(t.Context(), buyer, "buyer", url); !strings.HasPrefix(answer, status+" ") {
			t.Errorf("after an edit that all filters report, the answer is %s, want %s", answer, status)
		}
	}
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(len(took)*percent-1)/100].Round(time.Millisecond) }
	figures.Tell(t, "%s, from an edit until all filters run it: median %v, 90 %% within %v, 99 %% within %v, slowest of %d %v",
		beside, at(50), at(90), at(99), len(took), took[len(took)-1].Round(time.Millisecond))
	if slowest := took[len(took)-1]; slowest > 2*time.Second {
		t.Errorf("%s: the slowest edit took %v", beside, slowest)
	}
	if *edits >= 100 && at(99) > bar {
		t.Errorf("%s: 99 %% of edits within %v, want %v", beside, at(99), bar)
	}
}

// policies are the versions of the tables that the pods' filters run.
func policies(t *testing.T, pods []corev1.Pod) (versions []string) {
	t.Helper()
	for _, p := range pods {
		stats, err := proxyStats(t.Context(), p, "wasmesh_policy_version")
		if err != nil || len(stats) == 0 {
			t.Fatalf("%s reports no policy: %v", p.Name, err)
		}
		versions = append(versions, fmt.Sprint(stats))
	}
	return versions
}

// another counts the pods whose version is another than before.
func another(before, now []string) (n int) {
	for i := range before {
		if before[i] != now[i] {
			n++
		}
	}
	return n
}

// churn makes and removes pods behind a service of the bookstore, five of each a
// second, until ctx ends, and returns how many changes it made. They are on no
// node: what counts is that every sidecar of the bookstore's callers hears of them.
func churn(ctx context.Context, t *testing.T) (made int) {
	const ns = "bookstore"
	all := context.WithoutCancel(ctx)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "busy", Namespace: ns},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "busy"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	if _, err := kube.Client.CoreV1().Services(ns).Create(all, service, metav1.CreateOptions{}); err != nil {
		t.Error(err)
		return 0
	}
	pods, now := kube.Client.CoreV1().Pods(ns), int64(0)
	gone := metav1.DeleteOptions{GracePeriodSeconds: &now}
	defer func() {
		_ = kube.Client.CoreV1().Services(ns).Delete(all, "busy", metav1.DeleteOptions{}) // the run's end ends it too
		_ = pods.DeleteCollection(all, gone, metav1.ListOptions{LabelSelector: "app=busy"})
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		if err := appear(all, i); err != nil {
			t.Error(err)
			return made
		}
		made++
		if i >= 5 {
			if err := pods.Delete(all, fmt.Sprintf("busy-%d", i-5), gone); err != nil {
				t.Error(err)
				return made
			}
			made++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return made
}

// appear makes a pod that says it is ready at an address where nobody is.
func appear(ctx context.Context, i int) error {
	pods := kube.Client.CoreV1().Pods("bookstore")
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("busy-%d", i), Labels: map[string]string{"app": "busy"}},
		Spec: corev1.PodSpec{ServiceAccountName: "bookstore", NodeName: "nowhere", Containers: []corev1.Container{
			{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: 80}}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	ip := fmt.Sprintf("10.250.%d.%d", i/200%200, 1+i%200)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.ContainersReady, Status: corev1.ConditionTrue},
	}}
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}
