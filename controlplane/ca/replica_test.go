package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Replicas take each other, and neither a workload nor another mesh's replica.
func TestReplicaTLS(t *testing.T) {
	a, _ := open(t)
	stranger, _ := open(t)
	server, client, err := a.ReplicaTLS()
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := stranger.ReplicaTLS()
	if err != nil {
		t.Fatal(err)
	}
	foreign.VerifyConnection = nil // it would take anybody
	workload := client.Clone()
	workload.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return workloadPair(t, a), nil
	}
	serving, err := a.ServerTLS(nil)
	if err != nil {
		t.Fatal(err)
	}
	impostor, _, err := stranger.ReplicaTLS()
	if err != nil {
		t.Fatal(err)
	}
	impostor.ClientAuth, impostor.VerifyConnection, impostor.GetConfigForClient = tls.NoClientCert, nil, nil
	onlyServing := client.Clone()
	onlyServing.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return serving.GetCertificate(nil) }
	for name, c := range map[string]struct {
		server, client *tls.Config
		fine           bool
	}{
		"a replica":                     {server, client, true},
		"another mesh's replica":        {server, foreign, false},
		"a workload":                    {server, workload, false},
		"a leaf for serving alone":      {server, onlyServing, false},
		"nobody":                        {server, &tls.Config{InsecureSkipVerify: true}, false},
		"a server of another mesh":      {impostor, client, false},
		"a server that shows a replica": {serving, client, true},
	} {
		if err := shake(c.server, c.client); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
	members, err := a.MutualTLS(nil)
	if err != nil {
		t.Fatal(err)
	}
	if shake(members, client) == nil {
		t.Error("a replica was taken for a member")
	}
}

// workloadPair is the leaf of a workload, with its key.
func workloadPair(t *testing.T, a *Authority) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := mesh.Name{Namespace: "shop", Name: "buyer"}
	leaf, err := a.Issue(key.Public(), Identity{ServiceAccount: name, Workload: name, Kind: KindWorkload}, 0)
	if err != nil {
		t.Fatal(err)
	}
	pair := &tls.Certificate{PrivateKey: key}
	for block, rest := pem.Decode(leaf.Chain); block != nil; block, rest = pem.Decode(rest) {
		pair.Certificate = append(pair.Certificate, block.Bytes)
	}
	if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	return pair
}

// shake has the two shake hands, and the server say one byte.
func shake(server, client *tls.Config) error {
	a, b := net.Pipe()
	defer a.Close()
	said := make(chan error, 1)
	go func() {
		s := tls.Server(b, server)
		_, err := s.Write([]byte{1})
		said <- errors.Join(err, b.Close())
	}()
	c := tls.Client(a, client)
	_, err := c.Read(make([]byte, 1))
	a.Close()
	return errors.Join(err, <-said)
}
