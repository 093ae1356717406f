package scenarios

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	// applyTimeout is how late a policy may run: revocation within 5 s is what
	// smi-rules 32 asks for.
	applyTimeout = 5 * time.Second
	// answerTimeout ends the wait for an answer that does not come.
	answerTimeout = 5 * time.Second
)

// envoy sends requests through a running mesh: from the caller's own listener,
// through its sidecar and the server's, to an application that records them.
type envoy struct {
	mesh *rig.Mesh
	// watched is the folder that the control plane watches; empty is what it
	// amounts to without a policy.
	watched      string
	empty        *mesh.Snapshot
	applications *applications
	asked        int
	allowed      int
}

func (*envoy) tellsRule() bool { return false }

// begin edits the policy under the running mesh.
func (e *envoy) begin(_ context.Context, s stage) error {
	if s.broken() {
		// A running control plane keeps the last good form of what is broken. Here
		// that would be what another scenario gave the same name.
		if err := e.edit(nil); err != nil {
			return err
		}
		if err := e.applied(e.empty); err != nil {
			return err
		}
	}
	if err := e.edit(s.scenario.policy); err != nil {
		return err
	}
	return e.applied(s.snapshot)
}

// edit replaces the policy as an editor that writes safely does.
func (e *envoy) edit(policy []byte) error {
	part := filepath.Join(e.watched, ".part")
	if err := os.WriteFile(part, policy, 0o600); err != nil {
		return err
	}
	return os.Rename(part, filepath.Join(e.watched, policyFile))
}

func (e *envoy) applied(s *mesh.Snapshot) error {
	return e.mesh.Await(applyTimeout, "the policy to run", func(ctx context.Context) error { return e.mesh.Applied(ctx, s) })
}

func (e *envoy) ask(ctx context.Context, c call) (verdict, error) {
	e.asked++
	id := fmt.Sprint(e.asked)
	before, err := e.denials(ctx, c.server.Name)
	if err != nil {
		return verdict{}, err
	}
	status, err := send(ctx, netip.AddrPortFrom(c.caller.AddressOf(c.service), c.request.port), c.request, id)
	if err != nil {
		return verdict{}, err
	}
	after, err := e.denials(ctx, c.server.Name)
	if err != nil {
		return verdict{}, err
	}
	reason, err := deniedFor(func(r policy.Reason) string {
		return traffic.DenialSeries(c.caller.Name.String(), c.server.Name.String(), string(r))
	}, before, after)
	if err != nil {
		return verdict{}, err
	}
	seen := e.applications.seen(id)
	switch {
	case status == http.StatusOK && len(seen) == 1 && reason == policy.ReasonNone:
		e.allowed++
		return verdict{outcome: allow}, arrived(c, seen[0])
	case len(seen) > 0:
	case status == http.StatusForbidden && reason != policy.ReasonNone:
		return verdict{deny, string(reason)}, nil
	case status == http.StatusBadRequest:
		return verdict{outcome: reject}, nil
	}
	return verdict{}, fmt.Errorf("the answer is %d, the server's filter counted a denial for %q, and the application saw %v", status, reason, seen)
}

// arrived compares what an application saw with what was asked and judged.
func arrived(c call, s sighting) error {
	if s.server != c.server.Name || s.port != c.port {
		return fmt.Errorf("the request arrived at %s:%d, want %s:%d", s.server, s.port, c.server.Name, c.port)
	}
	path, _ := policy.Normalize(c.target)
	_, query, hasQuery := strings.Cut(c.target, "?")
	if hasQuery {
		query = "?" + query
	}
	if want := path.Literal + query; s.method != c.method || s.target != want {
		return fmt.Errorf("the application saw %s %s, and %s %s was judged", s.method, s.target, c.method, want)
	}
	return nil
}

func (e *envoy) denials(ctx context.Context, server mesh.Name) (map[string]uint64, error) {
	return e.mesh.Stats(ctx, server, `^wasmcustom\.`+traffic.Denials)
}

// send writes a request as it stands and returns the status of the answer.
func send(ctx context.Context, to netip.AddrPort, r request, id string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", r.method, r.target, r.host(), idHeader, id)
	for _, h := range r.others() {
		fmt.Fprintf(&text, "%s: %s\r\n", h.Name, h.Value)
	}
	if _, err := io.WriteString(conn, text.String()+"\r\n"); err != nil {
		return 0, err
	}
	return statusIn(bufio.NewReader(conn), r.method)
}

// statusIn reads the final answer: 100 Continue is not the last word.
func statusIn(in *bufio.Reader, method string) (int, error) {
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return 0, fmt.Errorf("no answer: %w", err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode >= 200 {
			return response.StatusCode, err
		}
	}
}

// late finds requests that reached an application after their answer.
func (e *envoy) late() error {
	if n := e.applications.total(); n != e.allowed {
		return fmt.Errorf("%d requests were allowed, and applications saw %d", e.allowed, n)
	}
	return nil
}

// stop ends the mesh before its applications.
func (e *envoy) stop() error { return errors.Join(e.mesh.Stop(), e.applications.stop()) }
