package wire

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// definition is what a CRD says of names and versions.
type definition struct {
	Metadata struct{ Name string }
	Spec     struct {
		Group      string
		Names      struct{ Kind, Plural string }
		Conversion struct{ Strategy string }
		Versions   []struct {
			Name            string
			Served, Storage bool
		}
	}
}

// TestCRDsServeWhatIsRead holds the chart's CRDs to the kinds and versions that
// are read: all of them, nothing else, stored in the version to write.
func TestCRDsServeWhatIsRead(t *testing.T) {
	files, err := filepath.Glob("../../charts/wasmesh/files/crds/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]definition{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d definition
		if err := yaml.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		found[d.Spec.Names.Kind] = d
	}
	for _, k := range Kinds() {
		if k.Group == "" {
			continue
		}
		d, ok := found[k.Name]
		delete(found, k.Name)
		if !ok || d.Spec.Group != k.Group || d.Spec.Names.Plural != k.Resource || d.Metadata.Name != k.Resource+"."+k.Group {
			t.Errorf("%s: the chart has %+v", k.Name, d)
			continue
		}
		if d.Spec.Conversion.Strategy != "None" {
			t.Errorf("%s is converted by %s; it is read as it was stored", k.Name, d.Spec.Conversion.Strategy)
		}
		var served []string
		for _, v := range d.Spec.Versions {
			if v.Served {
				served = append(served, v.Name)
			}
			if v.Storage != (v.Name == k.Versions[0]) {
				t.Errorf("%s %s: storage is %v", k.Name, v.Name, v.Storage)
			}
		}
		if !slices.Equal(served, k.Versions) {
			t.Errorf("%s: served are %v, read are %v", k.Name, served, k.Versions)
		}
		if stored := k.Stored(); len(stored) != len(k.Versions) || k.Name == "TrafficSplit" && stored[0] != "v1alpha1" {
			t.Errorf("%s is read as %v", k.Name, stored)
		}
	}
	for kind := range found {
		t.Errorf("the chart brings %s, which nothing reads", kind)
	}
}
