package sidecar

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/wasmesh/wasmesh/filters/identity"
)

// ownEnvironment tells Envoy whom it serves, for its access log and its tracer:
// listeners are the same for every caller. It is what the first certificate says,
// and no more than that: the leaf is PEM, and first in it.
func ownEnvironment(certificates []byte) ([]string, error) {
	block, _ := pem.Decode(certificates)
	if block == nil {
		return nil, fmt.Errorf("the certificate received is no PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate received: %w", err)
	}
	label, known := identity.Label{}, false
	if len(leaf.DNSNames) == 1 {
		label, known = identity.ParseLabel(leaf.DNSNames[0])
	}
	if !known {
		return nil, fmt.Errorf("the certificate received has no peer label in %q", leaf.DNSNames)
	}
	owner, _ := identity.ParseOwner(leaf.Subject.String())
	w := identity.WorkloadOf(label, owner)
	return []string{
		"WASMESH_NAMESPACE=" + w.Namespace, "WASMESH_KIND=" + w.Kind, "WASMESH_NAME=" + w.Name, "WASMESH_POD=" + label.Name,
		"OTEL_RESOURCE_ATTRIBUTES=" + resourceAttributes(w, label),
	}, nil
}

// resourceAttributes are named as OpenTelemetry's semantic conventions for services
// and for Kubernetes name them.
func resourceAttributes(w identity.Workload, instance identity.Label) string {
	attributes := []string{"service.name=" + w.Name, "service.namespace=" + w.Namespace, "service.instance.id=" + instance.Name}
	if instance.Kind == "pod" {
		attributes = append(attributes, "k8s.namespace.name="+w.Namespace, "k8s.pod.name="+instance.Name)
		if w.Kind != "Pod" {
			attributes = append(attributes, "k8s."+strings.ToLower(w.Kind)+".name="+w.Name)
		}
	}
	return strings.Join(attributes, ",")
}
