package identity

// Expressions read a peer's certificate in CEL, as the sidecar's own loggers do, to
// which no code of ours comes: each gives what the Workload of that peer has, and
// Pod the name in the label, which is that of the one instance.
type Expressions struct{ Namespace, Kind, Name, Pod string }

// ExpressionsOf are those of the peer on one side of a sidecar, "connection" or
// "upstream". A peer without a certificate of the mesh is unknown. They need the
// functions for strings, and the concatenation of them.
func ExpressionsOf(side string) Expressions {
	label, subject := side+".dns_san_peer_certificate", side+".subject_peer_certificate"
	fromRight := func(n string) string {
		return label + ".split('.')[size(" + label + ".split('.')) - " + n + "]"
	}
	// The last three parts are the suffix; a name may hold dots.
	namespace, kind := fromRight("4"), fromRight("5")
	name := label + ".replace('.' + " + kind + " + '.' + " + namespace + " + '" + suffix + "', '')"
	isPod := kind + " == '" + labelPod + "'"
	owned := "has(" + subject + ") && " + subject + ".startsWith('CN=') && " + subject + ".contains(',OU=')"
	known := func(value string) string {
		return "has(" + label + ") && " + label + ".endsWith('" + suffix + "') ? (" + value + ") : '" + unknown + "'"
	}
	return Expressions{
		Namespace: known(namespace),
		Kind:      known("!(" + isPod + ") ? '" + kindWorkload + "' : " + owned + " ? " + subject + ".split(',OU=')[1] : '" + kindPod + "'"),
		Name:      known(isPod + " && " + owned + " ? " + subject + ".split(',OU=')[0].replace('CN=', '') : " + name),
		Pod:       known(name),
	}
}
