package policy

// Decide reports whether the table allows r, and why. It allocates nothing when
// it allows a plain path. Rules are a union (smi-rules 5, 6): the first that
// matches wins only in being named.
func (t *Table) Decide(r Request) Verdict {
	path, ok := Normalize(r.Path)
	if !ok {
		return Verdict{Reason: ReasonReject}
	}
	mine := t.grantsOf(r.Peer)
	if len(mine) == 0 {
		return t.refuse(mine, r.Port)
	}
	s := search{table: t, request: r, mine: mine}
	s.path(path)
	switch {
	case s.found:
		return Verdict{Allow: true, Rule: t.text(t.grants[s.first.grant].name)}
	case s.furthest != ReasonNone:
		return Verdict{Reason: s.furthest}
	}
	return t.refuse(mine, r.Port)
}

// grantsOf returns what a source is granted, ascending.
func (t *Table) grantsOf(peer string) []uint32 {
	list, ok := t.sources.list(peer)
	if !ok {
		return nil
	}
	return t.lists.list(list)
}

// refuse says why no match of these grants was even looked at beyond its path.
func (t *Table) refuse(mine []uint32, port uint16) Verdict {
	furthest := ReasonSource
	for _, i := range mine {
		g := &t.grants[i]
		switch {
		case len(t.matchesOf(g)) == 0: // says nothing of requests
		case t.covers(g, port):
			return Verdict{Reason: ReasonPath}
		default:
			furthest = ReasonPort
		}
	}
	if furthest == ReasonSource && !t.grantsRequests() {
		return Verdict{Reason: ReasonPolicy}
	}
	return Verdict{Reason: furthest}
}

// grantsRequests reports whether any request is granted to anyone.
func (t *Table) grantsRequests() bool { return len(t.matches) > 0 }

// DecideConnection reports whether peer may open a connection to an opaque port,
// where there is nothing to see but who calls. Only TCPRoutes grant that
// (smi-rules 3, 25, 26). It allocates nothing.
func (t *Table) DecideConnection(peer string, port uint16) Verdict {
	if len(t.grants) == 0 {
		return Verdict{Reason: ReasonPolicy}
	}
	furthest := ReasonSource
	for _, i := range t.grantsOf(peer) {
		g := &t.grants[i]
		if t.carries(g, port) {
			return Verdict{Allow: true, Rule: t.text(g.name)}
		}
		furthest = ReasonPort
	}
	return Verdict{Reason: furthest}
}

// carries is the clause for opaque ports (smi-rules 24 to 28).
func (t *Table) carries(g *grant, port uint16) bool { return g.connections && t.covers(g, port) }

// covers is the port clause (smi-rules 23 to 29).
func (t *Table) covers(g *grant, port uint16) bool {
	for _, p := range t.portsOf(g) {
		if p.First <= port && port <= p.Last {
			return true
		}
	}
	return false
}

// failed names the first clause of m behind the path that r fails, ReasonNone if
// there is none. It is the only place where a match meets a request.
func (t *Table) failed(m *match, r *Request) Reason {
	switch {
	case !t.allowsMethod(m, r.Method):
		return ReasonMethod
	case !t.allowsHeaders(m, r.Headers):
		return ReasonHeader
	}
	return ReasonNone
}

// allowsMethod is the method clause (smi-rules 41, 42): exact, case and all.
func (t *Table) allowsMethod(m *match, method string) bool {
	methods := t.methodsOf(m)
	if len(methods) == 0 {
		return true
	}
	for _, granted := range methods {
		if t.text(granted) == method {
			return true
		}
	}
	return false
}

// allowsHeaders is the header clause (smi-rules 43, 46, 47).
func (t *Table) allowsHeaders(m *match, headers []Header) bool {
	for _, h := range t.headersOf(m) {
		if !t.allowsHeader(h, headers) {
			return false
		}
	}
	return true
}

// allowsHeader wants the header present, and every value under its name
// granted: an application may read the first of two values, or the last.
func (t *Table) allowsHeader(h header, headers []Header) bool {
	name := t.text(h.name)
	present := false
	for i := range headers {
		value, ok := valueUnder(name, &headers[i])
		if !ok {
			continue
		}
		if !t.values[h.value].Match(value) {
			return false
		}
		present = true
	}
	return present
}

// valueUnder returns the line's value as it is compared, if the line carries
// the name; "host" and ":authority" are one header with two names.
func valueUnder(name string, line *Header) (string, bool) {
	if name == "host" {
		if line.Name != "host" && line.Name != ":authority" {
			return "", false
		}
		return Authority(trim(line.Value)), true
	}
	if line.Name != name {
		return "", false
	}
	return trim(line.Value), true
}

// further returns the reason of the clause that is looked at later.
func further(a, b Reason) Reason {
	if b.depth() > a.depth() {
		return b
	}
	return a
}

func (r Reason) depth() int {
	switch r {
	case ReasonPort:
		return 1
	case ReasonPath:
		return 2
	case ReasonMethod:
		return 3
	case ReasonHeader:
		return 4
	}
	return 0
}
