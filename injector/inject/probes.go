package inject

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

const probesFlag = "--app-probes="

// appProbes are the probes of the application as they were, by container and by
// kind. The sidecar makes them from inside the pod: what the node asks comes
// without a certificate, and would be refused.
type appProbes map[string]map[string]probe

// probe is what of a probe says whom to ask.
type probe struct {
	HTTPGet        *httpGet   `json:"httpGet,omitempty"`
	TCPSocket      *tcpSocket `json:"tcpSocket,omitempty"`
	GRPC           *grpc      `json:"grpc,omitempty"`
	TimeoutSeconds int32      `json:"timeoutSeconds,omitempty"`
}

type httpGet struct {
	Path        string              `json:"path,omitempty"`
	Port        int32               `json:"port"`
	Scheme      corev1.URIScheme    `json:"scheme,omitempty"`
	HTTPHeaders []corev1.HTTPHeader `json:"httpHeaders,omitempty"`
}

type tcpSocket struct {
	Port int32 `json:"port"`
}

type grpc struct {
	Port    int32  `json:"port"`
	Service string `json:"service,omitempty"`
}

// redirectProbes has every probe ask the sidecar, and returns what they asked
// before. known are those that an earlier injection has redirected already.
func redirectProbes(pod *corev1.Pod, known appProbes) (appProbes, []string, error) {
	out := appProbes{}
	var notes []string
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			c := &list[i]
			of, err := redirectIn(c, known)
			if err != nil {
				return nil, nil, fmt.Errorf("container %s: %w", c.Name, err)
			}
			if len(of) > 0 {
				out[c.Name] = of
			}
			if c.Lifecycle != nil && (asks(c.Lifecycle.PostStart) || asks(c.Lifecycle.PreStop)) {
				notes = append(notes, "container "+c.Name+": the node makes its lifecycle hook without a certificate; unless the namespace lets plaintext in, use exec")
			}
		}
	}
	return out, notes, nil
}

func redirectIn(c *corev1.Container, known appProbes) (map[string]probe, error) {
	out := map[string]probe{}
	for _, p := range []struct {
		kind  string
		probe *corev1.Probe
	}{{"liveness", c.LivenessProbe}, {"readiness", c.ReadinessProbe}, {"startup", c.StartupProbe}} {
		original, ok, err := originalOf(c, p.kind, p.probe, known)
		if err != nil {
			return nil, fmt.Errorf("%s probe: %w", p.kind, err)
		}
		if !ok {
			continue
		}
		out[p.kind] = original
		p.probe.ProbeHandler = corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: probePath(c.Name, p.kind), Port: intstr.FromInt32(redirect.ProbesPort), Scheme: corev1.URISchemeHTTP,
		}}
	}
	return out, nil
}

func asks(h *corev1.LifecycleHandler) bool {
	return h != nil && (h.HTTPGet != nil || h.TCPSocket != nil)
}

func probePath(container, kind string) string { return "/app-probe/" + container + "/" + kind }

// originalOf returns what a probe asks the application; false where it asks
// nobody, or somebody else.
func originalOf(c *corev1.Container, kind string, p *corev1.Probe, known appProbes) (probe, bool, error) {
	if p == nil {
		return probe{}, false, nil
	}
	out := probe{TimeoutSeconds: p.TimeoutSeconds}
	var err error
	switch {
	case p.HTTPGet != nil && p.HTTPGet.Path == probePath(c.Name, kind) && p.HTTPGet.Port == intstr.FromInt32(redirect.ProbesPort):
		before, ok := known[c.Name][kind]
		if !ok {
			return probe{}, false, fmt.Errorf("it asks the sidecar already, which does not know what it asked before; restore it")
		}
		return before, true, nil
	case p.HTTPGet != nil && p.HTTPGet.Host == "":
		out.HTTPGet = &httpGet{Path: p.HTTPGet.Path, Scheme: p.HTTPGet.Scheme, HTTPHeaders: p.HTTPGet.HTTPHeaders}
		out.HTTPGet.Port, err = portOf(c, p.HTTPGet.Port)
	case p.TCPSocket != nil && p.TCPSocket.Host == "":
		out.TCPSocket = &tcpSocket{}
		out.TCPSocket.Port, err = portOf(c, p.TCPSocket.Port)
	case p.GRPC != nil:
		out.GRPC = &grpc{Port: p.GRPC.Port}
		if p.GRPC.Service != nil {
			out.GRPC.Service = *p.GRPC.Service
		}
	default:
		return probe{}, false, nil
	}
	return out, err == nil, err
}

// portOf resolves a port that may be a name.
func portOf(c *corev1.Container, port intstr.IntOrString) (int32, error) {
	if port.Type == intstr.Int {
		return port.IntVal, nil
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return p.ContainerPort, nil
		}
	}
	return 0, fmt.Errorf("the container has no port named %q", clip(port.StrVal))
}

// probesIn finds what an earlier injection kept.
func probesIn(args []string) (appProbes, error) {
	for _, a := range args {
		text, ok := strings.CutPrefix(a, probesFlag)
		if !ok {
			continue
		}
		out := appProbes{}
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return nil, fmt.Errorf("%s cannot be read: %w", strings.TrimSuffix(probesFlag, "="), err)
		}
		return out, nil
	}
	return appProbes{}, nil
}

// encode is JSON with sorted keys, so that the same pod is injected alike.
func encode(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}
