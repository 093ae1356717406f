package agent

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// changed has the status told soon.
func (p *pod) changed() {
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

// tell keeps the pod's status at the API server as it is, until the pod is done.
func (p *pod) tell() {
	since := map[corev1.PodConditionType]corev1.PodCondition{}
	for {
		select {
		case <-p.agent.ctx.Done():
			return
		case <-p.dirty:
		}
		p.mu.Lock()
		last := p.finished
		p.mu.Unlock()
		status := p.status(since)
		p.agent.persist("status of "+p.String(), func(ctx context.Context) error {
			patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.object.UID}, "status": status})
			if err != nil {
				return err
			}
			_, err = p.agent.Client.CoreV1().Pods(p.object.Namespace).Patch(ctx, p.object.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
			return ignoreGone(err)
		})
		if last {
			return
		}
		time.Sleep(10 * time.Millisecond) // what happens together is told together
	}
}

func (p *pod) status(since map[corev1.PodConditionType]corev1.PodCondition) corev1.PodStatus {
	p.mu.Lock()
	status := corev1.PodStatus{
		Phase: p.phase, Message: p.reason,
		StartTime: &metav1.Time{Time: p.object.CreationTimestamp.Time},
		HostIP:    nodeIPs[0].IP, HostIPs: nodeIPs,
	}
	net, starting := p.net, p.reason != ""
	p.mu.Unlock()
	if net != nil {
		status.PodIP = net.IPs[0].String()
		for _, ip := range net.IPs {
			status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip.String()})
		}
	}
	initialized, ready := true, true
	for _, i := range p.instances {
		i.mu.Lock()
		c := *i.status.DeepCopy()
		i.mu.Unlock()
		if starting && c.State.Waiting != nil {
			c.State.Waiting.Reason = "ContainerCreating"
		}
		switch {
		case i.sidecar:
			initialized = initialized && c.Started != nil && (*c.Started || c.State.Terminated != nil)
			ready = ready && c.Ready
		case i.initial:
			c.Ready = c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
			initialized = initialized && c.Ready
		default:
			ready = ready && c.Ready
		}
		if i.initial {
			status.InitContainerStatuses = append(status.InitContainerStatuses, c)
		} else {
			status.ContainerStatuses = append(status.ContainerStatuses, c)
		}
	}
	ready = ready && status.Phase == corev1.PodRunning
	for _, c := range []struct {
		kind corev1.PodConditionType
		is   bool
	}{
		{corev1.PodReadyToStartContainers, net != nil},
		{corev1.PodInitialized, initialized},
		{corev1.ContainersReady, ready},
		{corev1.PodReady, ready},
	} {
		status.Conditions = append(status.Conditions, condition(since, c.kind, c.is))
	}
	return status
}

// condition keeps the time of the last change.
func condition(since map[corev1.PodConditionType]corev1.PodCondition, kind corev1.PodConditionType, is bool) corev1.PodCondition {
	value := corev1.ConditionFalse
	if is {
		value = corev1.ConditionTrue
	}
	if last, ok := since[kind]; !ok || last.Status != value {
		since[kind] = corev1.PodCondition{Type: kind, Status: value, LastTransitionTime: metav1.Now()}
	}
	return since[kind]
}
