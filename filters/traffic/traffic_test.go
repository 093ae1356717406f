package traffic_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/traffic"
)

func TestSeries(t *testing.T) {
	for got, want := range map[string]string{
		traffic.RequestSeries("shop/buyer", "shop/store", 200): "wasmesh_requests_total.=source=.=shop/buyer;.;" +
			".=destination=.=shop/store;.;.=response_code=.=200;.;",
		traffic.RequestSeries(traffic.Unknown, "shop/store", 0): "wasmesh_requests_total.=source=.=unknown;.;" +
			".=destination=.=shop/store;.;.=response_code=.=0;.;",
		traffic.DenialSeries("shop/buyer", "shop/store", "path"): "wasmesh_denials_total.=source=.=shop/buyer;.;" +
			".=destination=.=shop/store;.;.=reason=.=path;.;",
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestLabelsComeOut reads labels as a sidecar's stats_tags do.
func TestLabelsComeOut(t *testing.T) {
	series := traffic.DenialSeries("shop/a.b", "shop/store", "method")
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
	form := regexp.MustCompile(`^wasmesh_[a-z_]+[a-z]$`)
	seen := map[string]bool{}
	for _, name := range []string{traffic.Requests, traffic.Denials, traffic.PolicyVersion, traffic.Expired, traffic.Panics} {
		if !form.MatchString(name) || seen[name] {
			t.Errorf("%q is malformed, or used twice", name)
		}
		seen[name] = true
	}
}
