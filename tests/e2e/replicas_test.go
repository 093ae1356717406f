package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/status"
	"github.com/wasmesh/wasmesh/tests/e2e/figures"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// configured counts what changes an Envoy's listeners and clusters.
var configured = url.QueryEscape(`^(listener_manager\.listener_(added|modified|removed|in_place_updated)|cluster_manager\.cluster_(added|modified|removed))$`)

// replicas: the leader of two is killed while both serve sidecars. No call fails,
// its sidecars go to others without a change of their configuration, and another
// writes what became of objects, once.
func replicas(t *testing.T) {
	ns := namespace(t, "replicas", inMesh)
	buyer := one(t, "bookbuyer")
	expectFrom(t, buyer, "buyer", "200", store+"/buy-a-book")
	othersGone(t)
	orphans, leader := spread(t)
	apply(t, ns, lame("before"))
	told(t, ns, "before", leader.Name)
	sent(t)
	before := configurations(t)
	calls := startCalls(t, buyer, "buyer", store+"/books-bought")
	killed := time.Now()
	if err := node(&leader).Kill(&leader, "controlplane"); err != nil {
		t.Fatal(err)
	}
	now := int64(0) // else it comes back under its name
	if err := kube.Client.CoreV1().Pods(system).Delete(t.Context(), leader.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	await(t, "the sidecars of the dead replica are with others", settleTimeout, func() error { return served(t, leader.Name, orphans) })
	reconnected := time.Since(killed)
	edit(t, "POST")
	expectFrom(t, buyer, "buyer", "403", store+"/buy-a-book")
	edited := time.Since(killed)
	edit(t, "GET")
	expectFrom(t, buyer, "buyer", "200", store+"/buy-a-book")
	var next string
	await(t, "the Lease moves", settleTimeout, func() error {
		if next = holder(t); next == leader.Name || next == "" {
			return fmt.Errorf("it is held by %q", next)
		}
		return nil
	})
	moved := time.Since(killed)
	apply(t, ns, lame("after")+entry)
	told(t, ns, "after", next)
	onceAccepted(t, ns)
	wrote := time.Since(killed)
	calls.stop(t)
	told(t, ns, "before", leader.Name) // still once
	if after := configurations(t); !maps.EqualFunc(before, after, maps.Equal) {
		t.Errorf("listeners or clusters changed\nbefore %v\nafter  %v", before, after)
	}
	figures.Tell(t, "after the leader was killed: its %d sidecars were with others after %v, an edit enforced after %v, the Lease moved after %v, Event and condition written after %v",
		len(orphans), reconnected, edited, moved, wrote)
}

// spread waits until each replica serves a sidecar, and gives those of the leader.
func spread(t *testing.T) (orphans []string, leader corev1.Pod) {
	t.Helper()
	for range 8 {
		ready := readyReplicas(t)
		name := holder(t)
		at := slices.IndexFunc(ready, func(p corev1.Pod) bool { return p.Name == name })
		if at < 0 {
			t.Fatalf("the Lease is held by %q", name)
		}
		leader = ready[at]
		s, err := meshStatus(t.Context(), leader)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Replicas) != len(ready) || len(ready) != 2 {
			t.Fatalf("%d pods, replicas %+v", len(ready), s.Replicas)
		}
		orphans = nil
		for _, proxy := range s.Proxies {
			if proxy.Replica == leader.Name {
				orphans = append(orphans, proxy.Name.String())
			}
		}
		if len(orphans) > 0 && len(orphans) < len(s.Proxies) {
			t.Logf("the replicas, as the leader tells: %+v", s.Replicas)
			return orphans, leader
		}
		kubectl(t, "delete", "pod", "-n", "bookwarehouse", "--all") // its next may come to the other
		one(t, "bookwarehouse")
	}
	t.Fatal("one replica serves all sidecars, again and again")
	return nil, leader
}

func readyReplicas(t *testing.T) []corev1.Pod {
	t.Helper()
	var out []corev1.Pod
	await(t, "two replicas", settleTimeout, func() error {
		out = nil
		for _, p := range podsOf(t, system) {
			if p.Labels["app.kubernetes.io/name"] == "wasmesh-controlplane" && p.DeletionTimestamp == nil && isReady(p) {
				out = append(out, p)
			}
		}
		if len(out) != 2 {
			return fmt.Errorf("%d are ready", len(out))
		}
		return nil
	})
	return out
}

// meshStatus is what `wasmesh status` says in a pod of the control plane.
func meshStatus(ctx context.Context, p corev1.Pod) (s status.Status, err error) {
	code, out, err := node(&p).Exec(ctx, &p, "controlplane", "wasmesh", "status", "-o", "json", "--status", "/run/wasmesh/status.sock")
	if err == nil && code != 0 {
		err = fmt.Errorf("wasmesh status in %s: %d %s", p.Name, code, out)
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	return s, err
}

// served wants every sidecar in the status of each living replica, and none of the
// dead one's answers to be missing.
func served(t *testing.T, dead string, wanted []string) error {
	for _, p := range podsOf(t, system) {
		if p.Labels["app.kubernetes.io/name"] != "wasmesh-controlplane" || p.Name == dead || !isReady(p) {
			continue
		}
		s, err := meshStatus(t.Context(), p)
		if err != nil {
			return err
		}
		found := map[string]bool{}
		for _, proxy := range s.Proxies {
			found[proxy.Name.String()] = proxy.Settled
		}
		for _, name := range wanted {
			if !found[name] {
				return fmt.Errorf("%s does not know %s as settled: %+v", p.Name, name, s.Replicas)
			}
		}
		return nil
	}
	return fmt.Errorf("no replica is ready")
}

func holder(t *testing.T) string {
	t.Helper()
	lease, err := kube.Client.CoordinationV1().Leases(system).Get(t.Context(), "wasmesh-controlplane", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// configurations are the counters of every Envoy of the bookstore.
func configurations(t *testing.T) map[string]map[string]uint64 {
	t.Helper()
	all := map[string]map[string]uint64{}
	for _, p := range meshed(t) {
		stats, err := proxyStats(t.Context(), p, configured)
		if err != nil {
			t.Fatal(err)
		}
		if len(stats) < 6 {
			t.Fatalf("%s counts %v", p.Name, stats)
		}
		all[p.Name] = stats
	}
	return all
}

// edit makes these the methods with which a book may be bought.
func edit(t *testing.T, methods string) {
	t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/matches/1/methods","value":[%q]}]`, methods)
	err := kube.Client.RESTClient().Patch(types.JSONPatchType).AbsPath("/apis/specs.smi-spec.io/v1alpha4/namespaces/bookstore/httproutegroups/bookstore-routes").
		Body([]byte(patch)).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
}

// lame is a target whose routes are not there.
func lame(name string) string {
	return strings.ReplaceAll(`
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: NAME}
spec:
  destination: {kind: ServiceAccount, name: default}
  sources: [{kind: ServiceAccount, name: default}]
  rules: [{kind: HTTPRouteGroup, name: NAME-missing}]
`, "NAME", name)
}

// entry is an object that has a status.
const entry = `
---
apiVersion: wasmesh.io/v1alpha1
kind: Workload
metadata: {name: entry}
spec: {address: 10.9.9.9, serviceAccount: default}
`

// told wants one Event on a target, told once by that replica.
func told(t *testing.T, ns, target, replica string) {
	t.Helper()
	await(t, "an Event on "+target, settleTimeout, func() error {
		events, err := kube.Client.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + target})
		if err != nil {
			return err
		}
		if len(events.Items) != 1 || events.Items[0].Count != 1 || events.Items[0].ReportingInstance != replica || events.Items[0].Reason != "NoEffect" {
			return fmt.Errorf("want one of %s, told once: %+v", replica, events.Items)
		}
		return nil
	})
}

// onceAccepted wants the condition of entry, which nobody writes a second time.
func onceAccepted(t *testing.T, ns string) {
	t.Helper()
	get := func(path string) string {
		return kubectl(t, "get", "workload", "-n", ns, "entry", "-o", "jsonpath="+path)
	}
	await(t, "the condition of a new object", settleTimeout, func() error {
		if said := get(`{range .status.conditions[?(@.type=="Accepted")]}{.status} {.reason}{end}`); said != "True Valid" {
			return fmt.Errorf("Accepted is %q", said)
		}
		return nil
	})
	version := get("{.metadata.resourceVersion}")
	time.Sleep(2 * time.Second)
	if again := get("{.metadata.resourceVersion}"); again != version {
		t.Errorf("the status was written again: %s, then %s", version, again)
	}
}
