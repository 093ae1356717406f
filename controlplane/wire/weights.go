package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// tolerateWeights reads the weights of splits v1alpha1, which are quantities
// such as 1, "100" or "500m", into the whole numbers of later versions. If one
// of an object is fractional, all are counted in thousandths, so that 500m to 1
// is 1 to 2 (smi-rules 59). Later versions have whole numbers only (smi-rules
// 58).
func tolerateWeights(fields map[string]any) []mesh.Problem {
	spec, _ := fields["spec"].(map[string]any)
	backends, _ := spec["backends"].([]any)
	version, _ := fields["apiVersion"].(string)
	if !strings.HasSuffix(version, "/v1alpha1") {
		return fractions(backends)
	}
	var problems []mesh.Problem
	thousandths, fractional := make([]int64, len(backends)), false
	for i, b := range backends {
		backend, _ := b.(map[string]any)
		if backend["weight"] == nil {
			continue // none, as an integer that is left out
		}
		var cause string
		thousandths[i], cause = quantity(backend["weight"])
		if cause != "" {
			problems = append(problems, mesh.Problem{Field: weightField(i), Rule: 58, Cause: cause, Try: `Write a number from 0 up, such as 1, "100" or "500m".`})
		}
		fractional = fractional || thousandths[i]%1000 != 0
	}
	for i, b := range backends {
		if backend, _ := b.(map[string]any); backend["weight"] != nil {
			backend["weight"] = thousandths[i]
			if !fractional {
				backend["weight"] = thousandths[i] / 1000
			}
		}
	}
	return problems
}

func weightField(i int) string { return fmt.Sprintf("spec.backends[%d].weight", i) }

// quantity reads a weight of v1alpha1 as thousandths, or says why it is none.
func quantity(weight any) (thousandths int64, cause string) {
	text := ""
	switch w := weight.(type) {
	case string:
		text = w
	case int64:
		text = strconv.FormatInt(w, 10)
	case float64:
		text = strconv.FormatFloat(w, 'f', -1, 64)
	default:
		return 0, "the weight is neither a number nor text."
	}
	q, err := resource.ParseQuantity(text)
	switch {
	case err != nil:
		return 0, fmt.Sprintf("weight %q is not a quantity.", text)
	case q.Sign() < 0:
		return 0, fmt.Sprintf("weight %s is negative; use 0 for a backend that gets nothing.", text)
	case q.CmpInt64(math.MaxUint32) > 0:
		return 0, fmt.Sprintf("weight %s is more than %d; weights are relative: use smaller ones.", text, math.MaxUint32)
	case resource.NewMilliQuantity(q.MilliValue(), resource.DecimalSI).Cmp(q) != 0:
		return 0, fmt.Sprintf("weight %s is finer than a thousandth.", text)
	}
	return q.MilliValue(), ""
}

// fractions reports weights that are fractions: the decoder would only say that
// they cannot stand there.
func fractions(backends []any) []mesh.Problem {
	var problems []mesh.Problem
	for i, b := range backends {
		backend, _ := b.(map[string]any)
		if w, ok := backend["weight"].(float64); ok {
			problems = append(problems, mesh.Problem{Field: weightField(i), Rule: 58, Cause: fmt.Sprintf("weight %v is not a whole number.", w),
				Try: "Weights are relative: write 1 and 2 for 0.5 and 1."})
		}
	}
	return problems
}
