package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// verdict is what a scenario expects and what a judge says.
type verdict struct {
	outcome outcome
	// detail is the rule that allowed, as "namespace/name", or the reason of the
	// denial; empty for what was let through without a rule, for a rejection, and
	// where a judge cannot know.
	detail string
}

type outcome string

const (
	allow  outcome = "allow"
	audit  outcome = "audit" // let through, and counted as what would be denied
	deny   outcome = "deny"
	reject outcome = "reject"
	shut   outcome = "shut" // the connection ended, and nobody was told why
	// pass is how a page writes allow where no rule does.
	pass = "pass"
)

func (v verdict) String() string {
	if v.outcome == allow && v.detail != "" {
		return "allow rule=" + v.detail
	}
	return strings.TrimSpace(string(v.outcome) + " " + v.detail)
}

// passes reports whether the application gets to see it.
func (v verdict) passes() bool { return v.outcome == allow || v.outcome == audit }

// permissive is what becomes of the verdict where nothing is enforced: only a path
// without a single reading stays refused.
func (v verdict) permissive() verdict {
	if v.outcome == deny || v.outcome == audit {
		return verdict{outcome: allow}
	}
	return v
}

// inMode is a verdict of policy as a page says it.
func inMode(m policy.Mode, v policy.Verdict) verdict {
	switch {
	case v.Allow && v.Reason != policy.ReasonNone && m == policy.Audit:
		return verdict{audit, string(v.Reason)}
	case v.Allow:
		return verdict{allow, v.Rule}
	}
	return refusal(v.Reason)
}

// refusal is a reason as a verdict.
func refusal(r policy.Reason) verdict {
	if r == policy.ReasonReject {
		return verdict{outcome: reject}
	}
	return verdict{deny, string(r)}
}

// reasons are those that a policy can give.
var reasons = []policy.Reason{
	policy.ReasonSource, policy.ReasonPort, policy.ReasonPath, policy.ReasonMethod, policy.ReasonHeader, policy.ReasonPolicy,
}

const verdictForm = `a verdict is: allow rule=namespace/name, or deny REASON, or audit REASON, or reject, or pass, or shut`

func parseVerdict(words []word) (verdict, error) {
	var texts []string
	for _, w := range words {
		if w.quoted {
			return verdict{}, fmt.Errorf("header '%s' stands behind the verdict; headers follow the target", w.text)
		}
		texts = append(texts, w.text)
	}
	switch {
	case len(texts) == 0:
		return verdict{}, fmt.Errorf("the verdict is missing; %s", verdictForm)
	case len(texts) == 1 && texts[0] == pass:
		return verdict{outcome: allow}, nil
	case len(texts) == 1 && (texts[0] == string(reject) || texts[0] == string(shut)):
		return verdict{outcome: outcome(texts[0])}, nil
	case len(texts) == 2 && (texts[0] == string(deny) || texts[0] == string(audit)):
		if !slices.Contains(reasons, policy.Reason(texts[1])) {
			return verdict{}, fmt.Errorf("%q is no reason; reasons are %q", texts[1], reasons)
		}
		return verdict{outcome(texts[0]), texts[1]}, nil
	case len(texts) == 2 && texts[0] == string(allow):
		rule, ok := strings.CutPrefix(texts[1], "rule=")
		if _, named := mesh.ParseName(rule); !ok || !named {
			return verdict{}, fmt.Errorf("%q is not rule=namespace/name", texts[1])
		}
		return verdict{allow, rule}, nil
	}
	return verdict{}, fmt.Errorf("%q is no verdict; %s", strings.Join(texts, " "), verdictForm)
}
