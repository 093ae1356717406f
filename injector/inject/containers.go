package inject

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/wasmesh/wasmesh/injector/redirect"
)

const (
	tokenFolder = "/var/run/secrets/wasmesh"
	rootsFolder = "/var/run/wasmesh/roots"
	runFolder   = "/run/wasmesh"
	// audience is whom the sidecar's token is for.
	audience = "wasmesh.io"
	// rootsObject is a ConfigMap of every namespace that opted in.
	rootsObject = "wasmesh-roots"
	rootsKey    = "roots.pem"
	// tokenSeconds is the token's life; the kubelet renews it.
	tokenSeconds = 3600
	// podAddress names the variable that has the pod's address.
	podAddress = "POD_IP"
)

// redirectContainer sets the rules up and ends. It is root because the kernel
// gives a capability to nobody else, and has that one only.
func redirectContainer(s Settings, exclusions []string) corev1.Container {
	args := []string{
		"--inbound-port", strconv.Itoa(redirect.InboundPort), "--outbound-port", strconv.Itoa(redirect.OutboundPort),
		"--proxy-uid", strconv.Itoa(redirect.ProxyUID),
	}
	security := restricted(0)
	security.RunAsNonRoot = new(false)
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	few := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}
	return corev1.Container{
		Name: RedirectContainer, Image: s.Image, ImagePullPolicy: s.ImagePullPolicy,
		Command: []string{"wasmesh-redirect"}, Args: append(args, exclusions...),
		SecurityContext: security,
		Resources:       corev1.ResourceRequirements{Requests: few, Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}},
	}
}

// sidecarContainer runs as long as the pod: what follows it starts when it is
// ready, and ends before it.
func sidecarContainer(s Settings, probes Probes) (corev1.Container, error) {
	host := "wasmesh-controlplane." + s.SystemNamespace + ".svc"
	always := corev1.ContainerRestartPolicyAlways
	c := corev1.Container{
		Name: SidecarContainer, Image: s.Image, ImagePullPolicy: s.ImagePullPolicy, RestartPolicy: &always,
		Command: []string{"wasmesh-sidecar"},
		Args: []string{
			"--join-url", "https://" + host + ":15012", "--xds", host + ":15010", "--registry", host + ":15013",
			"--token-file", tokenFolder + "/token", "--roots-file", rootsFolder + "/" + rootsKey,
			"--state", runFolder + "/state", "--run", runFolder + "/run", "--envoy", "/usr/local/bin/envoy",
			"--health", ":" + strconv.Itoa(redirect.HealthPort), "--probes", ":" + strconv.Itoa(redirect.ProbesPort),
			"--concurrency", strconv.Itoa(s.Concurrency), "--log-level", s.LogLevel,
			"--drain-time", fmt.Sprintf("%ds", s.DrainSeconds),
		},
		Env: []corev1.EnvVar{{Name: podAddress, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIP"}}}},
		StartupProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(redirect.HealthPort)}},
			PeriodSeconds: 1, TimeoutSeconds: 3, FailureThreshold: int32(s.StartSeconds),
		},
		Resources:       *s.Resources.DeepCopy(),
		SecurityContext: restricted(redirect.ProxyUID),
		VolumeMounts: []corev1.VolumeMount{
			{Name: TokenVolume, MountPath: tokenFolder, ReadOnly: true},
			{Name: RootsVolume, MountPath: rootsFolder, ReadOnly: true},
			{Name: RunVolume, MountPath: runFolder},
		},
	}
	return c, setProbes(&c, probes)
}

// longestDrain is what a pod's grace period leaves to open connections, in
// seconds: the sidecar is to end by itself, and not to be killed amid them.
func longestDrain(pod *corev1.Pod) int {
	const (
		usual = 30 // Kubernetes' own
		end   = 2  // that Envoy needs
	)
	grace := int64(usual)
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	return int(max(0, grace-end))
}

// restricted fits the Pod Security level of that name, unless the user is root.
func restricted(user int64) *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsUser: &user, RunAsGroup: &user, RunAsNonRoot: new(true),
		AllowPrivilegeEscalation: new(false), Privileged: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// volumeNames are those of volumes.
func volumeNames() []string { return []string{TokenVolume, RootsVolume, RunVolume} }

func volumes() []corev1.Volume {
	return []corev1.Volume{
		{Name: TokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: audience, ExpirationSeconds: new(int64(tokenSeconds)), Path: "token",
			}}},
		}}},
		{Name: RootsVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: rootsObject},
		}}},
		// In memory, for the key never touches a disk.
		{Name: RunVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(128<<20, resource.BinarySI),
		}}},
	}
}
