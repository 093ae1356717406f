// Package identity reads the peer label: the one DNS name in a workload's
// certificate that says which workload it is, beside the SPIFFE ID that says
// what it may do.
//
// The label is signed by the mesh's authority, so metrics need no header that a
// caller could forge. The package is pure, and never decides about access: that
// rests on the SPIFFE ID alone.
package identity

import "strings"

// suffix is reserved: nothing resolves under it, and the authority signs no
// other DNS name.
const suffix = ".peer.wasmesh.internal"

// maxName is the longest DNS name (RFC 1035, 2.3.4), in bytes.
const maxName = 253

// Label says which workload a certificate belongs to.
type Label struct {
	Namespace string
	// Kind is "workload" outside Kubernetes, else that of the pod's owner.
	Kind string
	Name string
}

// String returns "namespace/name", as people and metrics write a workload.
func (l Label) String() string { return l.Namespace + "/" + l.Name }

// DNSName returns the label as the certificate carries it,
// <name>.<kind>.<namespace>.peer.wasmesh.internal. False: it does not fit a DNS
// name, or would not read back as the same label.
func (l Label) DNSName() (string, bool) {
	name := l.Name + "." + l.Kind + "." + l.Namespace + suffix
	back, ok := ParseLabel(name)
	return name, ok && back == l
}

// ParseLabel reads a DNS name of a peer's certificate. It reads from the right,
// as a name may hold dots, kind and namespace may not.
func ParseLabel(dnsName string) (Label, bool) {
	rest, ok := strings.CutSuffix(dnsName, suffix)
	if !ok || len(dnsName) > maxName || !IsDNSName(rest) {
		return Label{}, false
	}
	rest, namespace, ok := cutLast(rest)
	if !ok {
		return Label{}, false
	}
	name, kind, ok := cutLast(rest)
	return Label{Namespace: namespace, Kind: kind, Name: name}, ok
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// IsDNSName wants at most 253 bytes of lower-case labels with dots between them,
// as Kubernetes names are.
func IsDNSName(s string) bool {
	if len(s) > maxName {
		return false
	}
	for {
		label, rest, more := strings.Cut(s, ".")
		if !IsDNSLabel(label) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// IsDNSLabel wants 1 to 63 lower-case letters, digits and hyphens that neither
// start nor end with a hyphen.
func IsDNSLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
