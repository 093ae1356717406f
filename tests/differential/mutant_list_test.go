package differential

// mutants are bugs of which each is one clause read wrongly.
func mutants() []mutant {
	const (
		decide, normalize, authority = "filters/policy/decide.go", "filters/policy/normalize.go", "filters/policy/authority.go"
		encode, table, explain       = "filters/policy/encode.go", "filters/policy/table.go", "filters/policy/explain.go"
		search, sources, decode      = "filters/policy/search.go", "filters/policy/sources.go", "filters/policy/decode.go"
		union, merge                 = "filters/automaton/union.go", "filters/automaton/merge.go"
		access, routes, smi          = "controlplane/smi/access.go", "controlplane/smi/routes.go", "controlplane/smi/smi.go"
		patterns                     = "controlplane/smi/patterns.go"
	)
	return []mutant{
		{"source: every grant is everyone's", decide, "if !ok {\n\t\treturn nil\n\t}\n\treturn t.lists.list(list)", "_, _ = list, ok\n\tvar all []uint32\n\tfor i := range t.grants {\n\t\tall = append(all, uint32(i))\n\t}\n\treturn all"},
		{"port: every port from the first on", decide, `if p.First <= port && port <= p.Last {`, `if p.First <= port {`},
		{"port: the last port of a range is out", decide, `port <= p.Last {`, `port < p.Last {`},
		{"path: the literal reading is not looked at", search, `literal := u.Match(path.Literal)`, `literal := u.Match(path.Stripped)`},
		{"path: the reading without parameters is not looked at", search, `return accepted{literal, u.Match(path.Stripped)}`, `return accepted{literal, literal}`},
		{"path: one of the readings is enough", search, "if path.Stripped == path.Literal || len(literal) == 0 {\n\t\treturn accepted{literal, literal}\n\t}\n\treturn accepted{literal, u.Match(path.Stripped)}", "if other := u.Match(path.Stripped); len(other) > len(literal) {\n\t\treturn accepted{other, other}\n\t}\n\treturn accepted{literal, literal}"},
		{"path: only the first pattern that accepts it", search, `a.pattern(i); both {`, `a.pattern(i); both && i == 0 {`},
		{"path: a match without one grants nothing", search, "s.try(s.table.usesOf(s.table.patterns))\n", "\n"},
		{"path: the grants of others count", search, `contains(s.mine, u.grant) && s.end(u) {`, `s.end(u) {`},
		{"source: the hash is all that is compared", sources, `s.name(i) == name {`, `len(s.name(i)) == len(name) {`},
		{"union: the start ends the search", union, `state >= u.sinks;`, `state > u.sinks;`},
		{"union: of two patterns one accepts", merge, `joinSorted(p.a.set(a), p.b.set(b))`, `joinSorted(p.a.set(a), nil)`},
		{"method: in any case", decide, `if t.text(granted) == method {`, `if lower(t.text(granted)) == lower(method) {`},
		{"method: one method alone is any", decide, `if len(methods) == 0 {`, `if len(methods) <= 1 {`},
		{"header: absent is fine", decide, `present := false`, `present := true`},
		{"header: one granted value is enough", decide, "if !t.values[h.value].Match(value) {\n\t\t\treturn false\n", "if !t.values[h.value].Match(value) {\n\t\t\tcontinue\n"},
		{"header: one granted header is enough", decide, "if !t.allowsHeader(h, headers) {\n\t\t\treturn false\n\t\t}\n\t}\n\treturn true", "if t.allowsHeader(h, headers) {\n\t\t\treturn true\n\t\t}\n\t}\n\treturn len(t.headersOf(m)) == 0"},
		{"header: the value is not trimmed", decide, `return trim(line.Value), true`, `return line.Value, true`},
		{"host: only the header of that name", decide, `if line.Name != "host" && line.Name != ":authority" {`, `if line.Name != "host" {`},
		{"host: only the authority", decide, `if line.Name != "host" && line.Name != ":authority" {`, `if line.Name != ":authority" {`},
		{"host: case counts", authority, `return lower(value)`, `return value`},
		{"host: the final dot counts", authority, `value[n-1] == '.'`, `value[n-1] == ','`},
		{"matches: only the first", table, `for j := t.grants[i].matches.start; j < t.grants[i].matches.end; j++ {`, `for j := t.grants[i].matches.start; j < min(t.grants[i].matches.start+1, t.grants[i].matches.end); j++ {`},
		{"matches: only the first that has the path", search, "s.furthest = further(s.furthest, failed)\n\t\treturn false", "s.furthest = further(s.furthest, failed)\n\t\treturn true"},
		{"targets: a wrong port ends the search", search, "if !t.covers(&t.grants[u.grant], s.request.Port) {\n\t\treturn false", "if !t.covers(&t.grants[u.grant], s.request.Port) {\n\t\treturn true"},
		{"reject: what cannot be read is taken as it is", decide, "return Verdict{Reason: ReasonReject}", "path = Path{r.Path, r.Path}"},
		{"reason: the first and not the furthest", decide, `if b.depth() > a.depth() {`, `if b.depth() > 0 && a.depth() == 0 {`},
		{"normalize: dot segments stay", normalize, `out = parent(out)`, ``},
		{"normalize: the query counts", normalize, `return raw[:end], true`, `return raw, true`},
		{"normalize: escaped slashes are slashes", normalize, `|| classOf(value) == slash {`, `{`},
		{"normalize: slashes are not merged", normalize, `if c != '/' || merged[len(merged)-1] != '/' {`, `if true {`},
		{"normalize: unreserved characters stay encoded", normalize, `if classOf(value) == unreserved {`, `if false {`},
		{"encode: a range is its first port", encode, `w.count(int(p.Last))`, `w.count(int(p.First))`},
		{"compile: automata are mixed up", table, `n = len(c.all)`, `n = len(c.all) / 2`},
		{"compile: a source has only its last grant", table, `granted[s] = append(granted[s], uint32(i))`, `granted[s] = []uint32{uint32(i)}`},
		{"explain: sources are not looked at", explain, "case len(t.matchesOf(g)) == 0: // says nothing of requests\n\t\tcase !contains(mine, uint32(i)):", "case len(t.matchesOf(g)) == 0:\n\t\tcase len(mine) == 0:"},
		{"connection: requests are enough", decide, `return g.connections && t.covers(g, port)`, `return t.covers(g, port)`},
		{"connection: any port", decide, `return g.connections && t.covers(g, port)`, `return g.connections`},
		{"connection: the flag gets lost", decode, `g.connections = r.number(2) == 1`, `g.connections = r.number(2) == 2`},
		{"connection: a group closes them", access, "Connections: true, Matches: distinct(requests)}", "Matches: distinct(requests)}"},
		{"target: a missing TCPRoute restricts nothing", access, "resolved = false\n\t\t\t\tr.inert(", "r.inert("},
		{"target: an unknown kind of rule restricts nothing", access, "resolved = false\n\t\t\tr.inert(", "r.inert("},
		{"target: of routes and groups one is enough", access, "Connections: true, Matches: distinct(requests)}", "Connections: true, Matches: distinct(append(requests, connections...))}"},
		{"target: opens other namespaces", access, `case account.Namespace != o.Name.Namespace:`, `case false:`},
		{"target: a source that is missing counts", access, "case !r.accounts[account]:\n\t\t\tr.inert(o, field+\".name\"", "case account.Name == \"\":\n\t\t\tr.inert(o, field+\".name\""},
		{"target: an unknown match name selects all", access, `if len(selected) == 0 || m.name != "" &&`, `if len(selected) == 0 || !slices.Contains(g.declared, selected[0]) || m.name != "" &&`},
		{"route: no valid port is every port", routes, "if len(route.Spec.Matches.Ports) == 0 {\n", "if len(route.Spec.Matches.Ports) == 0 || !validPort(route.Spec.Matches.Ports[0]) {\n"},
		{"route: the first match of a name wins", routes, `last[m.Name] = i`, `if _, ok := last[m.Name]; !ok { last[m.Name] = i }`},
		{"route: a broken match loses its condition only", routes, `if r.breaks == before {`, `if r.breaks == before || match.Path == nil && len(match.Headers) == 0 {`},
		{"route: the whole path is always described", patterns, `case settings.PathFull:`, `case true:`},
		{"account: those of other namespaces exist, too", smi, `accounts: namesOf(objects.ServiceAccounts),`, `accounts: func() map[mesh.Name]bool {
		out := namesOf(objects.ServiceAccounts)
		for n := range namesOf(objects.ServiceAccounts) {
			out[mesh.Name{Namespace: "people", Name: n.Name}] = true
		}
		return out
	}(),`},
	}
}
