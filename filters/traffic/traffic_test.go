package traffic_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

func TestSeries(t *testing.T) {
	buyer, store := identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "buyer"}, identity.Workload{Namespace: "shop", Kind: "Workload", Name: "store"}
	const edge = ".=source_namespace=.=shop;.;.=source_kind=.=Deployment;.;.=source_name=.=buyer;.;" +
		".=destination_namespace=.=shop;.;.=destination_kind=.=Workload;.;.=destination_name=.=store;.;"
	for got, want := range map[string]string{
		traffic.RequestSeries(buyer, store, 200): "osm_request_total" + edge + ".=response_code=.=200;.;",
		traffic.DurationSeries(buyer, store):     "osm_request_duration_ms" + edge,
		traffic.DenialSeries(buyer, store, "path"): "wasmesh_denials_total.=source=.=shop/buyer;.;" +
			".=destination=.=shop/store;.;.=reason=.=path;.;",
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestLabelsComeOut reads labels as a sidecar's stats_tags do.
func TestLabelsComeOut(t *testing.T) {
	series := traffic.DenialSeries(identity.Workload{Namespace: "shop", Kind: "Workload", Name: "a.b"}, identity.Workload{Namespace: "shop", Kind: "Workload", Name: "store"}, "method")
	rest := series
	for name, want := range map[string]string{"source": "shop/a.b", "destination": "shop/store", "reason": "method"} {
		m := regexp.MustCompile(`\.=` + name + `=\.=(.*?);\.;`).FindStringSubmatch(series)
		if m == nil || m[1] != want {
			t.Fatalf("%s: got %q, want %q", name, m, want)
		}
		rest = strings.Replace(rest, m[0], "", 1)
	}
	if rest != traffic.Denials {
		t.Errorf("without its labels the name is %q", rest)
	}
}

// TestNamesAreOfOneForm, as Prometheus and the rule that finds them want it.
func TestNamesAreOfOneForm(t *testing.T) {
	form := regexp.MustCompile(`^(wasmesh|osm)_[a-z_]+[a-z]$`)
	seen := map[string]bool{}
	for _, name := range []string{traffic.Requests, traffic.Duration, traffic.Folded, traffic.Denials, traffic.PolicyVersion, traffic.Expired, traffic.Panics} {
		if !form.MatchString(name) || seen[name] {
			t.Errorf("%q is malformed, or used twice", name)
		}
		seen[name] = true
	}
}

// TestEveryMetricIsDocumented, with the scope that Prometheus puts before a name.
func TestEveryMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		traffic.Requests, traffic.Duration, traffic.Folded, traffic.Denials, traffic.Audited, traffic.Revoked, traffic.Connections,
		traffic.RequestBytes, traffic.ResponseBytes, traffic.ReceivedBytes, traffic.SentBytes, traffic.PolicyVersion,
		traffic.ConnectionPolicyVersion, traffic.Expired, traffic.Panics,
		"envoy_" + traffic.OwnScope + "_" + traffic.Forbidden, "envoy_" + traffic.OwnScope + "_" + traffic.LocalReplies,
	} {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not tell of %s", name)
		}
	}
}

// TestGRPC: what is the server's fault fails, what is the caller's does not, and a
// status that nobody knows is a failure.
func TestGRPC(t *testing.T) {
	for status, want := range map[int]int{0: 200, 1: 499, 2: 500, 4: 504, 5: 404, 7: 403, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401, 17: 500, -1: 500} {
		if got := traffic.GRPC(status); got != want {
			t.Errorf("%d is counted as %d, want %d", status, got, want)
		}
	}
}

// TestCode: whatever an application answers, one edge has few series, and a failure
// stays a failure.
func TestCode(t *testing.T) {
	known := map[int]bool{}
	for code := -1; code < 100_000; code++ {
		c := traffic.Code(code, len(known), known[code])
		known[c] = true
		if c != 0 && (c/100 != code/100 || c > code) || c == 0 && code >= 100 && code <= 599 {
			t.Fatalf("%d is counted as %d", code, c)
		}
	}
	if len(known) > 10 {
		t.Errorf("%d series: %v", len(known), known)
	}
	for _, c := range []struct{ code, seen, want int }{{200, 0, 200}, {503, 3, 503}, {503, 4, 500}, {418, 4, 400}, {0, 0, 0}, {42, 0, 0}, {600, 0, 0}} {
		if got := traffic.Code(c.code, c.seen, false); got != c.want {
			t.Errorf("%d after %d others is counted as %d, want %d", c.code, c.seen, got, c.want)
		}
	}
	if got := traffic.Code(503, 9, true); got != 503 {
		t.Errorf("a code that has its series is counted as %d", got)
	}
}
