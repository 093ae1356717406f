// Package probe says what a sidecar asks its application in place of the
// kubelet: the form in which the injector writes it and the sidecar reads it.
//
// It is pure, and never performs a probe: package sidecar does. It must never
// import Kubernetes, as it is in the process beside every application.
package probe

import "net/netip"

// Kinds of what a kubelet does to a container over the network.
const (
	Liveness  = "liveness"
	Readiness = "readiness"
	Startup   = "startup"
	PostStart = "poststart"
	PreStop   = "prestop"
)

// Prefix begins the path of every probe at the sidecar.
const Prefix = "/app-probe/"

// Path is where the kubelet asks for a probe of a container.
func Path(container, kind string) string { return Prefix + container + "/" + kind }

// Action is what is done; one of the three is set.
type Action struct {
	HTTP *HTTP `json:"http,omitempty"`
	TCP  *TCP  `json:"tcp,omitempty"`
	GRPC *GRPC `json:"grpc,omitempty"`
	// Seconds is how long it may take; 0: as long as the kubelet waits.
	Seconds int `json:"seconds,omitempty"`
}

// HTTP is a GET. An empty Host is the pod's address, here and below.
type HTTP struct {
	Host string `json:"host,omitempty"`
	Port int    `json:"port"`
	// Path may have a query.
	Path string `json:"path,omitempty"`
	// TLS: the certificate is not verified, as the kubelet does not.
	TLS bool `json:"tls,omitempty"`
	// Headers are names and values, in order.
	Headers [][2]string `json:"headers,omitempty"`
}

// TCP is a connection that is made and closed.
type TCP struct {
	Host string `json:"host,omitempty"`
	Port int    `json:"port"`
}

// GRPC is a call of grpc.health.v1.Health/Check, without TLS.
type GRPC struct {
	Port    int    `json:"port"`
	Service string `json:"service,omitempty"`
}

// Inside reports whether a host is the pod itself, whoever asks from inside.
func Inside(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
