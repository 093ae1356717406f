package identity

// Expressions read a peer's certificate in CEL, as the sidecar's own loggers do, to
// which no code of ours comes: each gives what the Workload of that peer has, and
// Pod the name in the label, which is that of the one instance.
type Expressions struct{ Namespace, Kind, Name, Pod string }

// ExpressionsOf are those of the peer on one side of a sidecar, "connection" or
// "upstream". A peer without a label is unknown. They need the functions for strings,
// and the concatenation of them.
func ExpressionsOf(side string) Expressions {
	label, subject := side+".dns_san_peer_certificate", side+".subject_peer_certificate"
	// The namespace is that of the service account, spiffe://<domain>/ns/<it>/sa/<name>:
	// with it the label ends as a name with dots never does.
	namespace := side + ".uri_san_peer_certificate.split('/')[4]"
	end := func(kind string) string { return "'." + kind + ".' + " + namespace + " + '" + suffix + "'" }
	pod := label + ".split(" + end(labelPod) + ")[0].split(" + end(labelWorkload) + ")[0]"
	isPod := label + ".endsWith(" + end(labelPod) + ")"
	owner := subject + ".split(',OU=')"
	owned := "has(" + subject + ") && " + subject + ".contains(',OU=') && " + isPod
	known := func(value string) string { return "has(" + label + ") ? (" + value + ") : '" + unknown + "'" }
	return Expressions{
		Namespace: known(namespace),
		Kind:      known(owned + " ? " + owner + "[1] : " + isPod + " ? '" + kindPod + "' : '" + kindWorkload + "'"),
		Name:      known(owned + " ? " + owner + "[0].replace('CN=', '') : " + pod),
		Pod:       known(pod),
	}
}

// OwnerExpressions read no more than what takes little memory: a sidecar has a
// listener for every port of every service, and one call of a function in each costs
// it 1.9 KB. Where the certificate names no owner, Kind and Name have no value.
func OwnerExpressions(side string) Expressions {
	owner := side + ".subject_peer_certificate.split(',OU=')"
	return Expressions{
		Namespace: side + ".uri_san_peer_certificate.split('/')[4]",
		Kind:      owner + "[1]",
		Name:      owner + "[0].split('CN=')[1]",
	}
}
