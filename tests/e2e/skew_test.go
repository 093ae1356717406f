package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// skew: sidecars of this build with the control plane before, which serves the
// module of its build, then the reverse, decide as those of one build.
func skew(t *testing.T) {
	if _, err := os.Stat(previous("commit")); err != nil {
		t.Skip("the history of this clone does not reach the build before (git fetch --unshallow)")
	}
	manifest, err := os.ReadFile(filepath.Join(root, "examples/bookstore/access.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	applyAll(t, string(manifest))
	want := decisions(t)
	if !strings.Contains(strings.Join(want, " "), "200") || !strings.Contains(strings.Join(want, " "), "403") {
		t.Fatalf("decisions that prove nothing: %v", want)
	}
	for _, s := range []struct{ what, chart, controlPlane, sidecar string }{
		{"sidecars of this build with the control plane before", previous("chart"), previousTag, ""},
		{"sidecars of the build before with this control plane", chart, "", previousTag},
	} {
		began := time.Now()
		release(t, s.chart, s.controlPlane, s.sidecar)
		for _, p := range meshed(t) {
			if image := imageOf(p); strings.HasSuffix(image, ":"+previousTag) != (s.sidecar == previousTag) {
				t.Fatalf("%s runs %s: it proves nothing", p.Name, image)
			}
		}
		if got := decisions(t); !slices.Equal(got, want) {
			t.Errorf("%s:\n%v\nwant\n%v", s.what, got, want)
		}
		figures.Tell(t, "%s: the same %d decisions, after %v", s.what, len(want), time.Since(began).Round(time.Second))
	}
}

// release has, by a chart, the control plane and all sidecars of the bookstore be of these tags,
// empty for those of this build.
func release(t *testing.T, chart, controlPlane, sidecar string) {
	t.Helper()
	helm(t, "upgrade", "wasmesh", chart, "--set", "image.tag="+controlPlane, "--set", "sidecarImage.tag="+sidecar)
	await(t, "the mesh's pods of before have gone", settleTimeout, func() error { // one of them may still inject
		for _, p := range podsOf(t, system) {
			if p.DeletionTimestamp != nil || !isReady(p) {
				return fmt.Errorf("%s is there", p.Name)
			}
		}
		return nil
	})
	old := meshed(t)
	spaces := []string{"bookbuyer", "bookthief", "bookwarehouse", "bookstore"}
	for _, ns := range spaces {
		kubectl(t, "delete", "pod", "-n", ns, "--all", "--wait=false", "--grace-period=1")
	}
	await(t, "all pods are new", 2*settleTimeout, func() error {
		for _, ns := range spaces {
			for _, p := range podsOf(t, ns) {
				if slices.ContainsFunc(old, func(o corev1.Pod) bool { return o.UID == p.UID }) || !isReady(p) {
					return fmt.Errorf("%s is old, or not ready", p.Name)
				}
			}
		}
		return nil
	})
}

func imageOf(p corev1.Pod) string {
	for _, c := range p.Spec.InitContainers {
		if c.Name == "wasmesh-sidecar" {
			return c.Image
		}
	}
	return ""
}

// decisions are the answers to every call of the list, before, during and after an
// edit.
func decisions(t *testing.T) (out []string) {
	t.Helper()
	buyer, thief := one(t, "bookbuyer"), one(t, "bookthief")
	expectFrom(t, buyer, "buyer", "200", store+"/buy-a-book")
	list := func(when string) {
		for _, path := range []string{"/books-bought", "/buy-a-book", "/buy-a-book/new", "/something-else", "//buy-a-book", "/%62uy-a-book", "/books-bought?x=/buy-a-book"} {
			for _, method := range []string{"GET", "POST"} {
				for container, p := range map[string]corev1.Pod{"buyer": buyer, "thief": thief} {
					status, _, _ := strings.Cut(call(t.Context(), p, container, "-method", method, store+path), " ")
					out = append(out, fmt.Sprintf("%s %s %s %s %s", when, container, method, path, status))
				}
			}
		}
	}
	list("before")
	edit(t, "POST")
	expectFrom(t, buyer, "buyer", "403", store+"/buy-a-book")
	settled(t)
	list("edited")
	edit(t, "GET")
	expectFrom(t, buyer, "buyer", "200", store+"/buy-a-book")
	settled(t)
	list("after")
	slices.Sort(out)
	return out
}

// settled waits until both pods of the bookstore decide alike.
func settled(t *testing.T) {
	t.Helper()
	buyer := one(t, "bookbuyer")
	await(t, "all decide alike", settleTimeout, func() error {
		answers := strings.Split(call(t.Context(), buyer, "buyer", "-count", "10", store+"/buy-a-book"), "\n")
		if n := count(answers, answers[0][:4]); n != len(answers) {
			return fmt.Errorf("answers %v", answers)
		}
		return nil
	})
}
