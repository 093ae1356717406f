package sidecar

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/identity"
)

// TestOwnEnvironment: what Envoy is told of its workload is what others read in its
// certificate.
func TestOwnEnvironment(t *testing.T) {
	authority, err := ca.Open(filepath.Join(t.TempDir(), "ca"), ca.Options{TrustDomain: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		pod, kind string
		owner     identity.Owner
		want      string
	}{
		{"buyer-5d4f-x2", ca.KindPod, identity.Owner{Kind: "Deployment", Name: "buyer"}, "shop Deployment buyer buyer-5d4f-x2 " +
			"service.name=buyer,service.namespace=shop,service.instance.id=buyer-5d4f-x2,k8s.namespace.name=shop,k8s.pod.name=buyer-5d4f-x2,k8s.deployment.name=buyer"},
		{"alone", ca.KindPod, identity.Owner{}, "shop Pod alone alone " +
			"service.name=alone,service.namespace=shop,service.instance.id=alone,k8s.namespace.name=shop,k8s.pod.name=alone"},
		{"buyer", ca.KindWorkload, identity.Owner{}, "shop Workload buyer buyer service.name=buyer,service.namespace=shop,service.instance.id=buyer"},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		who := mesh.Name{Namespace: "shop", Name: tt.pod}
		leaf, err := authority.Issue(key.Public(), ca.Identity{ServiceAccount: who, Workload: who, Kind: tt.kind, Owner: tt.owner}, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ownEnvironment(leaf.Chain)
		if err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, v := range got {
			_, value, _ := strings.Cut(v, "=")
			values = append(values, value)
		}
		if strings.Join(values, " ") != tt.want {
			t.Errorf("%q, want %q", values, tt.want)
		}
		if slices.ContainsFunc(withoutSecrets(got), func(v string) bool { return strings.HasPrefix(v, "WASMESH_") }) {
			t.Error("what is passed down would be taken from a parent")
		}
	}
	for _, bad := range []string{"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if got, err := ownEnvironment([]byte(bad)); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}
