// Package explain answers "why?" for one request, as text or as data.
//
// It asks the policy that the filter runs and only puts the answer into words;
// it never decides anything itself.
package explain

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// Question is a request between two service accounts.
type Question struct {
	From mesh.Name
	To   mesh.Name
	// Port is the container port; 0 takes the only port there is.
	Port    uint16
	Method  string
	Path    string
	Headers []policy.Header
}

// Answer is what the destination's sidecar would do, and why.
type Answer struct {
	From, To string
	Port     uint16
	Method   string
	Target   string
	Allow    bool
	Rule     string `json:",omitempty"`
	Reason   string `json:",omitempty"`
	// Path is how the request's path is read.
	Path   string
	Trials []Trial
}

// Trial is one rule and what became of the request there.
type Trial struct {
	Rule   string
	Match  string `json:",omitempty"`
	Failed string `json:",omitempty"`
	Header string `json:",omitempty"`
}

// Ask answers from a snapshot. An error means that the question itself does not
// fit the mesh.
func Ask(s *mesh.Snapshot, q Question) (Answer, error) {
	port, err := portOf(s, q)
	if err != nil {
		return Answer{}, err
	}
	table := policy.Compile(s.Grants(q.To))
	e := table.Explain(policy.Request{
		Peer:    mesh.SPIFFEID(s.TrustDomain, q.From),
		Port:    port,
		Method:  q.Method,
		Path:    q.Path,
		Headers: q.Headers,
	})
	a := Answer{
		From: q.From.String(), To: q.To.String(), Port: port, Method: q.Method, Target: q.Path,
		Allow: e.Verdict.Allow, Rule: e.Verdict.Rule, Reason: string(e.Verdict.Reason), Path: e.Path.Literal,
	}
	for _, t := range e.Trials {
		a.Trials = append(a.Trials, Trial{Rule: t.Rule, Match: t.Match, Failed: string(t.Failed), Header: t.Header})
	}
	return a, nil
}

// portOf finds the container port that is meant.
func portOf(s *mesh.Snapshot, q Question) (uint16, error) {
	ports := map[uint16]bool{}
	known := false
	for _, w := range s.Workloads {
		if w.ServiceAccount != q.To {
			continue
		}
		known = true
		for _, p := range w.Ports {
			ports[p.Port] = true
		}
	}
	switch {
	case !known:
		return 0, fmt.Errorf("no workload runs as service account %s; --to takes namespace/service-account", q.To)
	case q.Port != 0:
		return q.Port, nil
	case len(ports) == 1:
		for p := range ports {
			return p, nil
		}
	}
	return 0, fmt.Errorf("the workloads of %s have %d ports; say which with --to %s:PORT", q.To, len(ports), q.To)
}

// String puts the answer into words.
func (a Answer) String() string {
	var b strings.Builder
	head := "allowed"
	if !a.Allow {
		head = "denied"
	}
	fmt.Fprintf(&b, "%s  %s -> %s:%d %s %s\n", head, a.From, a.To, a.Port, a.Method, a.Target)
	if a.Allow {
		fmt.Fprintf(&b, "  by TrafficTarget %s\n", a.Rule)
	} else {
		fmt.Fprintf(&b, "  because: %s\n", because(policy.Reason(a.Reason), a))
	}
	if a.Path != "" && a.Path != a.Target {
		fmt.Fprintf(&b, "  the path is read as %s\n", a.Path)
	}
	if len(a.Trials) > 0 {
		b.WriteString("  every rule at this destination:\n")
		table(&b, a.Trials)
	}
	return b.String()
}

func table(b *strings.Builder, trials []Trial) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, t := range trials {
		match := t.Match
		if match == "" {
			match = "-"
		}
		outcome := "allows"
		if t.Failed != "" {
			outcome = "fails at " + t.Failed
		}
		if t.Header != "" {
			outcome += " " + strconv.Quote(t.Header)
		}
		fmt.Fprintf(w, "    %s\t%s\t%s\n", t.Rule, match, outcome)
	}
	w.Flush()
}

// because says a reason in a sentence.
func because(r policy.Reason, a Answer) string {
	switch r {
	case policy.ReasonPolicy:
		return fmt.Sprintf("no TrafficTarget has %s as its destination, so nothing is granted to anyone", a.To)
	case policy.ReasonSource:
		return fmt.Sprintf("source: nothing at %s is granted to %s", a.To, a.From)
	case policy.ReasonPort:
		return fmt.Sprintf("port: what %s is granted is not on port %d", a.From, a.Port)
	case policy.ReasonPath:
		return "path: no route granted to this source matches it"
	case policy.ReasonMethod:
		return fmt.Sprintf("method: the path is granted, but not by %s", a.Method)
	case policy.ReasonHeader:
		return "header: path and method are granted, but only with other headers"
	case policy.ReasonReject:
		return "the path can be read in more than one way; it is answered 400 before any rule is asked"
	}
	return string(r)
}
