package chart

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// badObjects asks for objects of every kind, through the schema, its rules and the
// webhook. The good one of each kind is accepted; what differs from it in one
// thing is refused, and told where and why. What another object lacks is a
// warning, never a refusal.
func badObjects(t *testing.T) {
	config := rest.CopyConfig(kube.Config)
	config.WarningHandler = rest.NoWarnings{} // other tests look at them
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	create := func(t *testing.T, text string) error {
		t.Helper()
		var fields map[string]any
		if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%v in\n%.300s", err, text)
		}
		data, err := json.Marshal(fields) // whole numbers, not floats
		if err != nil {
			t.Fatal(err)
		}
		u := new(unstructured.Unstructured)
		if err := u.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		u.SetName("asked")
		resource := u.GroupVersionKind().GroupVersion().WithResource(strings.ToLower(u.GetKind()) + "s")
		_, err = client.Resource(resource).Namespace("default").Create(t.Context(), u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	udp := strings.Replace(ports, "TCPRoute", "UDPRoute", 1)
	many := func(n int, item string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%s, ", strings.ReplaceAll(item, "NR", fmt.Sprint(i+1)))
		}
		return strings.TrimSuffix(b.String(), ", ")
	}
	big := strings.Repeat("x", 2<<20)
	for name, c := range map[string]struct{ object, old, new, says string }{
		"target, unknown field":  {target, "rules: [", "rulez: [", "the field is unknown"},
		"target, wrong type":     {target, "name: web, namespace", "name: {a: b}, namespace", "must be of type string"},
		"target, 10,000 rules":   {target, "[{kind: HTTPRouteGroup, name: web, matches: [get]}]", "[" + many(10_000, "{kind: HTTPRouteGroup, name: webNR}") + "]", "must have at most 1000 items"},
		"target, 10,000 sources": {target, "[{kind: ServiceAccount, name: buyer, namespace: other}]", "[" + many(10_000, "{kind: ServiceAccount, name: bNR}") + "]", "must have at most 1000 items"},
		"target, too large":      {target, "name: buyer", "name: " + big, "oo l"},
		"group, unknown field":   {group, "methods", "method", "the field is unknown"},
		"group, wrong type":      {group, "[GET]", "GET", "must be of type array"},
		"group, no pattern":      {group, "/books$", "/books(", "missing closing )"},
		"group, 10,000 matches":  {group, "{name: get,", many(10_000, "{name: mNR, pathRegex: /x}") + ", {name: get,", "must have at most 1000 items"},
		"group, too large":       {group, "get", big, "oo l"},
		"ports, unknown field":   {ports, "ports:", "porst:", "the field is unknown"},
		"ports, wrong type":      {ports, "[8080]", "8080", "must be of type array"},
		"ports, out of range":    {ports, "8080", "65536", "rule 27"},
		"ports, 10,000":          {ports, "8080", many(10_000, "NR"), "must have at most 1000 items"},
		"UDP, unknown field":     {udp, "ports:", "porst:", "the field is unknown"},
		"UDP, wrong type":        {udp, "8080", "dns", "must be of type integer"},
		"UDP, out of range":      {udp, "8080", "-1", "rule 27"},
		"UDP, 10,000":            {udp, "8080", many(10_000, "NR"), "must have at most 1000 items"},
		"split, unknown field":   {weights, "service: web, backends", "servize: x, service: web, backends", "the field is unknown"},
		"split, wrong type":      {weights, "[{service: web, weight: 10}, {service: web-2, weight: 20}]", "{service: web}", "must be of type array"},
		"split, out of range":    {weights, "20", "-20", "rule 58"},
		"split, 10,000":          {weights, "{service: web, weight: 10}", many(10_000, "{service: wNR, weight: 1}"), "must have at most 1000 items"},
		"split, too large":       {weights, "service: web-2", "service: " + big, "oo l"},
		"workload, unknown":      {vm, "ports:", "potrs:", "the field is unknown"},
		"workload, wrong type":   {vm, "[{port: 80, name: http}, {port: 81}]", "80", "must be of type array"},
		"workload, out of range": {vm, "81", "65536", "no port"},
		"workload, 10,000":       {vm, "{port: 81}", many(10_000, "{port: NR}"), "must have at most 1000 items"},
		"filter, unknown field":  {filter, "config:", "cofnig:", "the field is unknown"},
		"filter, wrong type":     {filter, "{serviceAccount: web}", "web", "must be of type object"},
		"filter, out of range":   {filter, "Deny", "Maybe", "use Deny or Pass"},
		"filter, too large":      {filter, "gold", big, "262144 is the most"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if strings.Count(c.object, c.old) != 1 {
				t.Fatalf("%q is in the object %d times", c.old, strings.Count(c.object, c.old))
			}
			if err := create(t, c.object); err != nil {
				t.Errorf("the good one: %.300v", err)
			}
			began := time.Now()
			if err := create(t, strings.Replace(c.object, c.old, c.new, 1)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("want a refusal that says %q: %.400v", c.says, err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the refusal took %v", took)
			}
		})
	}
	for name, object := range map[string]string{ // what is as large as may be
		"1000 rules":   strings.Replace(target, "[{kind: HTTPRouteGroup, name: web, matches: [get]}]", "["+many(1000, "{kind: HTTPRouteGroup, name: webNR}")+"]", 1),
		"1000 matches": strings.Replace(group, "{name: get,", many(999, "{name: mNR, pathRegex: /x$}")+", {name: get,", 1),
		"1000 ports":   strings.Replace(ports, "8080", many(1000, "NR"), 1),
	} {
		began := time.Now()
		if err := create(t, object); err != nil || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %.300v after %v", name, err, time.Since(began))
		}
	}
}
