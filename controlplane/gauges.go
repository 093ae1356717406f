package controlplane

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/serve"
)

// The control plane's own metrics, each replica's for itself.
const (
	gaugeProxies   = "wasmesh_controlplane_proxies"
	gaugeUnsettled = "wasmesh_controlplane_proxies_unsettled"
	gaugeRefusing  = "wasmesh_controlplane_proxies_refusing"
	gaugeProblems  = "wasmesh_controlplane_problems"
	gaugeLeafEnd   = "wasmesh_controlplane_proxy_certificate_end_seconds"
	gaugeSignerEnd = "wasmesh_controlplane_signer_end_seconds"
)

// gauges are what an operator is to be woken for. They name no workload: who it is
// about is what `wasmesh status` tells.
type gauges struct {
	proxies   []serve.Proxy
	problems  int
	signerEnd time.Time
}

// Write writes them as Prometheus reads them.
func (g gauges) Write(w io.Writer) error {
	var b strings.Builder
	gauge := func(name, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %[1]s gauge\n", name, help) }
	one := func(name, help string, value any) {
		gauge(name, help)
		fmt.Fprintf(&b, "%s %v\n", name, value)
	}
	unsettled, refusing, end := 0, map[string]int{}, time.Time{}
	for _, p := range g.proxies {
		if !p.Settled {
			unsettled++
		}
		for _, r := range p.Refusals {
			refusing[kindOf(r.Type)]++
		}
		if end.IsZero() || p.Expires.Before(end) {
			end = p.Expires
		}
	}
	one(gaugeProxies, "Sidecars whose stream this replica serves.", len(g.proxies))
	one(gaugeUnsettled, "Of these, those that have not taken everything yet.", unsettled)
	gauge(gaugeRefusing, "Of these, those whose last answer for a type was a refusal (NACK).")
	for _, kind := range resourceKinds() {
		fmt.Fprintf(&b, "%s{type=%q} %d\n", gaugeRefusing, kind, refusing[kind])
	}
	one(gaugeProblems, "Problems with objects of the mesh.", g.problems)
	if !end.IsZero() {
		one(gaugeLeafEnd, "When the first certificate of a connected sidecar ends, in seconds since 1970.", end.Unix())
	}
	one(gaugeSignerEnd, "When the certificate that signs all others ends, in seconds since 1970.", g.signerEnd.Unix())
	_, err := io.WriteString(w, b.String())
	return err
}

// resourceKinds are the types of xDS that sidecars are sent.
func resourceKinds() []string {
	return []string{"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "Runtime", "TypedExtensionConfig", "other"}
}

// kindOf is the last word of a type URL, if it is one that sidecars are sent.
func kindOf(typeURL string) string {
	if kind := typeURL[strings.LastIndexByte(typeURL, '.')+1:]; slices.Contains(resourceKinds(), kind) {
		return kind
	}
	return "other"
}

func (p *plane) tellGauges(w http.ResponseWriter, _ *http.Request) {
	g := gauges{proxies: p.server.Proxies(), signerEnd: p.authority.SignerEnd()}
	if problems := p.problems.Load(); problems != nil {
		g.problems = len(*problems)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_ = g.Write(w) // the asker has gone
}
