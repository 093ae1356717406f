package identity_test

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/identity"
)

func TestOwnerReadsBack(t *testing.T) {
	for _, o := range []identity.Owner{
		{"Deployment", "web"}, {"StatefulSet", "db.v1"}, {"DaemonSet", "log"}, {"Job", "once"}, {"Pod", "p"},
		{"Deployment", strings.Repeat("a", 60) + ".bcd"},
	} {
		if back, ok := identity.ParseOwner(o.Subject()); !ok || back != o || !o.Fits() {
			t.Errorf("%+v: %q is read as %+v, %v", o, o.Subject(), back, ok)
		}
	}
}

func TestForeignSubjects(t *testing.T) {
	for _, subject := range []string{
		"", "-", "CN=web", "OU=Deployment,CN=web", "CN=web,OU=Rollout", "CN=,OU=Deployment", "CN=Web,OU=Deployment",
		"CN=web,OU=Deployment,O=x", "CN=a\\,b,OU=Deployment", "CN=" + strings.Repeat("a", 60) + ".bcde,OU=Deployment", "CN=web,OU=deployment",
	} {
		if o, ok := identity.ParseOwner(subject); ok {
			t.Errorf("%q is read as %+v", subject, o)
		}
	}
}

func TestWorkloadOf(t *testing.T) {
	pod, vm := identity.Label{Namespace: "shop", Kind: "pod", Name: "web-6d4-x2"}, identity.Label{Namespace: "shop", Kind: "workload", Name: "vm"}
	for _, c := range []struct {
		label identity.Label
		owner identity.Owner
		want  identity.Workload
	}{
		{pod, identity.Owner{Kind: "Deployment", Name: "web"}, identity.Workload{Namespace: "shop", Kind: "Deployment", Name: "web"}},
		{pod, identity.Owner{}, identity.Workload{Namespace: "shop", Kind: "Pod", Name: "web-6d4-x2"}},
		{vm, identity.Owner{Kind: "Deployment", Name: "web"}, identity.Workload{Namespace: "shop", Kind: "Workload", Name: "vm"}},
		{identity.Label{Namespace: "shop", Kind: "else", Name: "x"}, identity.Owner{}, identity.Unknown()},
	} {
		if got := identity.WorkloadOf(c.label, c.owner); got != c.want {
			t.Errorf("%+v, %+v: got %+v, want %+v", c.label, c.owner, got, c.want)
		}
	}
}
