package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/network"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// retryInterval is the time between attempts at what has to succeed some time.
const retryInterval = 200 * time.Millisecond

// pod is one pod on its way from its binding to its end.
type pod struct {
	agent     *Agent
	object    *corev1.Pod // as it was bound
	instances []*instance // init containers in their order, then the others
	volumes   *volumes
	dirty     chan struct{} // the status has to be told

	mu       sync.Mutex
	net      *network.Pod
	phase    corev1.PodPhase
	reason   string // why it does not start
	deadline time.Time
	deleted  bool
	ending   context.Context // done once the pod shall end
	cancel   context.CancelFunc
	finished bool
}

func newPod(a *Agent, object *corev1.Pod) *pod {
	p := &pod{agent: a, object: object.DeepCopy(), phase: corev1.PodPending, dirty: make(chan struct{}, 1)}
	p.ending, p.cancel = context.WithCancel(a.ctx)
	p.volumes = &volumes{pod: p, folder: filepath.Join(a.Folder, string(object.UID), "volumes")}
	for _, c := range object.Spec.InitContainers {
		i := newInstance(p, c, corev1.RestartPolicyOnFailure)
		i.initial = true
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			i.sidecar, i.policy = true, corev1.RestartPolicyAlways
		} else if object.Spec.RestartPolicy == corev1.RestartPolicyNever {
			i.policy = corev1.RestartPolicyNever
		}
		p.instances = append(p.instances, i)
	}
	for _, c := range object.Spec.Containers {
		p.instances = append(p.instances, newInstance(p, c, object.Spec.RestartPolicy))
	}
	return p
}

// run takes the pod through its whole life.
func (p *pod) run() {
	told := make(chan struct{})
	go func() {
		p.tell()
		close(told)
	}()
	ok := p.prepare() && p.initialize() && p.work()
	p.end(30*time.Second, false) // sidecars, where the others are done
	p.stop()
	p.mu.Lock()
	p.phase, p.finished = corev1.PodFailed, true
	if ok && !p.deleted || p.succeeded() {
		p.phase = corev1.PodSucceeded
	}
	net := p.net
	p.mu.Unlock()
	p.changed()
	<-told
	if net != nil {
		if err := net.Close(); err != nil {
			p.agent.Log.Error("network of pod", "pod", p.object.Name, "error", err)
		}
	}
	if p.isDeleted() {
		p.agent.forget(p.object)
		_ = os.RemoveAll(p.volumes.folder) // in memory, and ends with the run
	}
}

// prepare makes network and volumes; what is missing yet is waited for.
func (p *pod) prepare() bool {
	return p.until(func(ctx context.Context) error {
		if p.network() == nil {
			net := p.agent.Network.HostPod()
			if !p.object.Spec.HostNetwork {
				var err error
				if net, err = p.agent.Network.Add(); err != nil {
					return err
				}
			}
			p.mu.Lock()
			p.net = net
			p.mu.Unlock()
			p.changed()
		}
		return p.volumes.fill(ctx)
	})
}

// until tries again what did not succeed, and says why on the pod.
func (p *pod) until(try func(context.Context) error) bool {
	for p.ending.Err() == nil {
		err := try(p.ending)
		p.mu.Lock()
		before := p.reason
		p.reason = ""
		if err != nil {
			p.reason = err.Error()
		}
		told := before == p.reason
		p.mu.Unlock()
		if err == nil {
			return true
		}
		if !told {
			p.changed()
		}
		p.sleep(retryInterval)
	}
	return false
}

// initialize runs init containers one after the other; the next waits until one
// has ended well or, if it is a sidecar, has started.
func (p *pod) initialize() bool {
	go p.volumes.refresh(p.ending)
	for _, i := range p.instances {
		if !i.initial {
			continue
		}
		i.start()
		select {
		case <-i.done:
			if i.code() != 0 {
				return false
			}
		case <-i.started:
			if !i.sidecar {
				<-i.done
				if i.code() != 0 {
					return false
				}
			}
		case <-p.ending.Done():
			return false
		}
	}
	return p.ending.Err() == nil
}

// work runs the others until all are done, and says whether they ended well.
func (p *pod) work() bool {
	p.mu.Lock()
	p.phase = corev1.PodRunning
	p.mu.Unlock()
	for _, i := range p.instances {
		if !i.initial {
			i.start()
		}
	}
	if s := p.object.Spec.ActiveDeadlineSeconds; s != nil {
		limit := time.AfterFunc(time.Duration(*s)*time.Second, func() { p.end(30*time.Second, false) })
		defer limit.Stop()
	}
	ok := true
	for _, i := range p.instances {
		if i.initial {
			continue
		}
		select {
		case <-i.done:
			ok = ok && i.code() == 0
		case <-p.ending.Done():
			return false
		}
	}
	return ok
}

// end lets the pod end within the grace period; a shorter one counts.
func (p *pod) end(grace time.Duration, deleted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	deadline := time.Now().Add(grace)
	if p.deadline.IsZero() || deadline.Before(p.deadline) {
		p.deadline = deadline
	}
	p.deleted = p.deleted || deleted
	p.cancel()
}

// stop ends the containers: first the main ones together, then sidecars one after
// the other, the last that started first. They share one grace period.
func (p *pod) stop() {
	var all sync.WaitGroup
	for _, i := range p.instances {
		if !i.sidecar {
			all.Go(i.stop)
		}
	}
	all.Wait()
	for n := len(p.instances) - 1; n >= 0; n-- {
		if i := p.instances[n]; i.sidecar {
			i.stop()
		}
	}
}

func (p *pod) succeeded() bool {
	for _, i := range p.instances {
		if !i.sidecar && (!i.ran() || i.code() != 0) {
			return false
		}
	}
	return true
}

func (p *pod) network() *network.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.net
}

func (p *pod) isDeleted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deleted
}

// remaining is what is left of the grace period.
func (p *pod) remaining() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.deadline)
}

func (p *pod) sleep(d time.Duration) {
	select {
	case <-p.ending.Done():
	case <-time.After(d):
	}
}

// persist repeats what the API server has to take some time, as long as the agent
// runs: it may be restarting.
func (a *Agent) persist(what string, try func(context.Context) error) {
	for a.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(a.ctx, 5*time.Second)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		a.Log.Debug("not taken, tried again", "what", what, "error", err)
		select {
		case <-a.ctx.Done():
		case <-time.After(retryInterval):
		}
	}
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

var errNoGrace = errors.New("the grace period is over")

func (p *pod) String() string { return fmt.Sprintf("%s/%s", p.object.Namespace, p.object.Name) }
