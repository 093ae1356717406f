package inject

import (
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Settings are what all sidecars of a cluster share. The chart's values and the
// command's flags set them.
type Settings struct {
	// Image is that of the sidecar, of Envoy and of the program that redirects.
	Image string
	// PullPolicy of that image.
	PullPolicy corev1.PullPolicy
	// ControlPlane is the DNS name of the control plane's Service.
	ControlPlane string
	// CPU and Memory are what a sidecar asks for, and MemoryLimit what it may use;
	// empty: nothing is said.
	CPU, Memory, MemoryLimit string
	// LogLevel is Envoy's.
	LogLevel string
}

// Defaults are the settings of a mesh that is installed as the chart stands.
func Defaults() Settings {
	return Settings{
		Image: "wasmesh/sidecar:latest", PullPolicy: corev1.PullIfNotPresent,
		ControlPlane: "wasmesh-controlplane.wasmesh-system.svc",
		CPU:          "20m", Memory: "64Mi", LogLevel: "warning",
	}
}

// Validate returns an error that names what cannot be used.
func (s Settings) Validate() error {
	_, err := s.resources()
	switch {
	case s.Image == "":
		return errors.New("the image of the sidecar is missing")
	case s.ControlPlane == "" || strings.ContainsAny(s.ControlPlane, ":/ "):
		return errors.New("the control plane must be a DNS name, without port")
	}
	return err
}

func (s Settings) resources() (corev1.ResourceRequirements, error) {
	var out corev1.ResourceRequirements
	for _, q := range []struct {
		list *corev1.ResourceList
		name corev1.ResourceName
		text string
	}{
		{&out.Requests, corev1.ResourceCPU, s.CPU},
		{&out.Requests, corev1.ResourceMemory, s.Memory},
		{&out.Limits, corev1.ResourceMemory, s.MemoryLimit},
	} {
		if q.text == "" {
			continue
		}
		amount, err := resource.ParseQuantity(q.text)
		if err != nil {
			return out, errors.New(string(q.name) + " of the sidecar: " + err.Error())
		}
		if *q.list == nil {
			*q.list = corev1.ResourceList{}
		}
		(*q.list)[q.name] = amount
	}
	return out, nil
}
