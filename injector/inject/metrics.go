package inject

import corev1 "k8s.io/api/core/v1"

// The annotations by which scrape configurations of Prometheus commonly find pods.
const (
	ScrapeAnnotation     = "prometheus.io/scrape"
	ScrapePortAnnotation = "prometheus.io/port"
	ScrapePathAnnotation = "prometheus.io/path"
	// What the control plane has each sidecar open; see controlplane/mesh.
	scrapePort = "15091"
	scrapePath = "/stats/prometheus"
)

// announceMetrics says on the pod where its sidecar's metrics are, unless the
// application's are announced there already: an annotation has room for one.
func announceMetrics(pod *corev1.Pod) (warnings []string) {
	if _, own := pod.Annotations[ScrapeAnnotation]; own {
		return []string{"annotation " + ScrapeAnnotation + " is the application's, and stays: the sidecar's metrics, at port " + scrapePort + ", are not announced"}
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[ScrapeAnnotation] = "true"
	pod.Annotations[ScrapePortAnnotation] = scrapePort
	pod.Annotations[ScrapePathAnnotation] = scrapePath
	return nil
}
