package trim

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func metadata() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: "a", Namespace: "shop", UID: "1", ResourceVersion: "7", Generation: 2,
		CreationTimestamp: metav1.Unix(1, 0), Labels: map[string]string{"app": "a"},
		Annotations:   map[string]string{"wasmesh.io/exclude-inbound-ports": "80", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}
}

func examplePod() *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	return &corev1.Pod{
		ObjectMeta: metadata(),
		Spec: corev1.PodSpec{
			ServiceAccountName: "a", NodeName: "n", Volumes: []corev1.Volume{{Name: "v"}},
			InitContainers: []corev1.Container{{Name: "side", Image: "i", RestartPolicy: &always}},
			Containers:     []corev1.Container{{Name: "app", Image: "i", Env: []corev1.EnvVar{{Name: "X"}}, Ports: []corev1.ContainerPort{{ContainerPort: 80}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady}}},
	}
}

// What the mesh does not look at is no change; what it looks at is one.
func TestPod(t *testing.T) {
	base := Pod(examplePod())
	if len(base.ManagedFields) > 0 || base.ResourceVersion != "" || len(base.Annotations) != 1 || base.Spec.Volumes != nil || base.Spec.Containers[0].Image != "" {
		t.Errorf("too much is kept: %+v", base)
	}
	if !reflect.DeepEqual(Pod(base), base) {
		t.Error("to trim twice is not to trim once")
	}
	for name, c := range map[string]struct {
		edit func(*corev1.Pod)
		same bool
	}{
		"heartbeat":        {func(p *corev1.Pod) { p.Status.Conditions[0].LastProbeTime = metav1.Now() }, true},
		"version":          {func(p *corev1.Pod) { p.ResourceVersion = "8" }, true},
		"foreign note":     {func(p *corev1.Pod) { p.Annotations["x"] = "y" }, true},
		"image":            {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "j" }, true},
		"own note":         {func(p *corev1.Pod) { p.Annotations["wasmesh.io/exclude-inbound-ports"] = "81" }, false},
		"label":            {func(p *corev1.Pod) { p.Labels["app"] = "b" }, false},
		"address":          {func(p *corev1.Pod) { p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "fd00::1"}) }, false},
		"phase":            {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false},
		"deletion":         {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(5, 0)} }, false},
		"port":             {func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 81 }, false},
		"port of a native": {func(p *corev1.Pod) { p.Spec.InitContainers[0].Ports = []corev1.ContainerPort{{ContainerPort: 1}} }, false},
		"account":          {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "b" }, false},
		"made anew":        {func(p *corev1.Pod) { p.UID = "2" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := examplePod()
			c.edit(p)
			before := p.DeepCopy()
			if got := Same(Pod(p), base); got != c.same {
				t.Errorf("same is %v", got)
			}
			if !reflect.DeepEqual(p, before) {
				t.Error("the object given was written to")
			}
		})
	}
}

func TestEndpointSlice(t *testing.T) {
	ready, zone := true, "z"
	s := &discoveryv1.EndpointSlice{ObjectMeta: metadata(), AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, Zone: &zone,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "a", UID: "1", ResourceVersion: "9"}}}}
	base := EndpointSlice(s)
	if base.Endpoints[0].Zone != nil || base.Endpoints[0].TargetRef.ResourceVersion != "" || base.Endpoints[0].TargetRef.Name != "a" {
		t.Errorf("kept is %+v", base.Endpoints[0])
	}
	s.Annotations["endpoints.kubernetes.io/last-change-trigger-time"] = "now"
	if !Same(EndpointSlice(s), base) {
		t.Error("a note of the controller is a change")
	}
	no := false
	s.Endpoints[0].Conditions.Ready = &no
	if Same(EndpointSlice(s), base) {
		t.Error("an endpoint that is not ready any more is no change")
	}
}

func TestService(t *testing.T) {
	s := &corev1.Service{ObjectMeta: metadata(), Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1", SessionAffinity: corev1.ServiceAffinityNone,
		Ports: []corev1.ServicePort{{Port: 80, NodePort: 30000}}}}
	base := Service(s)
	s.Spec.Ports[0].NodePort, s.Status.LoadBalancer.Ingress = 30001, []corev1.LoadBalancerIngress{{IP: "1.2.3.4"}}
	if !Same(Service(s), base) {
		t.Error("a load balancer's address is a change")
	}
	s.Spec.Ports[0].Port = 81
	if Same(Service(s), base) {
		t.Error("another port is no change")
	}
}

func TestFields(t *testing.T) {
	object := map[string]any{"kind": "TrafficTarget", "spec": map[string]any{"x": int64(1)}, "status": map[string]any{},
		"metadata": map[string]any{"name": "a", "resourceVersion": "7", "managedFields": []any{}, "annotations": map[string]any{"x": "y", "wasmesh.io/z": "1"}}}
	want := map[string]any{"kind": "TrafficTarget", "spec": map[string]any{"x": int64(1)},
		"metadata": map[string]any{"name": "a", "annotations": map[string]any{"wasmesh.io/z": "1"}}}
	if got := Fields(object); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if object["status"] == nil || object["metadata"].(map[string]any)["resourceVersion"] != "7" {
		t.Error("the object given was written to")
	}
	if got := Fields(map[string]any{"metadata": "text"}); got["metadata"] != "text" {
		t.Errorf("odd metadata became %v", got)
	}
}
