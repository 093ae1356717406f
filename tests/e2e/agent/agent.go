// Package agent is a node of the end to end tests: it takes the pods that the
// scheduler bound to it and runs them, with real networks, tokens, volumes,
// probes and order of start and end, as a kubelet does, but with processes in
// place of images. It is for tests only: it must never run a pod of a real
// cluster, and never decide anything that a kubelet would decide otherwise
// without README.md saying so.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/network"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Image is what an image name stands for.
type Image struct {
	Files      map[string]string // path in the container to file on this machine
	Libraries  bool              // with the machine's shared libraries
	Entrypoint []string
	User       int64 // where the pod names none
}

// Images maps image names, with tag or without, to what they stand for.
type Images map[string]Image

func (m Images) find(name string) (Image, error) {
	if image, ok := m[name]; ok {
		return image, nil
	}
	repository, _, _ := strings.Cut(name, "@")
	if i := strings.LastIndex(repository, ":"); i > strings.LastIndex(repository, "/") {
		repository = repository[:i]
	}
	if image, ok := m[repository]; ok {
		return image, nil
	}
	return Image{}, fmt.Errorf("the test has no image %q", name)
}

// Agent is one node.
type Agent struct {
	Name    string
	Client  kubernetes.Interface // with the identity of the node
	Network *network.Network
	Images  Images
	Shim    string // program that starts containers
	Folder  string // where pods and their logs are
	Port    int    // where the API server asks for logs
	Log     *slog.Logger

	mu   sync.Mutex
	pods map[types.UID]*pod
	ctx  context.Context
}

// Start registers the node and takes its pods until the context ends; it returns
// once the node can be given some.
func (a *Agent) Start(ctx context.Context) error {
	a.ctx, a.pods = ctx, map[types.UID]*pod{}
	if err := a.register(ctx); err != nil {
		return fmt.Errorf("register node %s: %w", a.Name, err)
	}
	if err := a.serveLogs(); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(a.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", a.Name).String()
	}))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.take(o) },
		UpdateFunc: func(_, o any) { a.take(o) },
		DeleteFunc: a.drop,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return nil
}

func (a *Agent) register(ctx context.Context) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: a.Name, Labels: map[string]string{
		corev1.LabelHostname: a.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
	}}}
	node, err := a.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	plenty := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("10000"), corev1.ResourceEphemeralStorage: resource.MustParse("256Gi"),
	}
	node.Status = corev1.NodeStatus{
		Capacity: plenty, Allocatable: plenty,
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Started",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}},
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: network.NodeIP.String()},
			{Type: corev1.NodeInternalIP, Address: network.NodeIPv6.String()},
			{Type: corev1.NodeHostName, Address: a.Name},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(a.Port)}},
		NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: "amd64"},
	}
	_, err = a.Client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

func (a *Agent) take(o any) {
	object, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	a.mu.Lock()
	p := a.pods[object.UID]
	if p == nil && object.Status.Phase != corev1.PodSucceeded && object.Status.Phase != corev1.PodFailed {
		p = newPod(a, object)
		a.pods[object.UID] = p
		go p.run()
	}
	a.mu.Unlock()
	switch {
	case p != nil && object.DeletionTimestamp != nil:
		grace := time.Duration(0)
		if s := object.DeletionGracePeriodSeconds; s != nil {
			grace = time.Duration(*s) * time.Second
		}
		p.end(grace, true)
	case p == nil && object.DeletionTimestamp != nil: // it ended long ago
		go a.forget(object)
	}
}

func (a *Agent) drop(o any) {
	if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	object, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	a.mu.Lock()
	p := a.pods[object.UID]
	delete(a.pods, object.UID)
	a.mu.Unlock()
	if p != nil {
		p.end(0, true)
	}
}

// forget tells the API server that nothing of a pod runs any more.
func (a *Agent) forget(object *corev1.Pod) {
	now := int64(0)
	a.persist("delete "+object.Name, func(ctx context.Context) error {
		return ignoreGone(a.Client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &object.UID},
		}))
	})
}

// Exec runs a program in a container, as kubectl exec does, and returns its exit
// code and output.
func (a *Agent) Exec(ctx context.Context, object *corev1.Pod, name string, argv ...string) (int, string, error) {
	i, err := a.instance(object.UID, name)
	if err != nil {
		return 0, "", err
	}
	running := i.current()
	if running == nil {
		return 0, "", fmt.Errorf("container %s of pod %s does not run", name, object.Name)
	}
	code, out, err := running.Exec(ctx, argv)
	return code, string(out), err
}

// Kill ends a container as SIGKILL does; a kubelet, and the agent, starts it again.
func (a *Agent) Kill(object *corev1.Pod, name string) error {
	i, err := a.instance(object.UID, name)
	if err != nil {
		return err
	}
	running := i.current()
	if running == nil {
		return fmt.Errorf("container %s of pod %s does not run", name, object.Name)
	}
	running.Kill()
	return nil
}

func (a *Agent) instance(uid types.UID, name string) (*instance, error) {
	a.mu.Lock()
	p := a.pods[uid]
	a.mu.Unlock()
	if p != nil {
		for _, i := range p.instances {
			if i.spec.Name == name {
				return i, nil
			}
		}
	}
	return nil, fmt.Errorf("node %s has no container %s of pod %s", a.Name, name, uid)
}

// Do runs f in the network of a pod: what it dials comes from there.
func (a *Agent) Do(object *corev1.Pod, f func() error) error {
	a.mu.Lock()
	p := a.pods[object.UID]
	a.mu.Unlock()
	if p == nil || p.network() == nil {
		return fmt.Errorf("pod %s has no network", object.Name)
	}
	return p.network().Do(f)
}

func (a *Agent) log(uid types.UID, name string) string {
	return filepath.Join(a.Folder, string(uid), name+".log")
}

func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	return f, f.Chmod(0o666) // the container's user opens /dev/stdout anew
}
