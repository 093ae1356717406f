package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The program runs once per workload: every megabyte counts as often.
func TestStaysSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, heavy := range []string{"k8s.io/", "sigs.k8s.io/", "github.com/envoyproxy/", "google.golang.org/", "github.com/tetratelabs/"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("depends on %s", strings.TrimSpace(dep))
			}
		}
	}
}
