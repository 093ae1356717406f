package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/container"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The time between two starts of a container that ends; a kubelet's is 10 s to
// 5 min, which no test could wait for.
const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// instance is one container of a pod over all its restarts.
type instance struct {
	pod     *pod
	spec    corev1.Container
	policy  corev1.RestartPolicy
	initial bool // listed under initContainers
	sidecar bool // initial, with restartPolicy Always

	started   chan struct{} // closed once it has started for the first time
	done      chan struct{} // closed once it will not run again
	stopping  chan struct{}
	unhealthy chan string
	once      sync.Once

	mu      sync.Mutex
	begun   bool
	running *container.Running
	status  corev1.ContainerStatus
}

func newInstance(p *pod, spec corev1.Container, policy corev1.RestartPolicy) *instance {
	no := false
	return &instance{
		pod: p, spec: spec, policy: policy,
		started: make(chan struct{}), done: make(chan struct{}), stopping: make(chan struct{}), unhealthy: make(chan string, 1),
		status: corev1.ContainerStatus{
			Name: spec.Name, Image: spec.Image, ImageID: spec.Image, Started: &no,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
		},
	}
}

func (i *instance) start() {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.stopping:
		return
	default:
	}
	i.begun = true
	go i.supervise()
}

// stop ends the container for good and waits until it has ended.
func (i *instance) stop() {
	i.mu.Lock()
	begun := i.begun
	i.once.Do(func() { close(i.stopping) })
	i.mu.Unlock()
	if begun {
		<-i.done
	}
}

// supervise runs the container again as often as its policy says.
func (i *instance) supervise() {
	defer close(i.done)
	backoff := firstBackoff
	for {
		code := i.life()
		select {
		case <-i.stopping:
			return
		default:
		}
		if i.policy == corev1.RestartPolicyNever || i.policy == corev1.RestartPolicyOnFailure && code == 0 {
			return
		}
		i.update(func(s *corev1.ContainerStatus) {
			s.LastTerminationState = s.State
			s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason: "CrashLoopBackOff", Message: fmt.Sprintf("back-off %v restarting", backoff),
			}}
		})
		select {
		case <-i.stopping:
			// What it ended with is what counts.
			i.update(func(s *corev1.ContainerStatus) { s.State = s.LastTerminationState })
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
		i.update(func(s *corev1.ContainerStatus) { s.RestartCount++ })
	}
}

// life is one run of the container, from its start to its end.
func (i *instance) life() (code int) {
	begin := metav1.Now()
	running, err := i.launch()
	reason, message := "Completed", ""
	if err != nil {
		code, reason, message = 128, "StartError", err.Error()
		i.pod.agent.Log.Warn("container not started", "pod", i.pod.String(), "container", i.spec.Name, "error", err)
	} else {
		code, message = i.watch(running, begin)
		if code != 0 {
			reason = "Error"
		}
	}
	i.update(func(s *corev1.ContainerStatus) {
		no := false
		s.Ready, s.Started = false, &no
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: int32(code), Reason: reason, Message: message,
			StartedAt: begin, FinishedAt: metav1.Now(), ContainerID: s.ContainerID,
		}}
	})
	return code
}

// watch probes a container that runs until it ends or has to.
func (i *instance) watch(running *container.Running, begin metav1.Time) (code int, message string) {
	ctx, cancel := context.WithCancel(i.pod.agent.ctx)
	defer cancel()
	i.update(func(s *corev1.ContainerStatus) {
		i.running = running
		s.ContainerID = "wmrig://" + string(i.pod.object.UID) + "-" + i.spec.Name + "-" + strconv.Itoa(int(s.RestartCount))
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: begin}}
	})
	go i.probes(ctx)
	select {
	case <-running.Done():
	case message = <-i.unhealthy:
		i.terminate(running, i.pod.object.Spec.TerminationGracePeriodSeconds)
	case <-i.stopping:
		i.terminate(running, nil)
	}
	i.mu.Lock()
	i.running = nil
	i.mu.Unlock()
	return running.Code(), message
}

// terminate gives the container its preStop hook, SIGTERM and the rest of the
// grace period, then ends it. Without seconds the pod's deadline counts.
func (i *instance) terminate(running *container.Running, seconds *int64) {
	left := func() time.Duration { return max(i.pod.remaining(), 0) }
	if seconds != nil {
		deadline := time.Now().Add(time.Duration(*seconds) * time.Second)
		left = func() time.Duration { return max(time.Until(deadline), 0) }
	}
	if l := i.spec.Lifecycle; l != nil && l.PreStop != nil {
		ctx, cancel := context.WithTimeout(i.pod.agent.ctx, left())
		if err := i.hook(ctx, running, l.PreStop); err != nil {
			i.pod.agent.Log.Warn("preStop", "pod", i.pod.String(), "container", i.spec.Name, "error", err)
		}
		cancel()
	}
	running.Terminate()
	for {
		select {
		case <-running.Done():
			return
		case <-time.After(min(left(), 100*time.Millisecond)): // the deadline may come nearer
		}
		if left() == 0 {
			running.Kill()
			<-running.Done()
			return
		}
	}
}

func (i *instance) launch() (*container.Running, error) {
	spec, err := i.container()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(spec.Root, 0o755); err != nil {
		return nil, err
	}
	log, err := openLog(i.pod.agent.log(i.pod.object.UID, i.spec.Name))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return container.Start(i.pod.agent.Shim, spec, log, i.pod.network().Do)
}

func (i *instance) root() string {
	return filepath.Join(i.pod.agent.Folder, string(i.pod.object.UID), "roots", i.spec.Name)
}

func (i *instance) update(f func(*corev1.ContainerStatus)) {
	i.mu.Lock()
	f(&i.status)
	i.mu.Unlock()
	i.pod.changed()
}

func (i *instance) current() *container.Running {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.running
}

// code is what the container ended with, once done is closed.
func (i *instance) code() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t := i.status.State.Terminated; t != nil {
		return int(t.ExitCode)
	}
	return 137 // it never ran
}

func (i *instance) ran() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.status.State.Terminated != nil
}
