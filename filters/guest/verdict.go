package guest

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// VerdictKey is where a stage leaves what became of a stream, for the sidecar's
// access log: "<word>|<rule>|<reason>". The sidecar keeps it in the filter state,
// under "wasm." and this key.
const VerdictKey = "wasmesh.verdict"

// The words of a verdict.
const (
	Allowed = "allow"
	Denied  = "deny"
	Audited = "audit" // it passed, and would be refused under mode enforce
)

// TellVerdict leaves the verdict on the current stream. It fails open: what cannot
// be told keeps nothing from passing, and lets nothing pass.
func TellVerdict(v policy.Verdict) {
	if !setProperty(VerdictKey, FormatVerdict(v)) {
		proxywasm.LogError("a verdict could not be left for the access log")
	}
}

// FormatVerdict is what stands under VerdictKey.
func FormatVerdict(v policy.Verdict) string {
	word := Allowed
	switch {
	case !v.Allow:
		word = Denied
	case v.Reason != policy.ReasonNone:
		word = Audited
	}
	return word + "|" + v.Rule + "|" + string(v.Reason)
}
