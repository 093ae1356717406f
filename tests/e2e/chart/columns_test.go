package chart

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestWhatKubectlShows: short names and columns as those who know SMI expect, and
// the conditions of own kinds.
func TestWhatKubectlShows(t *testing.T) {
	install(t, "--set", "validation.enabled=false")
	must(t, strings.Join([]string{target, group, ports, strings.Replace(ports, "TCPRoute", "UDPRoute", 1), weights, vm, filter}, "---"), "create", "-f", "-")
	const condition = `{"type":"%s","status":"%s","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"R","message":"m"}`
	status := fmt.Sprintf(`{"status":{"conditions":[`+condition+","+condition+`]}}`, "Accepted", "True", "InForce", "False")
	must(t, "", "patch", "workload", "one", "-n", "default", "--subresource=status", "--type=merge", "-p", status)
	must(t, "", "patch", "wf", "one", "-n", "default", "--subresource=status", "--type=merge", "-p", status)
	for short, want := range map[string]string{
		"tt": "NAME AGE", "htr": "NAME AGE", "tr": "NAME AGE", "ur": "NAME AGE", "ts": "NAME SERVICE AGE",
		"workloads": "NAME SERVICE ACCOUNT ADDRESS ACCEPTED IN FORCE AGE", "wf": "NAME ORDER ON FAILURE ACCEPTED IN FORCE AGE",
	} {
		lines := strings.Split(must(t, "", "get", short, "-n", "default"), "\n")
		if got := strings.Join(strings.Fields(lines[0]), " "); got != want {
			t.Errorf("%s: columns %q, want %q", short, got, want)
		}
		if len(want) > 20 && !regexp.MustCompile(`True +False`).MatchString(lines[1]) {
			t.Errorf("%s: the conditions are not shown: %s", short, lines[1])
		}
	}
	// A status is not the author's to write, and kinds of SMI have none.
	must(t, strings.Replace(vm, "spec:", "status: {conditions: []}\nspec:", 1), "apply", "-f", "-")
	if got := must(t, "", "get", "workload", "one", "-n", "default", "-o", "jsonpath={.status.conditions[0].type}"); got != "Accepted" {
		t.Errorf("the author has overwritten the status: %q", got)
	}
	if out, err := kubectl(t, "", "patch", "tt", "one", "-n", "default", "--subresource=status", "--type=merge", "-p", status); err == nil {
		t.Errorf("a TrafficTarget has a status: %s", out)
	}
}
