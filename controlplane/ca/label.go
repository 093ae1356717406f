package ca

import (
	"fmt"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/identity"
)

// Label writes a workload as the one DNS name that its leaf carries; the form
// is that of filters/identity, whose reader is in the filter. What does not fit
// a DNS name is refused: a shortened label could name somebody else.
func Label(workload mesh.Name, kind string) (string, error) {
	label, ok := identity.Label{Namespace: workload.Namespace, Kind: kind, Name: workload.Name}.DNSName()
	if !ok {
		return "", fmt.Errorf("workload %.300q of kind %.80q does not fit the DNS name in its certificate; use a lower-case DNS name, and a shorter one if it is long", workload, kind)
	}
	return label, nil
}

// ParseLabel reads what Label wrote.
func ParseLabel(label string) (workload mesh.Name, kind string, ok bool) {
	l, ok := identity.ParseLabel(label)
	return mesh.Name{Namespace: l.Namespace, Name: l.Name}, l.Kind, ok
}
