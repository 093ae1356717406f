package inject

import (
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// Settings are what the sidecars of a cluster have in common. The chart writes
// them as YAML, and gives what is not set the same defaults.
type Settings struct {
	// Version of the mesh, for the report.
	Version string `json:"version,omitempty"`
	// Image has the sidecar, Envoy and the program that sets up redirection.
	Image           string            `json:"image"`
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy"`
	// ImagePullSecrets are added to those of the pod.
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`
	// SystemNamespace is where the control plane is; nothing is injected there.
	SystemNamespace string `json:"systemNamespace"`
	// Concurrency is the number of Envoy's worker threads.
	Concurrency int    `json:"concurrency"`
	LogLevel    string `json:"logLevel"`
	// DrainSeconds bounds how long open connections may take to finish when the
	// pod ends. It is part of the pod's grace period.
	DrainSeconds int `json:"drainSeconds"`
	// StartSeconds is how long the sidecar may take until it is ready; after that
	// it is started anew. Applications start after it.
	StartSeconds int `json:"startSeconds"`
	// PlaintextMetrics: the mesh lets everybody read a sidecar's metrics, and the pod
	// says where.
	PlaintextMetrics bool                        `json:"plaintextMetrics"`
	Resources        corev1.ResourceRequirements `json:"resources"`
}

// Release is the version of the mesh and of its chart.
const Release = "0.1.0"

// Defaults are the settings where nothing is said.
func Defaults() Settings {
	return Settings{
		Version: Release, Image: "wasmesh/sidecar:" + Release, ImagePullPolicy: corev1.PullIfNotPresent,
		SystemNamespace: "wasmesh-system", Concurrency: 2, LogLevel: "warning", DrainSeconds: 5, StartSeconds: 300,
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
	}
}

// ParseSettings reads YAML over the given settings. A field that it does not
// know is refused.
func ParseSettings(text []byte, s Settings) (Settings, error) {
	var head map[string]json.RawMessage
	if err := yaml.Unmarshal(text, &head); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	if _, ok := head["resources"]; ok {
		// What is given replaces the whole, so that a limit can be taken away.
		s.Resources = corev1.ResourceRequirements{}
	}
	if err := yaml.UnmarshalStrict(text, &s); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	return s, s.Check()
}

// Check refuses settings with which no sidecar would start.
func (s Settings) Check() error {
	switch {
	case s.Image == "":
		return errors.New("settings: image is missing")
	case s.SystemNamespace == "":
		return errors.New("settings: systemNamespace is missing")
	case s.Concurrency < 1:
		return fmt.Errorf("settings: concurrency %d: at least one worker is needed", s.Concurrency)
	case s.DrainSeconds < 0:
		return fmt.Errorf("settings: drainSeconds %d is negative", s.DrainSeconds)
	case s.StartSeconds < 1:
		return fmt.Errorf("settings: startSeconds %d: the sidecar needs at least a second", s.StartSeconds)
	}
	switch s.ImagePullPolicy {
	case "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		return fmt.Errorf("settings: imagePullPolicy %q is none; choose Always, IfNotPresent or Never", s.ImagePullPolicy)
	}
	return s.checkResources()
}

// checkResources refuses what an API server would refuse of every pod.
func (s Settings) checkResources() error {
	for name, request := range s.Resources.Requests {
		if limit, ok := s.Resources.Limits[name]; ok && request.Cmp(limit) > 0 {
			return fmt.Errorf("settings: resources: the request of %s, %s, is more than its limit, %s", name, &request, &limit)
		}
	}
	return nil
}
