package wasmtest

// What this package was compared with, observable by observable. A release of
// the repository that changes either says so in its notes: modules may then
// behave differently here because they do in the proxy.
const (
	// ABI is the newest Proxy-Wasm ABI version that runs here; 0.2.0 runs too.
	ABI = abi021
	// Envoy is the version whose behaviour is promised.
	Envoy = "1.40"
)
