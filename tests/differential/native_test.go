package differential

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/tests/differential/judge"
	"github.com/wasmesh/wasmesh/tests/differential/world"
)

// perEnvoy is how many worlds one Envoy holds.
const perEnvoy = 100

// TestNative asks Envoy's own RBAC, as far as it can say the rules.
func TestNative(t *testing.T) {
	n := &native{t: t, silent: map[string]int{}}
	for first := 0; first < *worlds && !t.Failed(); first += perEnvoy {
		n.batch(uint64(first), uint64(min(first+perEnvoy, *worlds)))
	}
	n.report()
	const enough = 1000
	if n.asked < enough || n.allowed < enough/5 || n.oneWay == 0 {
		t.Errorf("only %d answers compared, %d of them allowed, %d one way", n.asked, n.allowed, n.oneWay)
	}
}

// native counts what Envoy's RBAC has seen.
type native struct {
	t *testing.T
	// asked are answers compared, oneWay those of which one direction is.
	asked, allowed, oneWay int
	// silent are requests that it is not asked, by why.
	silent map[string]int
	// alone are requests that the policy refuses to read and Envoy does not.
	alone int
	took  time.Duration
}

// batch judges some worlds with one Envoy.
func (n *native) batch(first, end uint64) {
	t := n.t
	var batch []*judge.Answered
	for index := first; index < end; index++ {
		answered, err := judge.World(*seed, index, xds.Table, judge.NewTally())
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, answered)
	}
	e, err := startNative(t, batch...)
	if err != nil {
		t.Fatal(err)
	}
	defer e.stop()
	start := time.Now()
	for _, answered := range batch {
		for i, r := range answered.Requests {
			if err := n.ask(e, answered, r, answered.Verdicts[i]); err != nil {
				t.Fatal(judge.Shrunk(*seed, answered.Index, answered.World, r, err, n.again()))
			}
		}
	}
	n.took += time.Since(start)
}

// startNative runs an Envoy with the rules of all workloads of some worlds.
func startNative(t *testing.T, batch ...*judge.Answered) (*nativeEnvoy, error) {
	e, err := reserve(world.Ports())
	if err != nil {
		return nil, err
	}
	for _, a := range batch {
		accounts := map[mesh.Name]mesh.Name{}
		for _, r := range a.Requests {
			accounts[r.Server] = r.Account
		}
		for _, server := range servers(a) {
			rules := rbac(a.Grants(), accounts[server], a.World.PathFull, e.ports)
			if err := e.add(routeName(a.Index, server), &rbacv3.RBACPerRoute{Rbac: &rbacv3.RBAC{Rules: rules}}); err != nil {
				return nil, err
			}
		}
	}
	return e, e.start(t)
}

// shrinkTime bounds the shrinking of a disagreement: every step is an Envoy.
const shrinkTime = 30 * time.Second

// again judges one request with an Envoy of its own.
func (n *native) again() func(world.World, world.Request) error {
	end := time.Now().Add(shrinkTime)
	return func(w world.World, r world.Request) error {
		compiled, err := judge.Compile(w, xds.Table)
		if err != nil || time.Now().After(end) {
			return nil
		}
		a := &judge.Answered{Compiled: compiled, Requests: []world.Request{r}}
		e, err := startNative(n.t, a)
		if err != nil {
			return nil
		}
		defer e.stop()
		return n.ask(e, a, r, compiled.Decide(r))
	}
}

func routeName(index uint64, server mesh.Name) string { return fmt.Sprintf("%d.%s", index, server) }

// ask compares one answer.
func (n *native) ask(e *nativeEnvoy, a *judge.Answered, r world.Request, want policy.Verdict) error {
	if why := unsaid(e, a, r); why != "" {
		n.silent[why]++
		return nil
	}
	lines := []string{worldHeader + ": " + routeName(a.Index, r.Server)}
	if r.Peer != "" {
		lines = append(lines, peerHeader+": "+r.Peer)
	}
	for _, h := range r.Headers {
		lines = append(lines, strings.Replace(h.Name, ":authority", "host", 1)+": "+h.Value)
	}
	status, err := e.call(int(r.Port), r.Method, r.Target, lines...)
	if err != nil {
		return fmt.Errorf("envoy's RBAC: %w", err)
	}
	// It knows one reading of a path, so that it can only allow more.
	path, _ := policy.Normalize(r.Target)
	two := path.Literal != path.Stripped
	switch {
	case want.Reason == policy.ReasonReject && status != 400:
		n.alone++
		return nil
	case two && !want.Allow && (status == 200 || status == 403):
		n.oneWay++
		return nil
	case status != statusOf(want):
		return fmt.Errorf("envoy's RBAC answers %d, the policy says %+v", status, want)
	}
	n.asked++
	if want.Allow {
		n.allowed++
	}
	return nil
}

var (
	token     = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	authority = regexp.MustCompile(`^([a-z0-9.-]*[a-z0-9]\.?|\[::1\])(:[0-9]+)?$`)
	visible   = regexp.MustCompile(`^/[!-~]*$`)
	beyond    = regexp.MustCompile(`[^\x00-\x7f]`)
	control   = regexp.MustCompile(`[\x00-\x08\x0a-\x1f\x7f]`)
)

// unsaid tells why a request cannot be put to Envoy's RBAC; empty: it can.
func unsaid(e *nativeEnvoy, a *judge.Answered, r world.Request) string {
	seen := map[string]bool{}
	for _, h := range r.Headers {
		name := strings.Replace(h.Name, ":authority", "host", 1)
		switch {
		case seen[name]:
			return "several values, which Envoy joins"
		case name == "host" && !authority.MatchString(h.Value):
			return "an authority that Envoy refuses or compares case by case"
		case control.MatchString(h.Value):
			return "a value that is no field of HTTP"
		case beyond.MatchString(h.Value):
			return "a value beyond ASCII, which Envoy's expressions read as Latin-1"
		}
		seen[name] = true
	}
	switch {
	case a.Encoded[r.Server] == nil:
		return "no such workload"
	case e.ports[int(r.Port)] == 0:
		return "a port at which nothing listens"
	case !token.MatchString(r.Method):
		return "no method"
	case !visible.MatchString(r.Target):
		return "a target that is no path"
	}
	return ""
}

func (n *native) report() {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: Envoy's RBAC compared %d answers (%d allowed) and %d more in one direction, %.0f/s, in %d worlds\n",
		*seed, n.asked, n.allowed, n.oneWay, float64(n.asked+n.oneWay)/n.took.Seconds(), *worlds)
	fmt.Fprintf(&text, "%6d  refused by the policy alone\n", n.alone)
	for _, why := range slices.Sorted(maps.Keys(n.silent)) {
		fmt.Fprintf(&text, "%6d  not asked: %s\n", n.silent[why], why)
	}
	n.t.Log("\n" + text.String())
}
