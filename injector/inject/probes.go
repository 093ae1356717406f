package inject

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/wasmesh/wasmesh/injector/redirect"
	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

// Probes are what the sidecar performs in place of the kubelet, by path.
type Probes map[string]probe.Action

const probesFlag = "--app-probes"

// takeProbes points the probes and hooks of the application at the sidecar, and
// keeps what they were in kept: the kubelet is no member of the mesh, and would
// be refused. What is there already is left. It returns what it took, as
// container/kind.
func takeProbes(pod *corev1.Pod, kept Probes) (names, warnings []string, err error) {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if c.Name == SidecarContainer || c.Name == RedirectContainer {
				continue
			}
			for _, h := range handlers(c) {
				took, warning, err := h.take(c, kept)
				if err != nil {
					return nil, nil, fmt.Errorf("container %s: %s: %w", c.Name, h.kind, err)
				}
				if took {
					names = append(names, c.Name+"/"+h.kind)
				}
				if warning != "" {
					warnings = append(warnings, fmt.Sprintf("container %s: %s: %s", c.Name, h.kind, warning))
				}
			}
		}
	}
	return names, warnings, nil
}

// handler is one thing that a kubelet does to a container over the network. The
// pointers are into the container.
type handler struct {
	kind    string
	http    **corev1.HTTPGetAction
	tcp     **corev1.TCPSocketAction
	grpc    **corev1.GRPCAction
	seconds int32
}

func handlers(c *corev1.Container) (all []handler) {
	for _, p := range []struct {
		kind string
		is   *corev1.Probe
	}{{probe.Liveness, c.LivenessProbe}, {probe.Readiness, c.ReadinessProbe}, {probe.Startup, c.StartupProbe}} {
		if p.is != nil {
			// A second is what Kubernetes takes where nothing is said.
			all = append(all, handler{p.kind, &p.is.HTTPGet, &p.is.TCPSocket, &p.is.GRPC, max(p.is.TimeoutSeconds, 1)})
		}
	}
	if c.Lifecycle == nil {
		return all
	}
	none := new(*corev1.TCPSocketAction)
	for _, l := range []struct {
		kind string
		is   *corev1.LifecycleHandler
	}{{probe.PostStart, c.Lifecycle.PostStart}, {probe.PreStop, c.Lifecycle.PreStop}} {
		if l.is != nil {
			all = append(all, handler{l.kind, &l.is.HTTPGet, none, new(*corev1.GRPCAction), 0})
		}
	}
	return all
}

func (h handler) take(c *corev1.Container, kept Probes) (took bool, warning string, err error) {
	path := probe.Path(c.Name, h.kind)
	action := probe.Action{Seconds: int(h.seconds)}
	switch {
	case *h.http != nil:
		if pointsHere(*h.http, path) {
			return false, "", nil
		}
		if warning := elsewhere((*h.http).Host); warning != "" {
			return false, warning, nil
		}
		action.HTTP, err = httpAction(c, *h.http)
	case *h.tcp != nil:
		if warning := elsewhere((*h.tcp).Host); warning != "" {
			return false, warning, nil
		}
		action.TCP = &probe.TCP{Host: (*h.tcp).Host}
		action.TCP.Port, err = portOf(c, (*h.tcp).Port)
	case *h.grpc != nil:
		action.GRPC = &probe.GRPC{Port: int((*h.grpc).Port)}
		if s := (*h.grpc).Service; s != nil {
			action.GRPC.Service = *s
		}
	default:
		return false, "", nil // exec, sleep: no connection
	}
	if err != nil {
		return false, "", err
	}
	kept[path] = action
	*h.http = &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(redirect.ProbesPort), Scheme: corev1.URISchemeHTTP}
	*h.tcp, *h.grpc = nil, nil
	return true, "", nil
}

// pointsHere: it was taken before. Somebody else who points at the sidecar's
// port is told by conflicts of ports, or by an answer 404.
func pointsHere(a *corev1.HTTPGetAction, path string) bool {
	return a.Path == path && a.Port.IntValue() == redirect.ProbesPort
}

// elsewhere is not empty for a probe of another machine: it is the kubelet that
// reaches that one, or not.
func elsewhere(host string) string {
	if host == "" || probe.Inside(host) {
		return ""
	}
	return fmt.Sprintf("it goes to %s, not to the pod, and stays as it is", clip(host))
}

func httpAction(c *corev1.Container, a *corev1.HTTPGetAction) (*probe.HTTP, error) {
	port, err := portOf(c, a.Port)
	if err != nil {
		return nil, err
	}
	out := &probe.HTTP{Host: a.Host, Port: port, Path: a.Path, TLS: a.Scheme == corev1.URISchemeHTTPS}
	for _, h := range a.HTTPHeaders {
		out.Headers = append(out.Headers, [2]string{h.Name, h.Value})
	}
	return out, nil
}

// portOf resolves a name as the kubelet does: among the container's own ports.
func portOf(c *corev1.Container, port intstr.IntOrString) (int, error) {
	if n := port.IntValue(); n > 0 && n < 1<<16 {
		return n, nil
	}
	if port.Type == intstr.Int {
		return 0, fmt.Errorf("%d is not a port", port.IntVal)
	}
	i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.StrVal })
	if i < 0 {
		return 0, fmt.Errorf("no port of the container is named %q; name one, or give a number", clip(port.StrVal))
	}
	return int(c.Ports[i].ContainerPort), nil
}

// setProbes hands the sidecar what it performs.
func setProbes(sidecar *corev1.Container, probes Probes) error {
	if i := slices.Index(sidecar.Args, probesFlag); i >= 0 {
		sidecar.Args = slices.Delete(sidecar.Args, i, min(i+2, len(sidecar.Args)))
	}
	if len(probes) == 0 {
		return nil
	}
	text, err := json.Marshal(probes)
	if err != nil {
		return fmt.Errorf("probes: %w", err)
	}
	// Kubernetes reads $(NAME) in arguments as a variable, and $$ as a dollar sign.
	sidecar.Args = append(sidecar.Args, probesFlag, strings.ReplaceAll(string(text), "$", "$$"))
	return nil
}

// probesOf reads back what setProbes wrote.
func probesOf(sidecar *corev1.Container) (Probes, error) {
	probes := Probes{}
	i := slices.Index(sidecar.Args, probesFlag)
	if i < 0 || i+1 >= len(sidecar.Args) {
		return probes, nil
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(sidecar.Args[i+1], "$$", "$")), &probes); err != nil {
		return nil, fmt.Errorf("container %s: %s is damaged: %w", SidecarContainer, probesFlag, err)
	}
	return probes, nil
}
