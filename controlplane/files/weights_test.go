package files

import (
	"fmt"
	"strings"
	"testing"
)

// Each case lists the weights of one v1alpha1 object as written and as read
// (smi-rules 59), or the problem with one of them (smi-rules 58).
var weightCases = []struct{ weights, want, problem string }{
	{weights: `1 "1" "100"`, want: "1 1 100"},
	{weights: `500m 1`, want: "500 1000"},
	{weights: `"500m" "1" "0"`, want: "500 1000 0"},
	{weights: `0.5 1.5 0`, want: "500 1500 0"},
	{weights: `1000m 2`, want: "1 2"},
	{weights: `1.0 2.000`, want: "1 2"},
	{weights: `1k 1e3 1Ki`, want: "1000 1000 1024"},
	{weights: `null 2`, want: "0 2"},
	{weights: `1 -500m`, problem: "spec.backends[1].weight: weight -500m is negative; use 0"},
	{weights: `-1 1`, problem: "spec.backends[0].weight: weight -1 is negative"},
	{weights: `1 100u`, problem: "spec.backends[1].weight: weight 100u is finer than a thousandth."},
	{weights: `0.0005 1`, problem: "spec.backends[0].weight: weight 0.0005 is finer than a thousandth."},
	{weights: `1 5G`, problem: "spec.backends[1].weight: weight 5G is more than 4294967295;"},
	{weights: `10% 1`, problem: `spec.backends[0].weight: weight "10%" is not a quantity. Write a number from 0 up`},
	{weights: `"" 1`, problem: `spec.backends[0].weight: weight "" is not a quantity.`},
	{weights: `true 1`, problem: "spec.backends[0].weight: the weight is neither a number nor text."},
	{weights: `[] 1`, problem: "spec.backends[0].weight: the weight is neither"},
}

func TestWeightsOfTheFirstVersion(t *testing.T) {
	for _, c := range weightCases {
		t.Run(c.weights, func(t *testing.T) {
			text := "service: s\n  backends:\n"
			for i, w := range strings.Fields(c.weights) {
				text += fmt.Sprintf("  - {service: b%d, weight: %s}\n", i, w)
			}
			dir := folder(t, map[string]string{"x.yaml": strings.Replace(splits(text), "v1alpha2", "v1alpha1", 1)})
			loaded := load(t, dir)
			if c.problem != "" {
				at := 8 + int(strings.TrimPrefix(c.problem, "spec.backends[")[0]-'0')
				wantProblems(t, dir, loaded.Problems, fmt.Sprintf("x.yaml:%d: TrafficSplit default/o: %s", at, c.problem))
				return
			}
			wantProblems(t, dir, loaded.Problems)
			var got []string
			for _, b := range loaded.Objects.TrafficSplits[0].Spec.Backends {
				got = append(got, fmt.Sprint(b.Weight))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

// A split that is nothing but odd shapes is a problem, never a panic.
func TestOddSplits(t *testing.T) {
	for _, version := range []string{"v1alpha1", "v1alpha2", "v1alpha4"} {
		for _, spec := range []string{"backends: 3", "backends: {a: 1}", "backends: [3]", "backends: [[]]", "backends: [{weight: {}}]"} {
			dir := folder(t, map[string]string{"x.yaml": strings.Replace(splits(spec), "v1alpha2", version, 1)})
			if loaded := load(t, dir); len(loaded.Problems) != 1 || len(loaded.entries) != 0 {
				t.Errorf("%s %s: %v", version, spec, loaded.Problems)
			}
		}
	}
}
