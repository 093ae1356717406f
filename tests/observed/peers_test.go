package observed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/identity"
	"github.com/wasmesh/wasmesh/tests/rig"
)

// TestPeers: a line names a caller as the metrics do, whatever its certificate says:
// the expressions that the sidecar evaluates are held against package identity.
func TestPeers(t *testing.T) {
	n := start(t, func(o *rig.Options) { o.AccessLog = 100 }, store)
	authority, err := ca.Open(n.StateFolder(), ca.Options{TrustDomain: trustDomain})
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []ca.Identity{
		{Workload: mesh.Name{Namespace: "shop", Name: "buyer-5d4f-x2"}, Kind: ca.KindPod, Owner: identity.Owner{Kind: "Deployment", Name: "buyer"}},
		{Workload: mesh.Name{Namespace: "shop", Name: "buyer-0"}, Kind: ca.KindPod, Owner: identity.Owner{Kind: "StatefulSet", Name: "buyer.with.dots"}},
		{Workload: mesh.Name{Namespace: "shop", Name: "x.pod.bank"}, Kind: ca.KindPod, Owner: identity.Owner{Kind: "Pod", Name: "x.pod.bank"}},
		{Workload: mesh.Name{Namespace: "shop", Name: "x.workload.bank.peer"}, Kind: ca.KindPod},
		{Workload: mesh.Name{Namespace: "shop", Name: "alone"}, Kind: ca.KindPod},
		{Workload: mesh.Name{Namespace: "shop", Name: "pod.pod"}, Kind: ca.KindWorkload, Owner: identity.Owner{Kind: "Job", Name: "not-mine"}},
	} {
		who.ServiceAccount = buyer
		certificate := certify(t, authority, who)
		before := len(n.read(t, store))
		if status := callAs(t, certificate); status != http.StatusOK {
			t.Fatalf("%v: %d", who, status)
		}
		label := identity.Label{Namespace: who.Workload.Namespace, Kind: who.Kind, Name: who.Workload.Name}
		want := identity.WorkloadOf(label, who.Owner)
		holds(t, n.logged(t, store, before+1)[before], entry{
			"source_namespace": want.Namespace, "source_kind": want.Kind, "source_name": want.Name, "source_pod": label.Name,
			"source_identity": "spiffe://observed.test/ns/shop/sa/buyer", "verdict": "allow",
		})
	}
}

// certify is what a sidecar does when it joins.
func certify(t *testing.T, authority *ca.Authority, who ca.Identity) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Issue(key.Public(), who, 0)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(leaf.Chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// callAs calls the store's sidecar as another sidecar would.
func callAs(t *testing.T, certificate tls.Certificate) int {
	t.Helper()
	// The mesh has a name of its own for HTTP/2 over TLS, so the client must not look.
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{"wasmesh"}, Certificates: []tls.Certificate{certificate},
		}}).DialContext(ctx, network, "127.51.0.2:14101")
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: answerLimit}).Get("http://store/open")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
