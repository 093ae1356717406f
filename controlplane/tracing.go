package controlplane

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// Tracing says where sidecars tell of requests; the zero value: nowhere.
type Tracing struct {
	// Collector is host:port of one that speaks OTLP over gRPC.
	Collector string
	// Roots is a file of PEM roots by which it is known; empty: it is spoken to in the
	// clear.
	Roots string
	// Percent is the share of requests that begin a trace, from 0 to 100.
	Percent float64
}

// settings reads and checks them: what a sidecar would refuse must not get there.
func (t Tracing) settings() (xds.Tracing, error) {
	if t.Collector == "" {
		return xds.Tracing{}, nil
	}
	host, portText, err := net.SplitHostPort(t.Collector)
	port, wrong := strconv.ParseUint(portText, 10, 16)
	if err != nil || wrong != nil || host == "" || port == 0 {
		return xds.Tracing{}, fmt.Errorf("tracing: the collector %q must look like host:port", t.Collector)
	}
	if !(t.Percent >= 0 && t.Percent <= 100) {
		return xds.Tracing{}, fmt.Errorf("tracing: %v is no share in percent; take 0 to 100", t.Percent)
	}
	out := xds.Tracing{Host: host, Port: uint16(port), Percent: t.Percent}
	if t.Roots == "" {
		return out, nil
	}
	roots, err := os.ReadFile(t.Roots)
	if err != nil {
		return xds.Tracing{}, fmt.Errorf("tracing: roots of the collector: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(roots) {
		return xds.Tracing{}, fmt.Errorf("tracing: %s has no certificate in PEM", t.Roots)
	}
	out.Roots = string(roots)
	return out, nil
}
