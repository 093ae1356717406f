package guest_test

import (
	"testing"

	"github.com/wasmesh/wasmesh/filters/guest"
	"github.com/wasmesh/wasmesh/filters/policy"
)

func TestFormatVerdict(t *testing.T) {
	for _, tt := range []struct {
		verdict policy.Verdict
		want    string
	}{
		{policy.Verdict{Allow: true, Rule: "shop/buyers"}, "allow|shop/buyers|"},
		{policy.Verdict{Allow: true}, "allow||"}, // permissive
		{policy.Verdict{Allow: true, Reason: policy.ReasonPath}, "audit||path"},
		{policy.Verdict{Reason: policy.ReasonSource}, "deny||source"},
		{policy.Verdict{}, "deny||"},
	} {
		if got := guest.FormatVerdict(tt.verdict); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.verdict, got, tt.want)
		}
	}
}
