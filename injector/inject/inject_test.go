package inject

import (
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/controlplane/attest"
	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

func podOf(t testing.TB, metadata, spec string) *corev1.Pod {
	t.Helper()
	p := new(corev1.Pod)
	if err := yaml.UnmarshalStrict([]byte("metadata: {name: web, "+metadata+"}\nspec: {"+spec+"}"), p); err != nil {
		t.Fatal(err)
	}
	return p
}

const app = "containers: [{name: app, image: a}]"

// TestOutcomes: each pod that is not injected says why, beside one that differs
// by one thing only and is injected.
func TestOutcomes(t *testing.T) {
	note := func(key, value string) string { return "annotations: {" + key + `: "` + value + `"}` }
	with := func(fields string) string { return "containers: [{name: app, image: a, " + fields + "}]" }
	for _, c := range []struct {
		metadata, spec string
		want           Outcome
		why            string
	}{
		{"", app, Done, ""},
		{note(Annotation, Enabled), app, Done, ""},
		{note(Annotation, Disabled), app, LeftAlone, "wasmesh.io/inject: disabled"},
		{note(Annotation, "no"), app, Refused, `"no" is neither enabled nor disabled`},
		{"", app + ", hostNetwork: false", Done, ""},
		{"", app + ", hostNetwork: true", LeftAlone, "hostNetwork"},
		{"", app + ", os: {name: linux}", Done, ""},
		{"", app + ", os: {name: windows}", LeftAlone, "Windows"},
		{note(ExcludeInboundPorts, "80, 443"), app, Done, ""},
		{note(ExcludeInboundPorts, "80;443"), app, Refused, ExcludeInboundPorts},
		{note(ExcludeInboundPorts, "65535"), app, Done, ""},
		{note(ExcludeInboundPorts, "65536"), app, Refused, "not a port"},
		{note(ExcludeOutboundPorts, "5432"), app, Done, ""},
		{note(ExcludeOutboundPorts, "0"), app, Refused, ExcludeOutboundPorts},
		{note(ExcludeOutboundCIDRs, "10.0.0.0/8,fd00::/8"), app, Done, ""},
		{note(ExcludeOutboundCIDRs, "10.0.0.1/8"), app, Refused, "did you mean 10.0.0.0/8"},
		{note(ExcludeUIDs, "1000"), app, Done, ""},
		{note(ExcludeUIDs, "root"), app, Refused, ExcludeUIDs},
		{"", app + ", securityContext: {runAsUser: 1000}", Done, ""},
		{"", app + ", securityContext: {runAsUser: 1337}", Refused, "1337 is the sidecar's user"},
		{"", with("securityContext: {runAsUser: 1338}"), Done, ""},
		{"", with("securityContext: {runAsUser: 1337}"), Refused, "container app: securityContext.runAsUser 1337"},
		{"", with("ports: [{containerPort: 15002}]"), Done, ""},
		{"", with("ports: [{containerPort: 15001}]"), Refused, "15001"},
		{"", with("ports: [{containerPort: 15006}]"), Refused, "15006"},
		{"", with("ports: [{containerPort: 15020}]"), Refused, "15020"},
		{"", with("ports: [{containerPort: 15021}]"), Refused, "15021"},
		{"", app + ", initContainers: [{name: wasmesh, image: a}]", Done, ""},
		{"", app + ", initContainers: [{name: wasmesh-sidecar, image: a}]", Refused, "rename"},
		{"", app + ", initContainers: [{name: wasmesh-redirect, image: a}]", Refused, "rename"},
		{"", app + ", volumes: [{name: run, emptyDir: {}}]", Done, ""},
		{"", app + ", volumes: [{name: wasmesh-run, emptyDir: {}}]", Refused, "rename"},
		{"", with("volumeMounts: [{name: wasmesh-run, mountPath: /x}]"), Refused, "the sidecar's own"},
		{"", with("ports: [{name: web, containerPort: 80}], readinessProbe: {httpGet: {port: web}}"), Done, ""},
		{"", with("ports: [{name: web, containerPort: 80}], readinessProbe: {httpGet: {port: wep}}"), Refused, `named "wep"`},
		{"", with("livenessProbe: {tcpSocket: {port: 65535}}"), Done, ""},
		{"", with("livenessProbe: {tcpSocket: {port: 65536}}"), Refused, "65536 is not a port"},
		{"labels: {wasmesh.io/sidecar: injected}", app, Done, ""},
	} {
		before := podOf(t, c.metadata, c.spec)
		given := before.DeepCopy()
		out, r := Pod(given, Namespace{"shop", true}, Defaults())
		if r.Outcome != c.want || !strings.Contains(r.Reason, c.why) || (r.Reason == "") != (c.want == Done) {
			t.Errorf("%s %s: %s because %q, want %s because %q", c.metadata, c.spec, r.Outcome, r.Reason, c.want, c.why)
		}
		if ops, err := Patch(before, given, ""); err != nil || len(ops) > 0 {
			t.Errorf("%s %s: what was given is changed: %v %v", c.metadata, c.spec, ops, err)
		}
		if c.want != Done && out != given {
			t.Errorf("%s %s: another pod comes out", c.metadata, c.spec)
		}
	}
}

// TestNamespaces: only those that opted in, and never those that the mesh needs.
func TestNamespaces(t *testing.T) {
	for ns, want := range map[Namespace]Outcome{
		{"shop", true}: Done, {"shop", false}: LeftAlone, {"kube-system", true}: LeftAlone, {"wasmesh-system", true}: LeftAlone,
	} {
		if _, r := Pod(podOf(t, "", app), ns, Defaults()); r.Outcome != want {
			t.Errorf("%v: %s %s", ns, r.Outcome, r.Reason)
		}
	}
}

// TestLaterContainers: what another webhook adds after us gets its probes taken.
func TestLaterContainers(t *testing.T) {
	out, _ := Pod(podOf(t, "", "containers: [{name: app, image: a, livenessProbe: {tcpSocket: {port: 1}}}]"), Namespace{"shop", true}, Defaults())
	later := out.DeepCopy()
	later.Spec.Containers = append(later.Spec.Containers, podOf(t, "", "containers: [{name: late, image: a, livenessProbe: {tcpSocket: {port: 2}}}]").Spec.Containers...)
	got, r := Pod(later, Namespace{"shop", true}, Defaults())
	if r.Outcome != Done || got.Spec.Containers[1].LivenessProbe.TCPSocket != nil {
		t.Fatalf("%s %s", r.Outcome, r.Reason)
	}
	probes, err := probesOf(&got.Spec.InitContainers[1])
	if err != nil || len(probes) != 2 || probes["/app-probe/late/liveness"].TCP.Port != 2 || !strings.Contains(got.Annotations[ReportAnnotation], "late/liveness") {
		t.Errorf("%v %v %s", probes, err, got.Annotations[ReportAnnotation])
	}
	if len(got.Spec.InitContainers) != 2 || len(got.Spec.Volumes) != 3 {
		t.Errorf("injected twice: %v", got.Spec)
	}
	later.Annotations[ReportAnnotation] = "{"
	if _, r := Pod(later, Namespace{"shop", true}, Defaults()); r.Outcome != Refused || !strings.Contains(r.Reason, "damaged") {
		t.Errorf("a damaged report: %s %s", r.Outcome, r.Reason)
	}
}

// TestNamesAgree: the control plane goes by the same names.
func TestNamesAgree(t *testing.T) {
	for _, pair := range [][2]string{
		{Annotation, smi.InjectLabel}, {Enabled, smi.InjectEnabled}, {Label, smi.SidecarLabel},
		{Injected, smi.SidecarInjected}, {SidecarContainer, attest.SidecarContainer},
		{audience, attest.Audience}, {rootsObject, kube.RootsConfigMap}, {rootsKey, kube.RootsKey},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%q here, %q in the control plane", pair[0], pair[1])
		}
	}
}

// TestChartAgrees: an installation that sets nothing injects as the command does.
func TestChartAgrees(t *testing.T) {
	var values struct {
		SidecarImage struct{ Repository, Tag, Digest, PullPolicy string }
		Sidecar      map[string]any
	}
	var chart struct{ AppVersion string }
	for file, into := range map[string]any{"values.yaml": &values, "Chart.yaml": &chart} {
		text, err := os.ReadFile("../../charts/wasmesh/" + file)
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := Defaults()
	if chart.AppVersion != Release {
		t.Errorf("the chart is for %s, this is %s", chart.AppVersion, Release)
	}
	if got := values.SidecarImage.Repository + ":" + chart.AppVersion; got != s.Image || values.SidecarImage.Tag+values.SidecarImage.Digest != "" {
		t.Errorf("the chart injects %s, the command %s", got, s.Image)
	}
	if values.SidecarImage.PullPolicy != string(s.ImagePullPolicy) {
		t.Errorf("images are pulled otherwise: %+v, %+v", values, s)
	}
	text, err := yaml.Marshal(values.Sidecar)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSettings(text, Settings{Version: s.Version, Image: s.Image, ImagePullPolicy: s.ImagePullPolicy, SystemNamespace: s.SystemNamespace})
	if err != nil || !equality.Semantic.DeepEqual(got, s) {
		t.Errorf("%v: the chart's sidecars are\n%+v, the command's\n%+v", err, got, s)
	}
}

// TestRestricted: what is added fits the Pod Security level "restricted", but for
// the one container with NET_ADMIN. The rules are those of Kubernetes' Pod
// Security Standards.
func TestRestricted(t *testing.T) {
	out, _ := Pod(podOf(t, "", app), Namespace{"shop", true}, Defaults())
	var administrators []string
	for _, c := range out.Spec.InitContainers {
		s := c.SecurityContext
		if *s.AllowPrivilegeEscalation || *s.Privileged || !*s.ReadOnlyRootFilesystem || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
			!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: %+v", c.Name, s)
		}
		if len(s.Capabilities.Add) > 0 || !*s.RunAsNonRoot || *s.RunAsUser == 0 {
			administrators = append(administrators, c.Name)
		}
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				t.Errorf("%s: host port", c.Name)
			}
		}
	}
	if !slices.Equal(administrators, []string{RedirectContainer}) {
		t.Errorf("%v are more than restricted", administrators)
	}
	for _, v := range out.Spec.Volumes {
		if v.ConfigMap == nil && v.EmptyDir == nil && v.Projected == nil {
			t.Errorf("volume %s is of a kind that restricted does not allow", v.Name)
		}
	}
}

// TestDrainFitsTheGracePeriod: the sidecar ends before it is killed, and whoever
// gave the pod less time is told.
func TestDrainFitsTheGracePeriod(t *testing.T) {
	long := Defaults()
	long.DrainSeconds = 60
	for _, c := range []struct {
		spec     string
		settings Settings
		want     string
		warned   bool
	}{
		{app, Defaults(), "5s", false},
		{app + ", terminationGracePeriodSeconds: 7", Defaults(), "5s", false},
		{app + ", terminationGracePeriodSeconds: 6", Defaults(), "4s", true},
		{app + ", terminationGracePeriodSeconds: 0", Defaults(), "0s", true},
		{app + ", terminationGracePeriodSeconds: 600", long, "60s", false},
		{app, long, "28s", true},
	} {
		out, r := Pod(podOf(t, "", c.spec), Namespace{"shop", true}, c.settings)
		args := find(out.Spec.InitContainers, SidecarContainer).Args
		if got := args[slices.Index(args, "--drain-time")+1]; got != c.want || (len(r.Warnings) > 0) != c.warned {
			t.Errorf("%s: %s, want %s; warnings %q", c.spec, got, c.want, r.Warnings)
		}
	}
}

// TestSettings: each that is refused beside one that is taken.
func TestSettings(t *testing.T) {
	for text, why := range map[string]string{
		"": "", "image: a": "", "image: ''": "image is missing", "imag: a": "unknown field", "concurrency: 1": "", "concurrency: 0": "concurrency",
		"drainSeconds: 0": "", "drainSeconds: -1": "negative", "startSeconds: 1": "", "startSeconds: 0": "startSeconds", "[": "settings",
		"systemNamespace: mesh": "", "systemNamespace: ''": "systemNamespace",
		"imagePullPolicy: Always": "", "imagePullPolicy: Sometimes": "imagePullPolicy",
		"resources: {requests: {cpu: 1}, limits: {cpu: 1000m}}": "", "resources: {requests: {cpu: 1}, limits: {cpu: 999m}}": "more than its limit",
	} {
		_, err := ParseSettings([]byte(text), Defaults())
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
	s, err := ParseSettings([]byte("resources: {requests: {cpu: 1}}"), Defaults())
	if err != nil || len(s.Resources.Limits) != 0 || s.Resources.Requests.Cpu().Value() != 1 {
		t.Errorf("%+v %v", s.Resources, err)
	}
}

// TestManifestsOfOtherKinds: lists are gone through; what has no pods stays, byte
// by byte; what is no object is refused.
func TestManifestsOfOtherKinds(t *testing.T) {
	const service = `{"apiVersion":"v1","kind":"Service","spec":{"z":1,"a":2}}`
	const job = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"generateName":"j-"},"spec":{"template":{"spec":{"containers":[{"name":"a"}]}}}}`
	out, told, err := Manifest([]byte(service), "shop", Defaults())
	if err != nil || len(told) != 0 || string(out) != service {
		t.Errorf("%s %v %v", out, told, err)
	}
	out, told, err = Manifest([]byte(`{"apiVersion":"v1","kind":"List","items":[`+service+","+job+`]}`), "shop", Defaults())
	if err != nil || len(told) != 1 || told[0].Object != "Job shop/j-" || told[0].Outcome != Done || !strings.Contains(string(out), service) || !strings.Contains(string(out), SidecarContainer) {
		t.Errorf("%s %v %v", out, told, err)
	}
	for _, kind := range []string{"Deployment", "DaemonSet", "ReplicaSet", "StatefulSet"} {
		text := strings.NewReplacer("batch/v1", "apps/v1", "Job", kind).Replace(job)
		if _, told, err := Manifest([]byte(text), "shop", Defaults()); err != nil || len(told) != 1 || told[0].Outcome != Done {
			t.Errorf("%s: %v %v", kind, told, err)
		}
	}
	for _, bad := range []string{"", "[]", "{}", `{"apiVersion":"v1"}`, `{"apiVersion":"apps/v1","kind":"Deployment"}`,
		`{"apiVersion":"v1","kind":"Pod","spec":{"containers":5}}`, `{"apiVersion":"v1","kind":"List","items":[7]}`} {
		if _, _, err := Manifest([]byte(bad), "shop", Defaults()); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
