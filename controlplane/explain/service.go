package explain

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// ServiceAnswer is what becomes of a request to a service: where the caller's
// sidecar sends it, and what each destination's sidecar would do.
type ServiceAnswer struct {
	From, Service string
	Port          uint16
	Method        string
	Target        string
	// Allow: whichever backend the request goes to, it passes.
	Allow bool
	// Split is the TrafficSplit that applies and Match what the request met of
	// it; empty if there is none.
	Split string `json:",omitempty"`
	Match string `json:",omitempty"`
	// Refused is why the caller's own sidecar refuses, before anything is sent:
	// nothing of the kind could pass at any of the destinations.
	Refused string `json:",omitempty"`
	Shares  []Share
}

// Share is one backend and how many of such requests it gets.
type Share struct {
	Backend string
	Percent float64
	// Destinations are the service accounts and container ports behind the
	// backend. With none the share is answered 503.
	Destinations []Answer
}

// passes reports whether every request of the share does.
func (s Share) passes() bool {
	return len(s.Destinations) > 0 && !slices.ContainsFunc(s.Destinations, func(a Answer) bool { return !a.Allow })
}

// AskService answers for a request to the service q.To at its port q.Port; 0
// takes the only port there is.
func AskService(s *mesh.Snapshot, q Question) (ServiceAnswer, error) {
	service, ok := s.Service(q.To)
	if !ok {
		return ServiceAnswer{}, fmt.Errorf("there is no service %s; --service takes namespace/name[:port]", q.To)
	}
	if q.Port == 0 && len(service.Ports) == 1 {
		q.Port = service.Ports[0].Port
	}
	port, ok := service.Port(q.Port)
	if !ok {
		return ServiceAnswer{}, fmt.Errorf("service %s has %d ports, and %d is none of them; say which with --service %s:PORT", q.To, len(service.Ports), q.Port, q.To)
	}
	a := ServiceAnswer{From: q.From.String(), Service: q.To.String(), Port: q.Port, Method: q.Method, Target: q.Path, Shares: []Share{}}
	a.Refused = string(s.Scope().Reach(q.From, q.To, port).Reason)
	route := s.RouteConnection(q.To, q.Port)
	if !port.Protocol.Opaque() {
		if route, ok = s.Route(q.To, q.Port, policy.Request{Method: q.Method, Path: q.Path, Headers: q.Headers}); !ok {
			return a, nil
		}
	}
	if route.Split != (mesh.Name{}) {
		a.Split, a.Match = route.Split.String(), route.Match
	}
	total := 0.0
	for _, b := range route.Shares {
		total += float64(b.Weight)
	}
	a.Allow = true
	for _, b := range route.Shares {
		share := Share{Backend: b.Service.String(), Percent: 100 * float64(b.Weight) / total}
		var err error
		if share.Destinations, err = destinations(s, b.Service, q); err != nil {
			return a, err
		}
		a.Allow = a.Allow && (b.Weight == 0 || share.passes())
		a.Shares = append(a.Shares, share)
	}
	return a, nil
}

// destinations asks at everything behind a backend's port, once for those that
// decide alike.
func destinations(s *mesh.Snapshot, backend mesh.Name, q Question) ([]Answer, error) {
	service, _ := s.Service(backend)
	port, _ := service.Port(q.Port)
	out := []Answer{}
	type decider struct {
		account mesh.Name
		port    uint16
	}
	asked := map[decider]bool{}
	for _, e := range port.Endpoints {
		d := decider{e.ServiceAccount, e.Port}
		if asked[d] {
			continue
		}
		asked[d] = true
		q.To, q.Port = e.ServiceAccount, e.Port
		a, err := Ask(s, q)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// String puts the answer into words.
func (a ServiceAnswer) String() string {
	var b strings.Builder
	passes := slices.ContainsFunc(a.Shares, func(s Share) bool {
		return s.Percent > 0 && slices.ContainsFunc(s.Destinations, func(d Answer) bool { return d.Allow })
	})
	head := "denied"
	switch {
	case a.Allow:
		head = "allowed"
	case passes:
		head = "partly allowed"
	}
	fmt.Fprintf(&b, "%s  %s -> service %s:%d %s\n", head, a.From, a.Service, a.Port, asked(a.Method, a.Target))
	if a.Refused != "" && len(a.Shares) > 0 {
		fmt.Fprintf(&b, "  refused by the caller's own sidecar (%s): nothing it could send here would pass\n", a.Refused)
	}
	switch {
	case len(a.Shares) == 0: // looked at first, by either sidecar
		fmt.Fprintf(&b, "  because: %s\n", because(policy.ReasonReject, Answer{}))
	case a.Split == "":
		b.WriteString("  no TrafficSplit applies; the service's own endpoints get\n")
	case a.Match == "":
		fmt.Fprintf(&b, "  TrafficSplit %s applies; its backends get\n", a.Split)
	default:
		fmt.Fprintf(&b, "  TrafficSplit %s applies, as the request meets %s; its backends get\n", a.Split, a.Match)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range a.Shares {
		if len(s.Destinations) == 0 {
			fmt.Fprintf(w, "    %.4g %%\t%s\tno endpoint: answered 503\n", s.Percent, s.Backend)
		}
		for _, d := range s.Destinations {
			fmt.Fprintf(w, "    %.4g %%\t%s\t%s\n", s.Percent, s.Backend, d.inShort())
		}
	}
	w.Flush()
	return b.String()
}

// inShort is the verdict at one destination on one line.
func (a Answer) inShort() string {
	if a.Allow {
		return fmt.Sprintf("allowed at %s:%d by TrafficTarget %s", a.To, a.Port, a.Rule)
	}
	return fmt.Sprintf("denied at %s:%d because: %s", a.To, a.Port, because(policy.Reason(a.Reason), a))
}
