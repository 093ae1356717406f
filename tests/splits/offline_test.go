package splits

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os/exec"

	"github.com/wasmesh/wasmesh/controlplane/explain"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// The statuses of answers that no application gave.
const (
	rejected    = "400"
	refused     = "403"
	unavailable = "503"
)

// natively decides with the snapshot's own Route and the policy of each server.
func natively(s *mesh.Snapshot, c call) shares {
	out := shares{}
	request := policy.Request{Method: c.method, Path: c.target, Headers: c.asSeen()}
	route, ok := s.Route(c.service.Name, c.port, request)
	if !ok {
		out.add(rejected, big.NewRat(1, 1))
		return out
	}
	total := int64(0)
	for _, b := range route.Shares {
		total += int64(b.Weight)
	}
	for _, b := range route.Shares {
		share := big.NewRat(int64(b.Weight), total)
		endpoints := behind(s, b.Service, c.port)
		if len(endpoints) == 0 {
			out.add(unavailable, share)
		}
		for _, e := range endpoints {
			server, _ := s.Workload(e.Workload)
			request.Peer, request.Port = mesh.SPIFFEID(trustDomain, c.caller.ServiceAccount), e.Port
			outcome := refused
			if xds.Table(s, server).Decide(request).Allow {
				outcome = server.Name.Name
			}
			out.add(outcome, new(big.Rat).Quo(share, big.NewRat(int64(len(endpoints)), 1)))
		}
	}
	return out
}

// explained asks `wasmesh explain`, as a person would, and compares.
func explained(ctx context.Context, program string, st stage, c call) error {
	args := []string{
		"explain", "-f", st.folder, "--trust-domain", trustDomain, "-o", "json", "--from", c.caller.ServiceAccount.String(),
		"--service", fmt.Sprintf("%s:%d", c.service.Name, c.port), c.method, c.target, "-H", "Host: " + c.host(),
	}
	for _, h := range c.others() {
		args = append(args, "-H", h.Name+": "+h.Value)
	}
	out, err := exec.CommandContext(ctx, program, args...).Output()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return err
	}
	if code > 1 {
		return fmt.Errorf("exit code %d: %s", code, exit.Stderr)
	}
	var answer explain.ServiceAnswer
	if err := json.Unmarshal(out, &answer); err != nil {
		return fmt.Errorf("%w in %q", err, out)
	}
	got := percents(st.snapshot, c, answer)
	passes := true
	for outcome, share := range c.want {
		want, _ := share.Float64()
		if math.Abs(got[outcome]-100*want) > 1e-9 {
			return fmt.Errorf("explain says %v, want %s", got, c.want)
		}
		delete(got, outcome)
		if want > 0 && (outcome == refused || outcome == unavailable || outcome == rejected) {
			passes = false
		}
	}
	for outcome, percent := range got {
		if percent > 0 {
			return fmt.Errorf("explain also says %s %v %%, want %s", outcome, percent, c.want)
		}
	}
	if answer.Allow != passes || (code == 0) != passes {
		return fmt.Errorf("explain says allow: %v with exit code %d; everything passes is %v", answer.Allow, code, passes)
	}
	return nil
}

// percents are the answer's shares by outcome.
func percents(s *mesh.Snapshot, c call, a explain.ServiceAnswer) map[string]float64 {
	got := map[string]float64{}
	if len(a.Shares) == 0 {
		got[rejected] = 100
	}
	for _, share := range a.Shares {
		if len(share.Destinations) == 0 {
			got[unavailable] += share.Percent
		}
		backend, _ := mesh.ParseName(share.Backend)
		for i, d := range share.Destinations {
			outcome := refused
			if d.Allow {
				// Each service of the cast has one workload.
				outcome = behind(s, backend, c.port)[i].Workload.Name
			}
			got[outcome] += share.Percent
		}
	}
	return got
}
