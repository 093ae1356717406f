package smi

import (
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// protocolOf reads a port's protocol: appProtocol where it is set, then what
// stands before the first dash of the port's name, then HTTP. An appProtocol
// that is not known names something that is not HTTP, so it counts as opaque:
// read as HTTP it would be answered with errors.
func protocolOf(appProtocol, portName string) mesh.Protocol {
	if appProtocol != "" {
		if p, ok := protocolNamed(appProtocol); ok {
			return p
		}
		return mesh.TCP
	}
	if portName == "grpc-web" || strings.HasPrefix(portName, "grpc-web-") {
		return mesh.HTTP1
	}
	prefix, _, _ := strings.Cut(portName, "-")
	if p, ok := protocolNamed(prefix); ok {
		return p
	}
	return mesh.HTTP1
}

// protocolNamed knows the names that Kubernetes and other meshes use. TLS that
// the application speaks itself is opaque to a proxy.
func protocolNamed(name string) (mesh.Protocol, bool) {
	switch strings.ToLower(name) {
	case "http", "grpc-web", "kubernetes.io/ws":
		return mesh.HTTP1, true
	case "http2", "grpc", "h2c", "kubernetes.io/h2c":
		return mesh.HTTP2, true
	case "tcp", "tls", "https", "kubernetes.io/wss":
		return mesh.TCP, true
	}
	return "", false
}

// validPort says whether a number can be a port that something listens on.
func validPort(n int) bool { return 1 <= n && n <= 65535 }
