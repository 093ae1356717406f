package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"

	"github.com/wasmesh/wasmesh/controlplane/explain"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// explainer asks `wasmesh explain`, as a person would.
type explainer struct {
	program  string
	folder   string
	settings smi.Settings
}

func (*explainer) tellsRule() bool    { return true }
func (*explainer) hearsOutside() bool { return false }

func (e *explainer) begin(_ context.Context, s stage) error {
	e.folder, e.settings = s.folder, s.settings
	return nil
}

func (e *explainer) ask(ctx context.Context, c call) (verdict, error) {
	args := []string{
		"explain", "-f", e.folder, "--trust-domain", trustDomain, fmt.Sprintf("--path-full=%v", e.settings.PathFull), "-o", "json",
		"--from", c.caller.ServiceAccount.String(),
		"--to", fmt.Sprintf("%s:%d", c.server.ServiceAccount, c.port.Port),
	}
	if c.wire != tcp {
		args = append(args, c.method, c.target, "-H", "Host: "+c.host())
		for _, h := range c.others() {
			args = append(args, "-H", h.Name+": "+h.Value)
		}
	}
	out, err := exec.CommandContext(ctx, e.program, args...).Output()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return verdict{}, err
	}
	if code > 1 {
		return verdict{}, fmt.Errorf("exit code %d: %s", code, exit.Stderr)
	}
	var answer explain.Answer
	if err := json.Unmarshal(out, &answer); err != nil {
		return verdict{}, fmt.Errorf("%w in %q", err, out)
	}
	if answer.Allow != (code == 0) {
		return verdict{}, fmt.Errorf("exit code %d, but the answer says allow: %v", code, answer.Allow)
	}
	mode, ok := policy.ParseMode(answer.Mode)
	if !ok {
		return verdict{}, fmt.Errorf("mode %q is none", answer.Mode)
	}
	return inMode(mode, policy.Verdict{Allow: answer.Allow, Rule: answer.Rule, Reason: policy.Reason(answer.Reason)}), nil
}
