package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

const (
	target = `
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: one, namespace: default}
spec:
  destination: {kind: ServiceAccount, name: web, namespace: default}
  sources: [{kind: ServiceAccount, name: buyer, namespace: other}]
  rules: [{kind: HTTPRouteGroup, name: web, matches: [get]}]
`
	group = `
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: one, namespace: default}
spec: {matches: [{name: get, pathRegex: /books$, methods: [GET], headers: {x-version: "2"}}]}
`
	ports = `
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: one, namespace: default}
spec: {matches: {ports: [8080]}}
`
	weights = `
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: one, namespace: default}
spec: {service: web, backends: [{service: web, weight: 10}, {service: web-2, weight: 20}], matches: [{kind: HTTPRouteGroup, name: one}]}
`
	quantities = `
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: one, namespace: default}
spec: {service: web, backends: [{service: web, weight: 500m}, {service: web-2, weight: "100"}, {service: web-3, weight: 3}]}
`
	vm = `
apiVersion: wasmesh.io/v1alpha1
kind: Workload
metadata: {name: one, namespace: default}
spec: {serviceAccount: web, address: 10.0.0.7, application: 127.0.0.1, loopback: 127.31.0.0/16, ports: [{port: 80, name: http}, {port: 81}]}
`
	filter = `
apiVersion: wasmesh.io/v1alpha1
kind: WasmFilter
metadata: {name: one, namespace: default}
spec:
  selector: {serviceAccount: web}
  module: {image: "registry.example.com/f@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
  config: {plan: gold, list: [1]}
  onFailure: Deny
  direction: inbound
`
)

// TestRules holds each refusal of the CRDs to an accepted twin that differs in one
// place. What a CRD refuses, the mesh could not have used in full either.
func TestRules(t *testing.T) {
	install(t, "--set", "validation.enabled=false")
	for name, c := range map[string]struct{ object, old, new, says string }{
		"port of a destination":       {target, "name: web, namespace", `name: web, port: "9091", namespace`, "rule 34"},
		"port of a source":            {target, "name: buyer,", "name: buyer, port: 80,", "rule 34"},
		"rule kind":                   {target, "kind: HTTPRouteGroup", "kind: HTTPRoute", "rule 22"},
		"no destination":              {target, "destination: {", "destiny: {", "spec.destination: Required value"},
		"matches twice":               {group, "spec:", "matches: []\nspec:", "rule 52"},
		"lower case":                  {group, "[GET]", "[get]", "rule 42"},
		"no method":                   {group, "[GET]", `["GET /"]`, "rule 42"},
		"a pattern of no end":         {group, "/books$", "/" + strings.Repeat("b", 1024), "Too long"},
		"matches twice, of ports":     {ports, "spec:", "matches: {}\nspec:", "rule 52"},
		"port 0":                      {ports, "8080", "0", "rule 27"},
		"port 65536":                  {ports, "8080", "65536", "rule 27"},
		"port of text":                {ports, "8080", `"8080"`, "must be of type integer"},
		"less than nothing":           {weights, "weight: 10", "weight: -1", "rule 58"},
		"half":                        {weights, "weight: 10", "weight: 0.5", "must be of type integer"},
		"half, in words":              {weights, "weight: 10", "weight: 500m", "rule 58"},
		"too much":                    {weights, "weight: 10", "weight: 4294967296", "rule 58"},
		"no weight":                   {weights, "web, weight: 10", "web", "weight: Required value"},
		"what cannot match":           {weights, "kind: HTTPRouteGroup", "kind: TCPRoute", "rule 77"},
		"no quantity":                 {quantities, "500m", "some", "rule 59"},
		"a quantity below nothing":    {quantities, "500m", "-500m", "rule 58"},
		"a number below nothing":      {quantities, "weight: 3", "weight: -3", "rule 58"},
		"too large a quantity":        {quantities, "500m", "5G", "rule 58"},
		"no identity":                 {vm, "serviceAccount: web", "serviceAccount: ''", "no identity"},
		"no address":                  {vm, "10.0.0.7", "vm.example.com", "no IP address"},
		"with a port":                 {vm, "10.0.0.7", "10.0.0.7:80", "no IP address"},
		"everywhere":                  {vm, "10.0.0.7", "0.0.0.0", "not the address of one machine"},
		"application of no address":   {vm, "application: 127.0.0.1", "application: localhost", "no IP address"},
		"loopback elsewhere":          {vm, "127.31.0.0/16", "10.31.0.0/16", "127.0.0.0/8"},
		"loopback too narrow":         {vm, "127.31.0.0/16", "127.31.1.0/24", "127.0.0.0/8"},
		"one port twice":              {vm, "port: 81", "port: 80", "Duplicate value"},
		"no port of a workload":       {vm, "port: 81", "port: 0", "no port"},
		"a filter of everything":      {filter, "serviceAccount: web", "serviceAccount: ''", "every workload of the namespace"},
		"a module that can change":    {filter, "@sha256:", ":sha256-", "not named by its digest"},
		"no module":                   {filter, "image:", "imago:", "no module is named"},
		"what to do":                  {filter, "Deny", "deny", "use Deny or Pass"},
		"a direction that is not yet": {filter, "inbound", "outbound", "use inbound"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if n := strings.Count(c.object, c.old); n != 1 {
				t.Fatalf("%q is in the object %d times", c.old, n)
			}
			if out, err := kubectl(t, c.object, "create", "--dry-run=server", "-f", "-"); err != nil || strings.Contains(out, "Warning") {
				t.Errorf("the good one: %v: %s", err, out)
			}
			bad := strings.Replace(c.object, c.old, c.new, 1)
			if out, err := kubectl(t, bad, "create", "--dry-run=server", "-f", "-"); err == nil || !strings.Contains(out, c.says) {
				t.Errorf("want a refusal that says %q: %v: %s", c.says, err, out)
			}
			complained(t, bad)
		})
	}
}

// complained checks that the mesh, which is given the object in a folder, has
// something to say about it too.
func complained(t *testing.T, object string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "object.yaml"), []byte(strings.ReplaceAll(object, "namespace: default,", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t.Context(), "", "", wasmesh(), "check", "-f", folder)
	if err == nil && !strings.Contains(out, "1 inert") {
		t.Errorf("the CRD refuses what the mesh takes without a word:\n%s\n%s", object, out)
	}
}

// TestExamplesAreAccepted takes every object of SMI and of ours that the tests of
// the mesh and its examples are made of. The few that CRDs refuse are named here,
// and each is one that the mesh cannot use in full.
func TestExamplesAreAccepted(t *testing.T) {
	install(t, "--set", "validation.enabled=false")
	refused := map[string]string{ // by file: what is said
		"old-versions.txtar":          "rule 34",
		"unknown-kinds.txtar":         "rule 22",
		"unknown-kind-of-match.txtar": "rule 77",
		"weights-that-are-none.txtar": "weight",
	}
	var files []string
	for _, pattern := range []string{"tests/scenarios/testdata/*.txtar", "tests/splits/testdata/*.txtar", "examples/bookstore/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(found))
		}
		files = append(files, found...)
	}
	var all strings.Builder
	from, n := map[string]string{}, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objectsOf(t, string(text)) {
			name := fmt.Sprintf("object-%d", n)
			n++
			object["metadata"] = map[string]any{"name": name, "namespace": "default"}
			out, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			from[name] = filepath.Base(file)
			all.WriteString("---\n" + string(out))
		}
	}
	if n < 100 {
		t.Fatalf("only %d objects found: the test looks at the wrong place", n)
	}
	out, _ := kubectl(t, all.String(), "create", "--dry-run=server", "--validate=false", "-f", "-")
	accepted := strings.Count(out, "(server dry run)")
	for _, line := range regexp.MustCompile(`(?m)^(The|Error|error|resource).*(\n\* .*)*`).FindAllString(out, -1) {
		file := from[regexp.MustCompile(`object-\d+`).FindString(line)]
		if says, known := refused[file]; !known || !strings.Contains(line, says) {
			t.Errorf("%s: %s", file, line)
		}
	}
	figures.Tell(t, "%d of %d objects accepted", accepted, n)
	if n-accepted > 15 {
		t.Errorf("%d objects were not accepted", n-accepted)
	}
}

// objectsOf finds the objects of the mesh's groups in manifests, or in the
// sections of a scenario.
func objectsOf(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	sections := regexp.MustCompile(`(?m)^(-- .* --|---)\n`).Split(text, -1)
	for _, section := range sections {
		var object map[string]any
		if yaml.Unmarshal([]byte(section), &object) != nil {
			continue // prose, requests, or a manifest that is broken on purpose
		}
		if v, _ := object["apiVersion"].(string); strings.Contains(v, "smi-spec.io/") || strings.HasPrefix(v, "wasmesh.io/") {
			out = append(out, object)
		}
	}
	return out
}

// TestTolerance: what the mesh reads in several spellings is stored as it was
// written, and what it does not know is kept for it to see.
func TestTolerance(t *testing.T) {
	install(t, "--set", "validation.enabled=false")
	for _, c := range []struct{ object, get, path, want string }{
		{strings.Replace(group, "{x-version: \"2\"}", "[{a: b, c: d}, {e: f}]", 1), "htr", ".spec.matches[0].headers", `[{"a":"b","c":"d"},{"e":"f"}]`},
		{group, "htr", ".spec.matches[0].headers", `{"x-version":"2"}`},
		{strings.Replace(strings.Replace(group, "spec: {matches: ", "matches: ", 1), "}]}", "}]", 1), "htr", ".matches[0].name", "get"},
		{strings.Replace(group, "pathRegex", "pathregex", 1), "htr", ".spec.matches[0].pathregex", "/books$"},
		{strings.Replace(ports, "spec:", "sepc:", 1), "tr", ".sepc.matches.ports", "[8080]"},
		{strings.Replace(ports, "{matches: {ports: [8080]}}", "{matches: {}}", 1), "tr", ".spec", `{"matches":{}}`},
		{strings.Replace(ports, "spec: {matches: {ports: [8080]}}", "", 1), "tr", ".metadata.name", "one"},
		{strings.Replace(ports, "TCPRoute", "UDPRoute", 1), "ur", ".spec.matches.ports", "[8080]"},
		{strings.Replace(strings.Replace(target, "[{kind: ServiceAccount, name: buyer, namespace: other}]", "[]", 1), "[{kind: HTTPRouteGroup, name: web, matches: [get]}]", "null", 1), "tt", ".spec.sources", "[]"},
		{strings.Replace(target, "kind: ServiceAccount, name: web", "kind: IdentityBinding, name: web", 1), "tt", ".spec.destination.kind", "IdentityBinding"},
		{quantities, "ts", ".spec.backends[*].weight", "500m 100 3"},
		{filter, "wasmfilter", ".spec.config", `{"list":[1],"plan":"gold"}`},
		{strings.Replace(filter, "{plan: gold, list: [1]}", "as it is", 1), "wf", ".spec.config", "as it is"},
	} {
		must(t, c.object, "create", "--validate=false", "-f", "-")
		if got := must(t, "", "get", c.get, "one", "-n", "default", "-o", "jsonpath={"+c.path+"}"); got != c.want {
			t.Errorf("%s of\n%s is %q, want %q", c.path, c.object, got, c.want)
		}
		must(t, "", "delete", c.get, "one", "-n", "default")
	}
}

// TestVersions: every version reads what any version wrote, and writes back
// without losing or refusing what it does not speak of.
func TestVersions(t *testing.T) {
	install(t, "--set", "validation.enabled=false")
	must(t, weights, "create", "-f", "-")
	must(t, strings.Replace(quantities, "name: one", "name: two", 1), "create", "-f", "-")
	for _, v := range []string{"v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"} {
		resource := "trafficsplits." + v + ".split.smi-spec.io"
		if got := must(t, "", "get", resource, "one", "-n", "default", "-o", "jsonpath={.apiVersion} {.spec.matches[0].name} {.spec.backends[1].weight}"); got != "split.smi-spec.io/"+v+" one 20" {
			t.Errorf("%s reads %q", v, got)
		}
		if got := must(t, "", "get", resource, "two", "-n", "default", "-o", "jsonpath={.spec.backends[0].weight}"); got != "500m" {
			t.Errorf("%s reads the weight %q", v, got)
		}
		must(t, "", "annotate", resource, "one", "two", "-n", "default", "written="+v, "--overwrite")
		must(t, "", "patch", resource, "one", "-n", "default", "--type=merge", "-p", `{"spec":{"service":"web-`+v+`"}}`)
		if got := must(t, "", "get", "ts", "one", "-n", "default", "-o", "jsonpath={.spec.service} {.spec.matches[0].name}"); got != "web-"+v+" one" {
			t.Errorf("after an edit in %s: %q", v, got)
		}
	}
	must(t, "", "delete", "ts", "one", "two", "-n", "default")
	must(t, group+"---"+ports, "create", "-f", "-")
	for _, v := range []string{"v1alpha3", "v1alpha4"} {
		if got := must(t, "", "get", "httproutegroups."+v+".specs.smi-spec.io", "one", "-n", "default", "-o", "jsonpath={.spec.matches[0].name}"); got != "get" {
			t.Errorf("%s reads %q", v, got)
		}
		must(t, "", "get", "tcproutes."+v+".specs.smi-spec.io", "one", "-n", "default")
	}
	must(t, "", "delete", "htr/one", "tr/one", "-n", "default")
	// What is not served says so (rule 34).
	if out, err := kubectl(t, strings.Replace(target, "v1alpha3", "v1alpha2", 1), "create", "-f", "-"); err == nil {
		t.Errorf("v1alpha2 is served: %s", out)
	}
}
