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

// Question is a request between two service accounts or, on an opaque port, a
// connection.
type Question struct {
	From mesh.Name
	To   mesh.Name
	// Port is the container port; 0 takes the only port there is.
	Port uint16
	// Method and Path are empty for a connection.
	Method  string
	Path    string
	Headers []policy.Header
}

// Answer is what the destination's sidecar would do, and why.
type Answer struct {
	From, To string
	Port     uint16
	Method   string `json:",omitempty"`
	Target   string `json:",omitempty"`
	Allow    bool
	Rule     string `json:",omitempty"`
	// Reason is why it is denied or, in another mode than enforce, would be.
	Reason string `json:",omitempty"`
	Mode   string
	// Path is how the request's path is read.
	Path   string `json:",omitempty"`
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
	w, port, err := destination(s, q)
	if err != nil {
		return Answer{}, err
	}
	if port.Protocol.Opaque() != (q.Method == "") {
		return Answer{}, fmt.Errorf("port %d of %s is read as %s; ask about METHOD PATH on a port that speaks HTTP, and about nothing more on an opaque one",
			port.Port, q.To, port.Protocol)
	}
	e := judge(policy.Compile(s.Grants(q.To)), mesh.SPIFFEID(s.TrustDomain, q.From), port, q)
	verdict := w.Mode.InForce(e.Verdict)
	a := Answer{
		From: q.From.String(), To: q.To.String(), Port: port.Port, Method: q.Method, Target: q.Path, Mode: w.Mode.String(),
		Allow: verdict.Allow, Rule: verdict.Rule, Reason: string(e.Verdict.Reason), Path: e.Path.Literal,
	}
	for _, t := range e.Trials {
		a.Trials = append(a.Trials, Trial{Rule: t.Rule, Match: t.Match, Failed: string(t.Failed), Header: t.Header})
	}
	return a, nil
}

func judge(table *policy.Table, peer string, port mesh.WorkloadPort, q Question) policy.Explanation {
	if port.Protocol.Opaque() {
		return table.ExplainConnection(peer, port.Port)
	}
	return table.Explain(policy.Request{Peer: peer, Port: port.Port, Method: q.Method, Path: q.Path, Headers: policy.Join(q.Headers)})
}

// destination finds the workload and its port that are meant. Workloads of one
// account have one policy; only their ports may differ.
func destination(s *mesh.Snapshot, q Question) (mesh.Workload, mesh.WorkloadPort, error) {
	var found mesh.Workload
	ports := map[uint16]mesh.WorkloadPort{}
	for _, w := range s.Workloads {
		if w.ServiceAccount != q.To {
			continue
		}
		found = w
		for _, p := range w.Ports {
			ports[p.Port] = p
		}
	}
	port, listens := ports[q.Port]
	switch {
	case found.Name == mesh.Name{}:
		return found, port, fmt.Errorf("no workload runs as service account %s; --to takes namespace/service-account", q.To)
	case listens:
		return found, port, nil
	case q.Port != 0:
		return found, port, fmt.Errorf("no workload of %s listens on port %d; --to takes the container port", q.To, q.Port)
	case len(ports) == 1:
		for _, port = range ports {
			return found, port, nil
		}
	}
	return found, port, fmt.Errorf("the workloads of %s have %d ports; say which with --to %s:PORT", q.To, len(ports), q.To)
}

// String puts the answer into words.
func (a Answer) String() string {
	var b strings.Builder
	head := "allowed"
	if !a.Allow {
		head = "denied"
	}
	fmt.Fprintf(&b, "%s  %s -> %s:%d %s\n", head, a.From, a.To, a.Port, asked(a.Method, a.Target))
	switch {
	case a.Allow && a.Rule == "":
		fmt.Fprintf(&b, "  because its namespace is in mode %s; enforce would deny it: %s\n", a.Mode, because(policy.Reason(a.Reason), a))
	case a.Allow:
		fmt.Fprintf(&b, "  by TrafficTarget %s\n", a.Rule)
	default:
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

// asked says what was asked about.
func asked(method, target string) string {
	if method == "" {
		return "(connection)"
	}
	return method + " " + target
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
