package world

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// YAML writes the world as manifests.
func (w World) YAML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# pathMatch full: %v\n", w.PathFull)
	o := w.Objects
	for _, a := range o.ServiceAccounts {
		a.APIVersion, a.Kind = "v1", "ServiceAccount"
		write(&b, a)
	}
	for _, t := range o.TrafficTargets {
		t.APIVersion, t.Kind = "access.smi-spec.io/v1alpha3", "TrafficTarget"
		write(&b, t)
	}
	for _, g := range o.HTTPRouteGroups {
		g.APIVersion, g.Kind = "specs.smi-spec.io/v1alpha4", "HTTPRouteGroup"
		write(&b, g)
	}
	for _, r := range o.TCPRoutes {
		r.APIVersion, r.Kind = "specs.smi-spec.io/v1alpha4", "TCPRoute"
		write(&b, r)
	}
	return b.String()
}

func write(b *strings.Builder, o any) {
	text, err := yaml.Marshal(o)
	if err != nil {
		text = []byte("# " + err.Error() + "\n")
	}
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "creationTimestamp") {
			b.WriteString(line)
		}
	}
	b.WriteString("---\n")
}

// String writes the request on one line.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q -> %s:%d  %s %q", r.Peer, r.Server, r.Port, r.Method, r.Target)
	for _, h := range r.Headers {
		fmt.Fprintf(&b, " %q", h.Name+": "+h.Value)
	}
	return b.String()
}
