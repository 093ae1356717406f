package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// TestPermissionsAreTold compares the rules of the chart with the table in the
// documentation, both ways: one that is not told is as wrong as one that is not
// there.
func TestPermissionsAreTold(t *testing.T) {
	out, err := helm(t, "template", "wasmesh", chartPath, "-n", system, "--set", "metricsAPI.enabled=true")
	if err != nil {
		t.Fatal(out)
	}
	var granted []string
	for _, text := range strings.Split(out, "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(text), &role); err != nil {
			t.Fatal(err)
		}
		if role.Kind != "ClusterRole" && role.Kind != "Role" {
			continue
		}
		where := "cluster"
		if role.Kind == "Role" {
			where = role.Namespace
		}
		for _, r := range role.Rules {
			for _, cells := range [][]string{r.APIGroups, r.Resources, r.ResourceNames, r.Verbs} {
				if slices.Contains(cells, "*") {
					t.Errorf("%s has a rule for everything: %+v", role.Name, r)
				}
			}
			granted = append(granted, strings.Join([]string{role.Name, where, strings.Join(r.APIGroups, ", "),
				strings.Join(r.Resources, ", "), strings.Join(r.ResourceNames, ", "), strings.Join(r.Verbs, ", ")}, " | "))
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 9 || !strings.Contains(cells[1], "wasmesh-") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[7] == "" {
			t.Errorf("no reason is given: %s", line)
		}
		told = append(told, strings.Join(cells[1:7], " | "))
	}
	if len(granted) < 10 {
		t.Fatalf("only %d rules found: the test looks at the wrong place", len(granted))
	}
	for _, g := range granted {
		if !slices.Contains(told, g) {
			t.Errorf("granted and not told: %s", g)
		}
	}
	for _, s := range told {
		if !slices.Contains(granted, s) {
			t.Errorf("told and not granted: %s", s)
		}
	}
}

// TestNobodyMayMore asks the API server itself.
func TestNobodyMayMore(t *testing.T) {
	install(t)
	for _, c := range []struct {
		account string
		may     bool
		what    string
	}{
		{"wasmesh-controlplane", true, "get secrets/wasmesh-ca -n " + system},
		{"wasmesh-controlplane", true, "list pods -A"},
		{"wasmesh-controlplane", true, "patch configmaps/wasmesh-roots -n default"},
		{"wasmesh-controlplane", true, "update leases.coordination.k8s.io/wasmesh-controlplane -n " + system},
		{"wasmesh-controlplane", false, "get secrets/wasmesh-ca -n default"},
		{"wasmesh-controlplane", false, "list secrets -A"},
		{"wasmesh-controlplane", false, "list secrets -n " + system},
		{"wasmesh-controlplane", false, "get secrets -n kube-system"},
		{"wasmesh-controlplane", false, "get secrets/wasmesh-injector-tls -n " + system},
		{"wasmesh-controlplane", false, "create secrets -n " + system},
		{"wasmesh-controlplane", false, "get configmaps/other -n default"},
		{"wasmesh-controlplane", false, "create pods -n default"},
		{"wasmesh-controlplane", false, "create pods --subresource=exec -n default"},
		{"wasmesh-controlplane", false, "create serviceaccounts --subresource=token -n default"},
		{"wasmesh-controlplane", false, "patch traffictargets.access.smi-spec.io -n default"},
		{"wasmesh-controlplane", false, "patch mutatingwebhookconfigurations.admissionregistration.k8s.io/wasmesh-injector"},
		{"wasmesh-controlplane", false, "patch customresourcedefinitions.apiextensions.k8s.io"},
		{"wasmesh-controlplane", false, "update clusterroles.rbac.authorization.k8s.io/wasmesh-controlplane"},
		{"wasmesh-injector", true, "update secrets/wasmesh-injector-tls -n " + system},
		{"wasmesh-injector", true, "patch mutatingwebhookconfigurations.admissionregistration.k8s.io/wasmesh-injector"},
		{"wasmesh-injector", false, "get secrets/wasmesh-ca -n " + system},
		{"wasmesh-injector", false, "list secrets -A"},
		{"wasmesh-injector", false, "get pods -n default"},
		{"wasmesh-injector", false, "list namespaces"},
		{"default", false, "get secrets/wasmesh-ca -n " + system},
	} {
		args := append([]string{"auth", "can-i", "--as=system:serviceaccount:" + system + ":" + c.account}, strings.Fields(c.what)...)
		out, _ := kubectl(t, "", args...) // it fails where the answer is no
		answers := strings.Fields(out)
		if len(answers) == 0 || answers[len(answers)-1] != map[bool]string{true: "yes", false: "no"}[c.may] {
			t.Errorf("may %s %s? %q", c.account, c.what, out)
		}
	}
}
