package policy

// Refusal is all that a denied caller learns, whoever refuses: the
// destination's filter, or the caller's own sidecar.
const Refusal = "access denied\n"

// Barred says why a peer is denied whatever it asks for on a port: what is
// granted to it, if anything, does not get that far. ReasonNone: some request,
// or on an opaque port the connection, can pass.
func (t *Table) Barred(peer string, port uint16, opaque bool) Reason {
	v := t.DecideConnection(peer, port)
	if !opaque {
		// The clauses for source and port are looked at before all others, so any
		// request shows what they say of every one.
		v = t.Decide(Request{Peer: peer, Port: port, Path: "/"})
	}
	switch v.Reason {
	case ReasonPolicy, ReasonSource, ReasonPort:
		return v.Reason
	}
	return ReasonNone
}
