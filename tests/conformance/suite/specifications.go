package suite

import "net/http"

const (
	// someCalls is how often the suite calls a split service.
	someCalls = 50
	// manyCalls stands for them where chance decides: of 50 calls in shares of 75
	// and 25, the smaller share gets as many as the larger one in 1 run of 8,000;
	// of 200, in 1 of 10^13.
	manyCalls = 200
)

// TrafficAccess has 7 steps, for a mesh that denies by default.
func TrafficAccess() Specification {
	return Specification{"TrafficAccess", []Step{
		{"TA-01", "TrafficTarget of access.smi-spec.io/v1alpha3 is known and takes part", knows(targets(), "every-port.yaml")},
		{"TA-02", "applications A, B and C are ready", ready(AppA, AppB, AppC)},
		{"TA-03", "without a TrafficTarget, A's GET /echo to B is refused", calls(http.MethodGet, "/echo", false)},
		{"TA-04", "TCPRoute with no ports listed and TrafficTarget A to B are applied", applies("every-port.yaml")},
		{"TA-05", "A's GET /echo to B succeeds, and B has received it from A", calls(http.MethodGet, "/echo", true)},
		{"TA-06", "both are deleted", applies()},
		{"TA-07", "A's GET /echo to B is refused again", calls(http.MethodGet, "/echo", false)},
	}}
}

// TrafficSpec has 6.
func TrafficSpec() Specification {
	return Specification{"TrafficSpec", []Step{
		{"TSC-01", "HTTPRouteGroup of specs.smi-spec.io/v1alpha4 is known and takes part", knows(routeGroups(), "by-path.yaml")},
		{"TSC-02", "applications A and B are ready", ready(AppA, AppB)},
		{"TSC-03", "HTTPRouteGroup with pathRegex /metrics and methods * is applied", applies("by-path.yaml")},
		{"TSC-04", "A's GET /metrics to B succeeds, GET /echo is refused",
			both(calls(http.MethodGet, "/metrics", true), calls(http.MethodGet, "/echo", false))},
		{"TSC-05", "HTTPRouteGroup with pathRegex .* and methods GET is applied", applies("by-method.yaml")},
		{"TSC-06", "A's GET /echo to B succeeds, POST /echo is refused",
			both(calls(http.MethodGet, "/echo", true), calls(http.MethodPost, "/echo", false))},
	}}
}

// TrafficSplit has 11. It takes the policies that its calls need where nothing is allowed
// by default; the suite's own steps have none.
func TrafficSplit(allow ...string) Specification {
	with := func(split string) func(Bed) error { return applies(append([]string{split}, allow...)...) }
	anyBoth := func(atB, atC int) bool { return atB > 0 && atC > 0 }
	onlyB := func(_, atC int) bool { return atC == 0 }
	onlyC := func(atB, _ int) bool { return atB == 0 }
	moreB := func(atB, atC int) bool { return atB > atC }
	moreC := func(atB, atC int) bool { return atB < atC }
	return Specification{"TrafficSplit", []Step{
		{"TS-01", "TrafficSplit of split.smi-spec.io/v1alpha4 is known and takes part", knows(splits(), "split-1-0.yaml", allow...)},
		{"TS-02", "applications A, B and C are ready; app-svc is B and C", both(ready(AppA, AppB, AppC), fronts(AppSvc, AppB, AppC))},
		{"TS-03", "without a split, 50 calls arrive at B and at C", spreads(someCalls, anyBoth)},
		{"TS-04", "TrafficSplit B 1, C 0 is applied", with("split-1-0.yaml")},
		{"TS-05", "50 calls arrive at B, none at C", spreads(someCalls, onlyB)},
		{"TS-06", "TrafficSplit B 0, C 1 is applied", with("split-0-1.yaml")},
		{"TS-07", "50 calls arrive at C, none at B", spreads(someCalls, onlyC)},
		{"TS-08", "TrafficSplit B 75, C 25 is applied", with("split-75-25.yaml")},
		{"TS-09", "more calls arrive at B than at C", spreads(manyCalls, moreB)},
		{"TS-10", "TrafficSplit B 25, C 75 is applied", with("split-25-75.yaml")},
		{"TS-11", "more calls arrive at C than at B", spreads(manyCalls, moreC)},
	}}
}
