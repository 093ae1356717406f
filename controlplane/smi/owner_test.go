package smi_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

func TestOwnerOf(t *testing.T) {
	yes := true
	for _, c := range []struct{ kind, owner, hash, want string }{
		{"ReplicaSet", "web-1-6d4", "6d4", "Deployment web-1"},
		{"ReplicaSet", "web", "6d4", "Pod p"}, // somebody's own ReplicaSet
		{"ReplicaSet", "web-", "", "Pod p"},
		{"ReplicaSet", "-6d4", "6d4", "Pod p"},
		{"StatefulSet", "db", "", "StatefulSet db"}, {"DaemonSet", "log", "x", "DaemonSet log"}, {"Job", "once", "", "Job once"},
		{"Rollout", "r", "", "Pod p"}, {"", "", "", "Pod p"},
	} {
		o := metav1.ObjectMeta{Name: "p", Labels: map[string]string{"pod-template-hash": c.hash}}
		if c.kind != "" {
			o.OwnerReferences = []metav1.OwnerReference{{Kind: "Node", Name: "n"}, {Kind: c.kind, Name: c.owner, Controller: &yes}}
		}
		if kind, name := smi.OwnerOf(&o); kind+" "+name != c.want {
			t.Errorf("%+v: got %s %s", c, kind, name)
		}
	}
}
