package admission

import (
	"strings"
	"testing"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

const (
	target = `
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: t, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: web, namespace: shop}
  sources: [{kind: ServiceAccount, name: buyer, namespace: other}]
  rules: [{kind: HTTPRouteGroup, name: web-routes, matches: [get]}]
`
	group = `
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: web-routes, namespace: shop}
spec:
  matches:
    - {name: get, pathRegex: /books$, methods: [GET]}
    - {name: put, headers: {x-version: "2"}}
`
	weights = `
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: s, namespace: shop}
spec: {service: web, backends: [{service: web, weight: 500m}, {service: web-2, weight: 1}]}
`
	ports = `
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: p, namespace: shop}
spec: {matches: {ports: [8080]}}
`
	vm = `
apiVersion: wasmesh.io/v1alpha1
kind: Workload
metadata: {name: w, namespace: shop}
spec: {serviceAccount: web, address: 10.0.0.7, ports: [{port: 80, name: http}]}
status: {}
`
	filter = `
apiVersion: wasmesh.io/v1alpha1
kind: WasmFilter
metadata: {name: f, namespace: shop}
spec: {selector: {serviceAccount: web}, module: {sha256: "` + digest + `"}, onFailure: Deny}
`
	digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// TestRefused holds each refusal to a twin that is accepted and differs in one
// place only: what is replaced.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ object, old, new, says string }{
		"rule 14, destination elsewhere": {target, "web, namespace: shop", "web, namespace: other", "only opens service accounts of its own namespace"},
		"rule 34, a field that is lost":  {target, "name: web,", "name: web, port: 80,", "the field is unknown"},
		"a misspelt field":               {group, "pathRegex", "pathregex", "the field is unknown"},
		"rule 39, no regular expression": {group, "/books$", "/books(", "missing closing )"},
		"rule 39, not RE2":               {group, "/books$", "/books**", "**"},
		"rule 42, lower case":            {group, "[GET]", "[get]", "Write GET"},
		"rule 51, one name twice":        {group, "name: put", "name: get", "a later match is also named"},
		"rule 47, no header name":        {group, "x-version", "x version", "is not a header name"},
		"rule 58, less than nothing":     {weights, "weight: 1", "weight: -1", "negative"},
		"rule 59, no quantity":           {weights, "500m", "some", "is not a quantity"},
		"rule 27, no port":               {ports, "8080", "70000", "is not a port"},
		"no identity":                    {vm, "serviceAccount: web", "serviceAccount: ''", "has no identity"},
		"no address":                     {vm, "10.0.0.7", "web.example.com", "is not an IP address"},
		"a filter of no digest":          {filter, `sha256: "` + digest, `image: "registry.example.com/f:1`, "is not named by its digest"},
		"a filter of everything":         {filter, "serviceAccount: web", "serviceAccount: ''", "every workload of the namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(c.object, c.old) != 1 {
				t.Fatalf("%q is in the object %d times", c.old, strings.Count(c.object, c.old))
			}
			if v := Judge(fields(t, strings.Replace(c.object, "status: {}\n", "", 1)), nil, smi.Settings{}); len(v.Refused) > 0 {
				t.Errorf("the good one is refused: %v", v.Refused)
			}
			v := Judge(fields(t, strings.NewReplacer(c.old, c.new, "status: {}\n", "").Replace(c.object)), nil, smi.Settings{})
			if len(v.Refused) == 0 || !strings.Contains(reasons(v.Refused), c.says) {
				t.Errorf("refused: %v, want one that says %q", v.Refused, c.says)
			}
		})
	}
}

// TestReferencesAreTold: what another object lacks is never a refusal.
func TestReferencesAreTold(t *testing.T) {
	account := func(ns, name string) *corev1.ServiceAccount {
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	}
	web := &specs.HTTPRouteGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-routes"},
		Spec: specs.HTTPRouteGroupSpec{Matches: []specs.HTTPMatch{{Name: "get", PathRegex: "/books$"}}}}
	others := &specs.HTTPRouteGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-route"},
		Spec: specs.HTTPRouteGroupSpec{Matches: []specs.HTTPMatch{{Name: "get", PathRegex: "/("}}}}
	whole := smi.Objects{ServiceAccounts: []*corev1.ServiceAccount{account("shop", "web"), account("other", "buyer")},
		HTTPRouteGroups: []*specs.HTTPRouteGroup{web}}
	for name, c := range map[string]struct {
		around *smi.Objects
		says   []string
	}{
		"nothing is known":    {nil, nil},
		"everything is there": {&whole, nil},
		"nothing is there": {&smi.Objects{}, []string{`ServiceAccount "web" does not exist`, `ServiceAccount "buyer" does not exist`,
			`HTTPRouteGroup "web-routes" does not exist`, "as a whole grants nothing"}},
		"a name that is near": {&smi.Objects{ServiceAccounts: whole.ServiceAccounts, HTTPRouteGroups: []*specs.HTTPRouteGroup{others}},
			[]string{`Did you mean "web-route"?`}},
		"the object as it was does not count": {&smi.Objects{ServiceAccounts: whole.ServiceAccounts, HTTPRouteGroups: whole.HTTPRouteGroups,
			TrafficTargets: []*access.TrafficTarget{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "t"}}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(fields(t, target), c.around, smi.Settings{TrustDomain: "test"})
			if len(v.Refused) > 0 {
				t.Errorf("refused: %v", v.Refused)
			}
			told := strings.Join(warnings(v.Told), "\n")
			for _, s := range c.says {
				if !strings.Contains(told, s) {
					t.Errorf("nothing told of %q:\n%s", s, told)
				}
			}
			if len(c.says) == 0 && told != "" {
				t.Errorf("told without cause: %s", told)
			}
		})
	}
}

// TestWhatIsOddIsTold: advice and what is not enforced are warnings.
func TestWhatIsOddIsTold(t *testing.T) {
	for _, c := range []struct{ object, says string }{
		{strings.Replace(group, "/books$", "/books", 1), "anchored at the start only"},
		{strings.Replace(ports, "TCPRoute", "UDPRoute", 1), "not enforced"},
	} {
		v := Judge(fields(t, c.object), &smi.Objects{}, smi.Settings{})
		if told := strings.Join(warnings(v.Told), "\n"); len(v.Refused) > 0 || !strings.Contains(told, c.says) {
			t.Errorf("refused %v, told %q, want %q", v.Refused, told, c.says)
		}
	}
}

func TestSince(t *testing.T) {
	old := mesh.Problem{Field: "a", Cause: "x", Effect: mesh.Broken}
	added, kept := since([]mesh.Problem{old}, []mesh.Problem{old, {Field: "b", Cause: "x"}})
	if len(added) != 1 || added[0].Field != "b" || len(kept) != 1 || kept[0] != old {
		t.Errorf("added %v, kept %v", added, kept)
	}
}

func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}
