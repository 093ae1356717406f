package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/tests/e2e/container"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probes runs a container's probes for one life of it: first startup, then
// readiness and liveness.
func (i *instance) probes(ctx context.Context) {
	if s := i.spec.StartupProbe; s != nil && !i.startup(ctx, s) {
		return
	}
	i.update(func(s *corev1.ContainerStatus) {
		yes := true
		s.Started = &yes
		s.Ready = i.spec.ReadinessProbe == nil
		select {
		case <-i.started:
		default:
			close(i.started)
		}
	})
	var both sync.WaitGroup
	if r := i.spec.ReadinessProbe; r != nil {
		both.Go(func() {
			i.repeat(ctx, r, func(ok bool, _ error) bool {
				if i.current() != nil && i.isReady() != ok {
					i.update(func(s *corev1.ContainerStatus) { s.Ready = ok })
				}
				return true
			})
		})
	}
	if l := i.spec.LivenessProbe; l != nil {
		both.Go(func() {
			i.repeat(ctx, l, func(ok bool, err error) bool {
				if !ok {
					i.fail("Liveness", err)
				}
				return ok
			})
		})
	}
	both.Wait()
}

func (i *instance) startup(ctx context.Context, probe *corev1.Probe) (started bool) {
	i.repeat(ctx, probe, func(ok bool, err error) bool {
		if started = ok; !ok {
			i.fail("Startup", err)
		}
		return false
	})
	return started
}

func (i *instance) fail(kind string, err error) {
	select {
	case i.unhealthy <- fmt.Sprintf("%s probe failed: %v", kind, err):
	default:
	}
}

func (i *instance) isReady() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.status.Ready
}

// repeat probes until the context ends or judge is told enough: it hears of each
// time that the thresholds are reached.
func (i *instance) repeat(ctx context.Context, p *corev1.Probe, judge func(ok bool, err error) bool) {
	period := time.Duration(max(p.PeriodSeconds, 1)) * time.Second
	wait := time.Duration(p.InitialDelaySeconds) * time.Second
	var good, bad int32
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = period
		limit, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
		err := i.probe(limit, p.ProbeHandler)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		if good >= max(p.SuccessThreshold, 1) && !judge(true, nil) || bad >= max(p.FailureThreshold, 1) && !judge(false, err) {
			return
		}
		if good == 0 && bad < 3 {
			wait = min(period, time.Duration(bad)*200*time.Millisecond) // a slow start need not cost whole periods
		}
	}
}

func (i *instance) probe(ctx context.Context, h corev1.ProbeHandler) error {
	switch {
	case h.HTTPGet != nil:
		return i.get(ctx, h.HTTPGet)
	case h.TCPSocket != nil:
		address, err := i.address(h.TCPSocket.Host, h.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	case h.GRPC != nil:
		return i.health(ctx, h.GRPC)
	case h.Exec != nil:
		running := i.current()
		if running == nil {
			return fmt.Errorf("it does not run")
		}
		return execute(ctx, running, h.Exec)
	}
	return fmt.Errorf("probe without a handler")
}

func execute(ctx context.Context, running *container.Running, e *corev1.ExecAction) error {
	code, out, err := running.Exec(ctx, e.Command)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %s", code, out)
	}
	return err
}

func (i *instance) get(ctx context.Context, g *corev1.HTTPGetAction) error {
	address, err := i.address(g.Host, g.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if g.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+g.Path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/1.36")
	for _, h := range g.HTTPHeaders {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			request.Host = h.Value
		}
		request.Header.Set(h.Name, h.Value)
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // as a kubelet does
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

func (i *instance) health(ctx context.Context, g *corev1.GRPCAction) error {
	address, err := i.address("", intstr.FromInt32(g.Port))
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	request := &grpc_health_v1.HealthCheckRequest{}
	if g.Service != nil {
		request.Service = *g.Service
	}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, request)
	if err == nil && answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fmt.Errorf("health is %v", answer.Status)
	}
	return err
}

// address gives where a handler leads; a port may be one of the container's names.
func (i *instance) address(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = i.pod.network().IPs[0].String()
	}
	number := port.IntValue()
	for _, p := range i.spec.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			number = int(p.ContainerPort)
		}
	}
	if number == 0 {
		return "", fmt.Errorf("container %s has no port %s", i.spec.Name, port.String())
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}

// hook runs what a container wants to have done before it ends.
func (i *instance) hook(ctx context.Context, running *container.Running, h *corev1.LifecycleHandler) error {
	switch {
	case h.Exec != nil:
		return execute(ctx, running, h.Exec)
	case h.HTTPGet != nil:
		return i.get(ctx, h.HTTPGet)
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
			return errNoGrace
		case <-running.Done():
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		}
	}
	return nil
}
