package apiserver

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
	"github.com/wasmesh/wasmesh/tests/usage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// perService is how many pods stand behind one Service, each with an account and
// a target of its own.
const perService = 10

// window is how long each thing is measured.
const window = 6 * time.Second

// crowd makes a mesh of so many pods, as an API server keeps them.
type crowd struct {
	t      *testing.T
	client *kubernetes.Clientset
	pods   int
}

func (s *server) crowd(t *testing.T, pods int) crowd {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig("admin"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return crowd{t, client, pods}
}

// each calls f for every number below n, a few at a time.
func (c crowd) each(n int, f func(ctx context.Context, i int) error) {
	c.t.Helper()
	workqueue.ParallelizeUntil(c.t.Context(), 8, n, func(i int) {
		if err := f(c.t.Context(), i); err != nil {
			c.t.Errorf("%d: %v", i, err)
		}
	})
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func podName(i int) string { return fmt.Sprintf("app-%d-%d", i/perService, i%perService) }

func podAddress(i int) string { return fmt.Sprintf("10.%d.%d.%d", 128+i/62500, i/250%250, i%250+1) }

// services makes the Services, with the slices that a controller would make.
func (c crowd) services() {
	c.t.Helper()
	c.each(c.pods/perService, func(ctx context.Context, i int) error {
		app := fmt.Sprintf("app-%d", i)
		meta := metav1.ObjectMeta{Name: app, Namespace: "shop", Labels: map[string]string{"app": app}}
		if _, err := c.client.CoreV1().ServiceAccounts("shop").Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
			return err
		}
		if _, err := c.client.CoreV1().Services("shop").Create(ctx, &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			Selector: meta.Labels, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		port, name, ready := int32(8080), "http", true
		slice := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}}}
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: app}
		for j := range perService {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{podAddress(i*perService + j)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: podName(i*perService + j)},
			})
		}
		_, err := c.client.DiscoveryV1().EndpointSlices("shop").Create(ctx, slice, metav1.CreateOptions{})
		return err
	})
}

// run makes the pods as an injector and a kubelet leave them: with what nobody
// reads, which is most.
func (c crowd) run() {
	c.t.Helper()
	c.each(c.pods, func(ctx context.Context, i int) error {
		app := fmt.Sprintf("app-%d", i/perService)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: podName(i), Namespace: "shop",
			Labels:      map[string]string{"app": app, "pod-template-hash": "6c4f8", "wasmesh.io/sidecar": "injected"},
			Annotations: map[string]string{"wasmesh.io/injection": `{"version":"1"}`, "other.io/config": strings.Repeat("x", 2000)},
		}, Spec: corev1.PodSpec{ServiceAccountName: app}}
		for name, port := range map[string]int32{"app": 8080, "logs": 9090} {
			container := corev1.Container{Name: name, Image: "registry.example/" + name + ":1", Ports: []corev1.ContainerPort{{ContainerPort: port}}}
			for v := range 20 {
				container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", v), Value: strings.Repeat("v", 40)})
			}
			pod.Spec.Containers = append(pod.Spec.Containers, container)
		}
		if _, err := c.client.CoreV1().Pods("shop").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
		status := fmt.Sprintf(`{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%[1]q}],"conditions":[{"type":"Ready","status":"True"}]}}`, podAddress(i))
		_, err := c.client.CoreV1().Pods("shop").Patch(ctx, podName(i), types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status")
		return err
	})
}

// targets opens each app to the next one.
func (c crowd) targets(s *server) {
	c.t.Helper()
	var b strings.Builder
	apps := c.pods / perService
	for i := range apps {
		fmt.Fprintf(&b, `---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: app-%d, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: app-%[1]d, namespace: shop}
  sources: [{kind: ServiceAccount, name: app-%d, namespace: shop}]
  rules: [{kind: HTTPRouteGroup, name: books}]
`, i, (i+1)%apps)
	}
	s.apply(b.String())
}

// patch edits pods at a pace, and returns how many it could.
func (c crowd) patch(pace time.Duration, d time.Duration, edit func(i int) string) int {
	c.t.Helper()
	end := time.Now().Add(d)
	n := 0
	for tick := time.NewTicker(pace); time.Now().Before(end); n++ {
		<-tick.C
		if _, err := c.client.CoreV1().Pods("shop").Patch(c.t.Context(), podName(n*7%c.pods), types.MergePatchType, []byte(edit(n)), metav1.PatchOptions{}); err != nil {
			c.t.Fatal(err)
		}
	}
	return n
}

// TestScale prints what a control plane costs that watches many pods, none of
// which is connected.
func TestScale(t *testing.T) {
	for _, pods := range []int{1000, 5000} {
		t.Run(fmt.Sprint(pods), func(t *testing.T) { scale(t, pods) })
	}
}

func scale(t *testing.T, pods int) {
	s := start(t)
	s.roles()
	s.apply(definitions())
	s.kubectl("", "wait", "--for=condition=Established", "crd", "--all")
	s.apply(bookstore)
	c := s.crowd(t, pods)
	c.services()
	c.run()
	c.targets(s)
	r := s.replica(program(t), "one", "127.188.0.4")
	begin := time.Now()
	eventually(t, 60*time.Second, "the replica is ready", func() bool { return r.is("/ready") })
	figures.Tell(t, "%d pods, %d services: ready %v after its start, with %v of CPU; %d MiB, %d at most", pods, pods/perService,
		time.Since(begin).Round(time.Millisecond), cpu(t, r.cmd), rss(t, r.cmd, usage.Resident), rss(t, r.cmd, usage.Peak))
	time.Sleep(window) // conditions, events and roots are written
	measure := func(what string, do func() int) float64 {
		before := cpu(t, r.cmd)
		begin := time.Now()
		n := do()
		used := cpu(t, r.cmd) - before
		share := 100 * float64(used) / float64(time.Since(begin))
		figures.Tell(t, "%s, %d changes in %v: %.1f %% of a core, %d MiB", what, n, time.Since(begin).Round(time.Second), share, rss(t, r.cmd, usage.Resident))
		return share
	}
	idle := measure("nothing happens", func() int { time.Sleep(window); return 0 })
	nothing := measure("50 changes a second that are none of the mesh", func() int {
		return c.patch(20*time.Millisecond, window, func(i int) string {
			return fmt.Sprintf(`{"metadata":{"annotations":{"other.io/heartbeat":"%d"}}}`, i)
		})
	})
	measure("10 changes a second that are", func() int {
		return c.patch(100*time.Millisecond, window, func(i int) string {
			return fmt.Sprintf(`{"metadata":{"labels":{"revision":"%d"}}}`, i)
		})
	})
	if idle > 5 || nothing > 15 {
		t.Errorf("what is no change costs %.1f and %.1f %% of a core", idle, nothing)
	}
}

// cpu is what a process has used.
func cpu(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	used, err := usage.CPU(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return used
}

// rss is what a process holds, in MiB.
func rss(t *testing.T, cmd *exec.Cmd, field string) int {
	t.Helper()
	held, err := usage.Memory(cmd.Process.Pid, field)
	if err != nil {
		t.Fatal(err)
	}
	return held >> 20
}
