package inject

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

// The containers and volumes of the mesh in a pod.
const (
	RedirectContainer = "wasmesh-redirect"
	SidecarContainer  = "wasmesh-sidecar"

	tokenVolume = "wasmesh-token"
	rootsVolume = "wasmesh-roots"
	runVolume   = "wasmesh-run"

	tokenFolder = "/var/run/secrets/wasmesh"
	rootsFolder = "/var/run/wasmesh/roots"
	runFolder   = "/run/wasmesh"

	// Audience is whom the pod's token is for; nobody else takes it.
	Audience = "wasmesh.io"
	// RootsConfigMap holds the roots of the mesh in each opted-in namespace.
	RootsConfigMap = "wasmesh-roots"
	rootsKey       = "roots.pem"
	// tokenLifetime in seconds; the node renews a token long before its end.
	tokenLifetime = 3600
	// startTime in seconds is how long a sidecar may wait for the control plane
	// before it is started anew.
	startTime = 600
)

// redirection is the container that sets up the pod's network and ends: the only
// one with a capability.
func redirection(s Settings, e exclusions) corev1.Container {
	args := []string{
		"--inbound-port=" + strconv.Itoa(redirect.InboundPort),
		"--outbound-port=" + strconv.Itoa(redirect.OutboundPort),
		"--proxy-uid=" + strconv.Itoa(redirect.ProxyUID),
	}
	security := restricted()
	security.RunAsUser, security.RunAsGroup, security.RunAsNonRoot = new(int64), new(int64), new(bool)
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	return corev1.Container{
		Name: RedirectContainer, Image: s.Image, ImagePullPolicy: s.PullPolicy,
		Command: []string{"wasmesh-redirect"}, Args: append(args, e.args()...), SecurityContext: security,
	}
}

// sidecarOf is the container that runs as long as the pod: Kubernetes starts it
// before, and ends it after the application's.
func sidecarOf(s Settings, probes appProbes) (corev1.Container, error) {
	resources, err := s.resources()
	if err != nil {
		return corev1.Container{}, err
	}
	original, err := encode(probes)
	if err != nil {
		return corev1.Container{}, err
	}
	always := corev1.ContainerRestartPolicyAlways
	ready := &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(redirect.HealthPort)}
	return corev1.Container{
		Name: SidecarContainer, Image: s.Image, ImagePullPolicy: s.PullPolicy, RestartPolicy: &always,
		Command: []string{"wasmesh-sidecar"},
		Args: []string{
			"--join-url=https://" + s.ControlPlane + ":15012", "--xds=" + s.ControlPlane + ":15010", "--registry=" + s.ControlPlane + ":15013",
			"--token-file=" + tokenFolder + "/token", "--roots-file=" + rootsFolder + "/" + rootsKey,
			"--state=" + runFolder + "/state", "--run=" + runFolder + "/run", "--envoy=/usr/local/bin/envoy", "--log-level=" + s.LogLevel,
			"--health=:" + strconv.Itoa(redirect.HealthPort), "--probes=:" + strconv.Itoa(redirect.ProbesPort), probesFlag + original,
		},
		Env: []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIP"}}}},
		VolumeMounts: []corev1.VolumeMount{
			{Name: tokenVolume, MountPath: tokenFolder, ReadOnly: true},
			{Name: rootsVolume, MountPath: rootsFolder, ReadOnly: true},
			{Name: runVolume, MountPath: runFolder},
		},
		StartupProbe:    &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: ready}, PeriodSeconds: 1, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: startTime},
		ReadinessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: ready}, PeriodSeconds: 5, TimeoutSeconds: 3, SuccessThreshold: 1, FailureThreshold: 2},
		Resources:       resources,
		SecurityContext: unprivileged(),
	}, nil
}

// restricted is what Pod Security's level of that name asks of a container.
func restricted() *corev1.SecurityContext {
	yes, no := true, false
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, Privileged: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// unprivileged runs as the user whose connections are not redirected.
func unprivileged() *corev1.SecurityContext {
	yes, uid := true, int64(redirect.ProxyUID)
	security := restricted()
	security.RunAsNonRoot, security.RunAsUser, security.RunAsGroup = &yes, &uid, &uid
	return security
}

// volumes are what the sidecar reads and where it writes: memory, as its key must
// not touch a disk.
func volumes() []corev1.Volume {
	lifetime := int64(tokenLifetime)
	return []corev1.Volume{
		{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: Audience, ExpirationSeconds: &lifetime, Path: "token"},
		}}}}},
		{Name: rootsVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: RootsConfigMap},
		}}},
		{Name: runVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
	}
}
