package smi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/apis/v1alpha1"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

const filterCast = `kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
kind: ServiceAccount
metadata: {name: web, namespace: other}
---
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web, tier: front}}
spec: {serviceAccount: web, address: 10.0.0.1, loopback: 127.31.0.0/16, ports: [{port: 80}]}
---
kind: Workload
metadata: {name: web-2, namespace: shop, labels: {app: web}}
spec: {serviceAccount: web, address: 10.0.0.2, loopback: 127.32.0.0/16, ports: [{port: 80}]}
---
kind: Workload
metadata: {name: web-1, namespace: other, labels: {app: web, tier: front}}
spec: {serviceAccount: web, address: 10.0.0.3, loopback: 127.33.0.0/16, ports: [{port: 80}]}`

var pin = "registry.example.com/a@sha256:" + strings.Repeat("ab", 32)

func filter(t *testing.T, name, spec string) *v1alpha1.WasmFilter {
	t.Helper()
	return decode[v1alpha1.WasmFilter](t, fmt.Sprintf("kind: WasmFilter\nmetadata: {name: %s, namespace: shop}\nspec: %s", name, spec))
}

// attached resolves filters and says what stands in front of a workload.
func attached(t *testing.T, workload string, filters ...*v1alpha1.WasmFilter) ([]mesh.Filter, []mesh.Problem) {
	t.Helper()
	o := objects(t, filterCast)
	o.WasmFilters = filters
	s, problems := smi.Snapshot(o, settings)
	n, _ := mesh.ParseName(workload)
	w, ok := s.Workload(n)
	if !ok {
		t.Fatalf("%s is not there", workload)
	}
	return w.Filters, problems
}

// A filter stands in front of the workloads that it selects in its namespace,
// by order and then by name.
func TestFiltersStandInOrder(t *testing.T) {
	web := func(name string, order int, more string) *v1alpha1.WasmFilter {
		return filter(t, name, fmt.Sprintf("{selector: {serviceAccount: web, matchLabels: {%s}}, module: {image: %q}, order: %d}", more, pin, order))
	}
	all := []*v1alpha1.WasmFilter{web("c", 0, ""), web("b", 0, "tier: front"), web("a", 7, "app: web"), web("d", -1, "app: web, tier: front")}
	for workload, want := range map[string]string{"shop/web-1": "d b c a", "shop/web-2": "c a", "other/web-1": ""} {
		got, problems := attached(t, workload, all...)
		var names []string
		for _, f := range got {
			names = append(names, f.Name.Name)
			if f.Image != pin || f.Pass {
				t.Errorf("got %+v", f)
			}
		}
		if strings.Join(names, " ") != want || len(problems) > 0 {
			t.Errorf("%s has %v, want %s; problems %v", workload, names, want, problems)
		}
	}
}

// What is wrong is told, and the filter stands there without a module: what it
// says about failures then holds.
func TestFiltersThatCannotRun(t *testing.T) {
	const web = "selector: {serviceAccount: web}"
	good := fmt.Sprintf("module: {image: %q}", pin)
	for spec, want := range map[string]string{
		"{" + web + ", module: {image: 'registry.example.com/a:1'}}":                  "not named by its digest",
		"{" + web + ", module: {image: 'registry.example.com/a@sha256:12'}}":          "not named by its digest",
		"{" + web + ", module: {image: '" + strings.ToUpper(pin) + "'}}":              "not named by its digest",
		"{" + web + ", module: {}}":                                                   "names no module",
		"{" + web + ", module: {sha256: abc}}":                                        "is not a sha256",
		"{" + web + ", " + good + ", onFailure: deny}":                                `"deny" is not known`,
		"{" + web + ", " + good + ", direction: outbound}":                            `"outbound"`,
		"{" + web + ", " + good + ", config: '" + strings.Repeat("x", 300<<10) + "'}": "is the most",
	} {
		got, problems := attached(t, "shop/web-1", filter(t, "f", spec))
		if len(got) != 1 || got[0] != (mesh.Filter{Name: mesh.Name{Namespace: "shop", Name: "f"}}) {
			t.Errorf("%.80s: got %+v", spec, got)
		}
		if len(problems) != 1 || problems[0].Effect != mesh.Broken || problems[0].Try == "" || !strings.Contains(problems[0].Cause, want) {
			t.Errorf("%.80s: got %v, want %q", spec, problems, want)
		}
	}
}

func TestFiltersThatStandNowhere(t *testing.T) {
	for selector, want := range map[string]mesh.Effect{
		"{}": mesh.Broken, "{serviceAccount: none}": mesh.Inert, "{matchLabels: {app: none}}": mesh.Inert,
	} {
		got, problems := attached(t, "shop/web-1", filter(t, "f", fmt.Sprintf("{selector: %s, module: {image: %q}}", selector, pin)))
		if len(got) != 0 || len(problems) != 1 || problems[0].Effect != want {
			t.Errorf("%s: got %v, %v", selector, got, problems)
		}
	}
}

func TestFilterConfigurations(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "config: plain text": "plain text", "config: {b: 1, a: [x, 'y']}": `{"b":1,"a":["x","y"]}`, "config: 7": "7", `config: "\"q\""`: `"q"`,
	} {
		got, problems := attached(t, "shop/web-1", filter(t, "f", fmt.Sprintf("{selector: {serviceAccount: web}, onFailure: Pass, module: {image: %q}, %s}", pin, text)))
		// An object's fields are sorted by what reads YAML.
		if want == `{"b":1,"a":["x","y"]}` {
			want = `{"a":["x","y"],"b":1}`
		}
		if len(got) != 1 || got[0].Configuration != want || !got[0].Pass || len(problems) > 0 {
			t.Errorf("%q: got %+v, %v, want %q", text, got, problems, want)
		}
	}
}

// A filter that was good and is broken keeps its last form; and there can be
// only so many.
func TestBrokenFiltersKeepTheirLastForm(t *testing.T) {
	o := objects(t, filterCast)
	o.WasmFilters = []*v1alpha1.WasmFilter{filter(t, "f", fmt.Sprintf("{selector: {serviceAccount: web}, module: {image: %q}, config: one}", pin))}
	_, last, problems := smi.Settle(smi.Objects{}, o, settings)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	o.WasmFilters = []*v1alpha1.WasmFilter{filter(t, "f", "{selector: {serviceAccount: web}, module: {image: 'a/b:1'}, config: two}")}
	s, _, problems := smi.Settle(last, o, settings)
	w, _ := s.Workload(mesh.Name{Namespace: "shop", Name: "web-1"})
	if len(problems) != 1 || len(w.Filters) != 1 || w.Filters[0].Configuration != "one" {
		t.Errorf("got %+v, %v", w.Filters, problems)
	}
	var many []*v1alpha1.WasmFilter
	for i := range 9 {
		many = append(many, filter(t, fmt.Sprintf("f%d", i), fmt.Sprintf("{selector: {matchLabels: {tier: front}}, module: {image: %q}}", pin)))
	}
	got, problems := attached(t, "shop/web-1", many...)
	if len(got) != 8 || len(problems) != 1 || !strings.Contains(problems[0].Cause, "already has 8 filters") {
		t.Errorf("got %d filters, %v", len(got), problems)
	}
}
