package inject_test

import (
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/injector/inject"
)

// TestMetricsAreAnnounced where the mesh opens them and the application has not
// announced its own.
func TestMetricsAreAnnounced(t *testing.T) {
	own := map[string]string{inject.ScrapeAnnotation: "false", inject.ScrapePortAnnotation: "9090"}
	for _, c := range []struct {
		name     string
		open     bool
		has      map[string]string
		port     string
		warnings int
	}{
		{"closed", false, nil, "", 0},
		{"open", true, nil, strconv.Itoa(mesh.PrometheusPort), 0},
		{"open, with others", true, map[string]string{"a": "b"}, strconv.Itoa(mesh.PrometheusPort), 0},
		{"the application's own", true, own, "9090", 1},
		{"closed, the application's own", false, own, "9090", 0},
	} {
		s := inject.Defaults()
		s.PlaintextMetrics = c.open
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: c.has}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
		out, report := inject.Pod(pod, inject.Namespace{Name: "shop", Joined: true}, s)
		if got := out.Annotations[inject.ScrapePortAnnotation]; got != c.port || report.Outcome != inject.Done || len(report.Warnings) != c.warnings {
			t.Errorf("%s: port %q, %+v", c.name, got, report)
		}
		if c.warnings > 0 && !strings.Contains(report.Warnings[0], inject.ScrapeAnnotation) {
			t.Errorf("%s: %v", c.name, report.Warnings)
		}
		if again, second := inject.Pod(out, inject.Namespace{Name: "shop", Joined: true}, s); second.Outcome != inject.LeftAlone || len(again.Annotations) != len(out.Annotations) {
			t.Errorf("%s, again: %+v", c.name, second)
		}
	}
}
