package inject

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// TestHalfInjected: what claims to have a sidecar and has not all of it is
// refused; each case takes one thing away from a pod that is left alone.
func TestHalfInjected(t *testing.T) {
	ns := Namespace{"shop", true}
	whole, _ := Pod(podOf(t, "", app), ns, Defaults())
	if _, r := Pod(whole.DeepCopy(), ns, Defaults()); r.Outcome != LeftAlone {
		t.Fatalf("the whole one: %s %s", r.Outcome, r.Reason)
	}
	sidecar := func(p *corev1.Pod) *corev1.Container { return find(p.Spec.InitContainers, SidecarContainer) }
	for why, change := range map[string]func(*corev1.Pod){
		"no container wasmesh-redirect": func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[1:] },
		"is before wasmesh-sidecar": func(p *corev1.Pod) {
			c := p.Spec.InitContainers
			c[0], c[1] = c[1], c[0]
		},
		"restartPolicy":         func(p *corev1.Pod) { sidecar(p).RestartPolicy = nil },
		"user 1337":             func(p *corev1.Pod) { sidecar(p).SecurityContext = nil },
		"volume wasmesh-token":  func(p *corev1.Pod) { p.Spec.Volumes = p.Spec.Volumes[1:] },
		"volume wasmesh-run or": func(p *corev1.Pod) { sidecar(p).VolumeMounts = sidecar(p).VolumeMounts[:2] },
		"securityContext.runAsUser 1337": func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(1337))}
		},
		"port 15006": func(p *corev1.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 15006}} },
		"the sidecar's own": func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: TokenVolume, MountPath: "/x"}}
		},
		"is damaged": func(p *corev1.Pod) { p.Annotations[ReportAnnotation] = "{" },
	} {
		broken := whole.DeepCopy()
		change(broken)
		if out, r := Pod(broken, ns, Defaults()); r.Outcome != Refused || !strings.Contains(r.Reason, why) || out != broken {
			t.Errorf("want %q: %s %s", why, r.Outcome, r.Reason)
		}
	}
	other := whole.DeepCopy() // an image from elsewhere is nobody's harm
	sidecar(other).Image = "mirror.example.com/sidecar:1"
	if _, r := Pod(other, ns, Defaults()); r.Outcome != LeftAlone {
		t.Errorf("another image: %s %s", r.Outcome, r.Reason)
	}
}

// FuzzPod: whatever a pod is, it comes out whole or as it was, with a reason; the
// patch makes of the one the other; a second time changes nothing; and nothing of
// the user's own is another but the probes.
func FuzzPod(f *testing.F) {
	for _, spec := range []string{app, app + ", hostNetwork: true", app + ", volumes: [{name: run, emptyDir: {}}], initContainers: [{name: i, image: a}]",
		"containers: [{name: app, image: a, ports: [{name: web, containerPort: 80}], readinessProbe: {httpGet: {port: web}}, livenessProbe: {grpc: {port: 2}}, lifecycle: {preStop: {httpGet: {port: 3}}}}]"} {
		given := podOf(f, `labels: {a: b}, annotations: {wasmesh.io/exclude-uids: "1000"}`, spec)
		f.Add(asJSON(f, given))
		out, _ := Pod(given, Namespace{"shop", true}, Defaults())
		out.Spec.Containers = append(out.Spec.Containers, corev1.Container{Name: "late"})
		f.Add(asJSON(f, out))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		given := new(corev1.Pod)
		if json.Unmarshal(text, given) == nil {
			putIn(t, given)
		}
	})
}

func putIn(t *testing.T, given *corev1.Pod) {
	before, ns := given.DeepCopy(), Namespace{"shop", true}
	out, r := Pod(given, ns, Defaults())
	if !equality.Semantic.DeepEqual(before, given) {
		t.Fatal("what was given is changed")
	}
	if r.Outcome != Done {
		if out != given || r.Reason == "" {
			t.Fatalf("%s because %q", r.Outcome, r.Reason)
		}
		return
	}
	ops, err := Patch(given, out, "")
	if err != nil {
		t.Fatal(err)
	}
	patched, err := Apply(asJSON(t, given), ops)
	if err != nil {
		t.Fatal(err)
	}
	read := new(corev1.Pod)
	if err := json.Unmarshal(patched, read); err != nil || !equality.Semantic.DeepEqual(read, out) {
		t.Fatalf("the patch makes another pod: %v\n%s", err, patched)
	}
	if _, r := Pod(read, ns, Defaults()); r.Outcome != LeftAlone {
		t.Fatalf("a second time: %s %s", r.Outcome, r.Reason)
	}
	if was, is := theirs(before), theirs(out); !equality.Semantic.DeepEqual(was, is) {
		t.Fatalf("the user's own is another:\n%s\n%s", asJSON(t, was), asJSON(t, is))
	}
}

// theirs is what a pod has that is not the mesh's to write.
func theirs(pod *corev1.Pod) *corev1.Pod {
	p := pod.DeepCopy()
	delete(p.Labels, Label)
	delete(p.Annotations, ReportAnnotation)
	var init []corev1.Container
	for _, c := range p.Spec.InitContainers {
		if c.Name != SidecarContainer && c.Name != RedirectContainer {
			init = append(init, c)
		}
	}
	p.Spec.InitContainers = init
	var own []corev1.Volume
	for _, v := range p.Spec.Volumes {
		if v.Name != TokenVolume && v.Name != RootsVolume && v.Name != RunVolume {
			own = append(own, v)
		}
	}
	p.Spec.Volumes = own
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			for _, h := range handlers(&list[i]) {
				*h.http, *h.tcp, *h.grpc = nil, nil, nil
			}
		}
	}
	return p
}

func asJSON(t testing.TB, pod *corev1.Pod) []byte {
	t.Helper()
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
