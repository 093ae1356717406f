package ca

import (
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const labelSuffix = ".peer.wasmesh.internal"

func TestLabel(t *testing.T) {
	for _, c := range []struct{ namespace, name, kind, want string }{
		{"shop", "buyer", "workload", "buyer.workload.shop" + labelSuffix},
		{"shop", "a.b.c", "pod", "a.b.c.pod.shop" + labelSuffix},
		{"shop", "workload.shop", "workload", "workload.shop.workload.shop" + labelSuffix},
		{"shop", "", "workload", ""},
		{"shop", ".a", "workload", ""},
		{"shop", "a..b", "workload", ""},
		{"shop", "a*", "workload", ""},
		{"shop", "a|b", "workload", ""},
		{"shop", "-a", "workload", ""},
		{"sh.op", "a", "workload", ""},
		{"shop", "a", "", ""},
		{"shop", strings.Repeat("a", 63), "workload", strings.Repeat("a", 63) + ".workload.shop" + labelSuffix},
		{"shop", strings.Repeat("a", 64), "workload", ""},
		{"shop", strings.Repeat("a.", 110) + "a", "workload", ""},
	} {
		workload := mesh.Name{Namespace: c.namespace, Name: c.name}
		got, err := Label(workload, c.kind)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v %q: got %q, %v; want %q", workload, c.kind, got, err, c.want)
		}
		if err != nil {
			continue
		}
		if w, k, ok := ParseLabel(got); !ok || w != workload || k != c.kind {
			t.Errorf("%q reads back as %v %q %v", got, w, k, ok)
		}
	}
}

func TestNotALabel(t *testing.T) {
	for _, s := range []string{"", labelSuffix, "a.b" + labelSuffix, "a.b.c", "a.b.c.peer.wasmesh.internal.", "A.b.c" + labelSuffix,
		".a.b.c" + labelSuffix, "a.b.c" + labelSuffix + ".evil", "a.b.c.peerXwasmesh.internal"} {
		if w, k, ok := ParseLabel(s); ok {
			t.Errorf("%q reads as %v %q", s, w, k)
		}
	}
}
