package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	metrics "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/metrics/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ring is one workload of each kind that has metrics; each calls the next.
var ring = []struct{ resource, kind, name, object string }{
	{"deployments", "Deployment", "d", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {matchLabels: {app: d}}, template: %s}"},
	{"statefulsets", "StatefulSet", "s", "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec: {serviceName: s, selector: {matchLabels: {app: s}}, template: %s}"},
	{"daemonsets", "DaemonSet", "m", "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: m}\nspec: {selector: {matchLabels: {app: m}}, template: %s}"},
	{"jobs", "Job", "j", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: %s}"},
	{"pods", "Pod", "p", ""},
}

// ringManifests are its objects, and a split of half to d and half to s.
func ringManifests() string {
	const pod = `{metadata: {name: %[1]s, labels: {app: %[1]s}}, spec: {%[2]s containers: [{name: app, image: app, args: [serve, --listen, ":8080"], ports: [{name: http, containerPort: 8080}]}]}}`
	objects := []string{"apiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec: {selector: {app: d}, ports: [{name: http, port: 80, targetPort: http}]}",
		"apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: half}\nspec: {service: front, backends: [{service: d, weight: 50}, {service: s, weight: 50}]}"}
	for _, w := range ring {
		restart := ""
		if w.kind == "Job" {
			restart = "restartPolicy: Never,"
		}
		template := fmt.Sprintf(pod, w.name, restart)
		object := fmt.Sprintf(w.object, template)
		if w.kind == "Pod" {
			object = strings.Replace(template, "{", "{apiVersion: v1, kind: Pod, ", 1)
		}
		service := fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %[1]s}\nspec: {selector: {app: %[1]s}, ports: [{name: http, port: 80, targetPort: http}]}", w.name)
		objects = append(objects, object, service)
	}
	return strings.Join(objects, "\n---\n")
}

// successes is the success_count of each item below a path, by what tells it apart from
// others: direction and peer of an edge, or the backend of a split.
func successes(t *testing.T, path string) (map[string]int64, error) {
	var list struct {
		Items []struct {
			metrics.TrafficMetrics
			Backend *struct{ Name string } `json:"backend"`
		} `json:"items"`
		Metrics json.RawMessage `json:"metrics"`
	}
	var one metrics.TrafficMetrics
	if err := asked(t, path+"?t=5m", &list); err != nil {
		return nil, err
	}
	if list.Metrics != nil {
		err := asked(t, path+"?t=5m", &one)
		return map[string]int64{"": one.Get("success_count").Value.Value()}, err
	}
	out := map[string]int64{}
	for _, item := range list.Items {
		n := item.Get("success_count").Value.Value()
		switch {
		case item.Backend != nil:
			out[item.Backend.Name] += n
		case item.Edge.Resource != nil:
			out[string(item.Edge.Direction)+" "+item.Edge.Resource.Kind+"/"+item.Edge.Resource.Name] += n
		}
	}
	return out, nil
}

// startRing gives one pod of each of the ring's workloads.
func startRing(t *testing.T, ns string) (pods []corev1.Pod) {
	t.Helper()
	applyAll(t, allowed("ring", ns+"/default", ns+"/default"))
	apply(t, ns, ringManifests())
	nodes, err := kube.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ring {
		count := 1
		if w.kind == "DaemonSet" {
			count = len(nodes.Items)
		}
		pods = append(pods, ready(t, ns, w.name, count)[0])
	}
	return pods
}

// metricsKinds: for a workload of every kind, in both directions, for their namespace
// and for a split the API says what the applications answered.
func metricsKinds(t *testing.T) {
	ns := namespace(t, "kinds", inMesh)
	pods := startRing(t, ns)
	base := "/namespaces/" + ns
	item := func(i int) string { return base + "/" + ring[i].resource + "/" + ring[i].name }
	want := map[string]map[string]int64{} // rises by path
	// called is what n calls of the workload at i to the one at j should change.
	called := func(i, j int, n int64) {
		from, to := ring[i].kind+"/"+ring[i].name, ring[j].kind+"/"+ring[j].name
		if ring[i].kind == "Pod" { // of a pod's own edges, those that it called are pods too
			to = "Pod/" + pods[j].Name
		}
		rise(want, item(i)+"/edges", "to "+to, n)
		rise(want, item(j)+"/edges", "from "+from, n)
		rise(want, item(j), "", n)
		rise(want, base, "", n)
		if j < 2 { // d and s are the backends
			rise(want, base+"/trafficsplits/half", ring[j].name, n)
		}
	}
	for i := range ring {
		next := (i + 1) % len(ring)
		expect(t, "200", pods[i], "http://"+ring[next].name+"/")
		called(i, next, int64(10+i))
	}
	time.Sleep(2 * scrapeInterval) // a series that is read for the first time may have risen before
	before := successesOf(t, want)
	for i := range ring {
		to := ring[(i+1)%len(ring)].name
		if answers := call(t.Context(), pods[i], "app", "-count", fmt.Sprint(10+i), "http://"+to+"/"); strings.Count(answers, `"pod":"`+to) != 10+i {
			t.Fatalf("%d calls of %s: %s", 10+i, to, answers)
		}
	}
	answers := call(t.Context(), pods[4], "app", "-count", "40", "http://front/")
	first, second := strings.Count(answers, `"pod":"d-`), strings.Count(answers, `"pod":"s-`)
	if first+second != 40 || first*second == 0 {
		t.Fatalf("40 calls of a split: %s", answers)
	}
	called(4, 0, int64(first))
	called(4, 1, int64(second))
	await(t, "the API says what the applications answered", settleTimeout, func() error {
		for path, now := range successesOf(t, want) {
			maps.DeleteFunc(now, func(item string, n int64) bool {
				now[item] = n - before[path][item]
				return now[item] == 0
			})
			if !maps.Equal(now, want[path]) {
				return fmt.Errorf("%s rose by %v, want %v", path, now, want[path])
			}
		}
		return nil
	})
}

// successesOf reads all the paths.
func successesOf(t *testing.T, paths map[string]map[string]int64) map[string]map[string]int64 {
	t.Helper()
	out := map[string]map[string]int64{}
	for path := range paths {
		got, err := successes(t, path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out[path] = got
	}
	return out
}

func rise(of map[string]map[string]int64, path, item string, n int64) {
	if of[path] == nil {
		of[path] = map[string]int64{}
	}
	of[path][item] += n
}
