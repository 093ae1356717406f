package policy

// Explanation is a verdict with everything that led to it.
type Explanation struct {
	Verdict Verdict
	// Path is how the request's path was read; empty if it was rejected.
	Path Path
	// Trials are all rules for requests in the table's order, one per match, or one per
	// TrafficTarget where it failed before its matches were looked at.
	Trials []Trial
}

// Trial says what became of the request at one match of one TrafficTarget.
type Trial struct {
	Rule  string
	Match string
	// Failed is the first clause that did not hold; ReasonNone: it allows.
	Failed Reason
	// Header is the name of the header that failed, where one did.
	Header string
}

// Explain walks every rule with the clauses that Decide uses and stops at none.
func (t *Table) Explain(r Request) Explanation {
	e := Explanation{Verdict: t.Decide(r)}
	path, ok := Normalize(r.Path)
	if !ok {
		return e
	}
	e.Path = path
	mine, holds := t.grantsOf(r.Peer), t.holding(path)
	for i := range t.grants {
		g := &t.grants[i]
		switch {
		case len(t.matchesOf(g)) == 0: // says nothing of requests
		case !contains(mine, uint32(i)):
			e.Trials = append(e.Trials, Trial{Rule: t.text(g.name), Failed: ReasonSource})
		case !t.covers(g, r.Port):
			e.Trials = append(e.Trials, Trial{Rule: t.text(g.name), Failed: ReasonPort})
		default:
			e.Trials = append(e.Trials, t.trials(g, holds, &r)...)
		}
	}
	return e
}

// ExplainConnection walks every rule for a connection to an opaque port.
func (t *Table) ExplainConnection(peer string, port uint16) Explanation {
	e := Explanation{Verdict: t.DecideConnection(peer, port)}
	mine := t.grantsOf(peer)
	for i := range t.grants {
		g := &t.grants[i]
		trial := Trial{Rule: t.text(g.name)}
		switch {
		case !contains(mine, uint32(i)):
			trial.Failed = ReasonSource
		case !t.carries(g, port):
			trial.Failed = ReasonPort
		}
		e.Trials = append(e.Trials, trial)
	}
	return e
}

// holding tells for every pattern whether it accepts the path.
func (t *Table) holding(path Path) []bool {
	holds := make([]bool, t.patterns)
	for _, u := range t.paths {
		a := accept(u, path)
		for i := range a.literal {
			pattern, both := a.pattern(i)
			holds[pattern] = both
		}
	}
	return holds
}

func (t *Table) trials(g *grant, holds []bool, r *Request) []Trial {
	var out []Trial
	matches := t.matchesOf(g)
	for i := range matches {
		out = append(out, t.trial(g, &matches[i], holds, r))
	}
	return out
}

func (t *Table) trial(g *grant, m *match, holds []bool, r *Request) Trial {
	trial := Trial{Rule: t.text(g.name), Match: t.text(m.name), Failed: ReasonPath}
	if m.path != anyPath && !holds[m.path] {
		return trial
	}
	trial.Failed = t.failed(m, r)
	if trial.Failed == ReasonHeader {
		for _, h := range t.headersOf(m) {
			if !t.allowsHeader(h, r.Headers) {
				trial.Header = t.text(h.name)
				break
			}
		}
	}
	return trial
}
