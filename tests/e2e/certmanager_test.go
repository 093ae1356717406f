package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// renewTimeout is for a file to reach a pod, for the control plane to look at it,
// and for the sidecars to ask.
const renewTimeout = time.Minute

// certManager runs cert-manager for the namespace of the mesh.
const certManager = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: cert-manager}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cert-manager}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: cert-manager, namespace: cert-manager}]
---
apiVersion: v1
kind: Pod
metadata: {name: cert-manager, labels: {app: cert-manager}}
spec:
  serviceAccountName: cert-manager
  containers: [{name: app, image: cert-manager, args: [--namespace, wasmesh-system]}]
`

// issuers are a root that nobody in the mesh has the key of, and the intermediate
// that it issues for the mesh, as docs/kubernetes.md has them.
const issuers = `
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self-signed, namespace: wasmesh-system}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: wasmesh-system}
spec:
  isCA: true
  commonName: the root of wasmesh.local
  secretName: root
  duration: 87600h
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: self-signed}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: wasmesh-system}
spec: {ca: {secretName: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: authority, namespace: wasmesh-system}
spec:
  isCA: true
  commonName: wasmesh
  uris: ["spiffe://wasmesh.local"]
  usages: [cert sign, crl sign]
  secretName: authority
  duration: 720h
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  issuerRef: {name: root}
`

// startCertManager runs cert-manager, without waiting for it.
func startCertManager(t *testing.T) {
	t.Helper()
	ns := namespace(t, "cert-manager", nil)
	kubectl(t, "create", "-f", kube.Tools.CertManagerCRDs)
	t.Cleanup(func() {
		if out, err := kube.Kubectl(context.WithoutCancel(t.Context()), "", "delete", "-f", kube.Tools.CertManagerCRDs); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	apply(t, ns, certManager)
	applyAll(t, issuers)
}

// adopt: a mesh that had a root of its own goes over to an intermediate that
// cert-manager issued, and to the next one, key and all, when cert-manager renews
// it. Who runs the stream of calls counts what fails.
func adopt(t *testing.T, ns string) {
	pods := append(ready(t, ns, "server", 2), ready(t, ns, "client", 1)...)
	before, company := rootOf(t), signer(t, "root", "tls.crt", "tls.key")
	upgrade := func(setting, value string) {
		t.Helper()
		began := time.Now()
		helm(t, "upgrade", "wasmesh", chart, "--reuse-values", setting, value)
		t.Logf("%s after %v", value, time.Since(began).Round(10*time.Millisecond))
	}
	upgrade("--set-file", "mesh.alsoTrust="+pemFile(t, before, company))
	accepted(t, pods, company.leaf(t, ns))
	upgrade("--set", "mesh.authoritySecret=authority")
	first, replicas := shownBy(t, pods), replicasOf(t, "wasmesh-controlplane")
	accepted(t, pods, before.leaf(t, ns))

	renew(t)
	apply(t, ns, newcomer("during-renewal"))
	await(t, "another intermediate", settleTimeout, func() error {
		now, err := issued(t)
		if err == nil && now.Equal(first) {
			err = errors.New("it is the same")
		}
		return err
	})
	expect(t, "200", ready(t, ns, "during-renewal", 1)[0], "http://server/")
	if second := shownBy(t, pods); bytes.Equal(second.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
		t.Error("the intermediate has the key of the one before")
	}
	for i, now := range replicasOf(t, "wasmesh-controlplane") {
		if now.UID != replicas[i].UID || now.Status.ContainerStatuses[0].RestartCount > 0 {
			t.Errorf("%s was restarted", replicas[i].Name)
		}
	}
}

// fromTheFirstDay: a mesh that is installed with an intermediate never has a root of
// its own.
func fromTheFirstDay(t *testing.T, ns string) {
	uninstall(t)
	helm(t, "install", "wasmesh", chart, "--set", "mesh.authoritySecret=authority", "--set", "mesh.leafLifetime="+leafLife.String())
	kubectl(t, "delete", "pod", "--all", "-n", ns)
	apply(t, ns, callers(ns)) // policies went with their kinds
	client := ready(t, ns, "client", 1)
	shownBy(t, append(ready(t, ns, "server", 2), client...))
	expect(t, "200", client[0], "http://server/")
	own, err := kube.Client.CoreV1().Secrets(system).Get(t.Context(), "wasmesh-ca", metav1.GetOptions{})
	if err != nil || len(own.Data) > 0 {
		t.Errorf("the mesh has made an authority of its own: %d entries, %v", len(own.Data), err)
	}
}

// pemFile is a file of the certificates of authorities.
func pemFile(t *testing.T, all ...authority) string {
	t.Helper()
	var text []byte
	for _, a := range all {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})...)
	}
	path := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// accepted waits until every pod accepts a caller.
func accepted(t *testing.T, pods []corev1.Pod, caller bearer) {
	t.Helper()
	for _, p := range pods {
		await(t, p.Name+" accepts a certificate of the other root", renewTimeout, func() error { return caller.call(p) })
	}
}

// issued is the intermediate that cert-manager has issued.
func issued(t *testing.T) (*x509.Certificate, error) {
	secret, err := kube.Client.CoreV1().Secrets(system).Get(t.Context(), "authority", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(secret.Data["tls.crt"])
	if block == nil {
		return nil, errors.New("the Secret has no certificate yet")
	}
	return x509.ParseCertificate(block.Bytes)
}

// renew does what `cmctl renew` does.
func renew(t *testing.T) {
	t.Helper()
	condition := fmt.Sprintf(`[{"op":"add","path":"/status/conditions/-","value":{"type":"Issuing","status":"True","reason":"ManuallyTriggered","message":"renew","lastTransitionTime":%q}}]`, time.Now().UTC().Format(time.RFC3339))
	err := kube.Client.RESTClient().Patch(types.JSONPatchType).AbsPath("/apis/cert-manager.io/v1/namespaces/" + system + "/certificates/authority/status").
		Body([]byte(condition)).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
}

// shownBy waits until every pod shows a chain over the intermediate of the moment
// to the root of cert-manager, and returns the intermediate.
func shownBy(t *testing.T, pods []corev1.Pod) (intermediate *x509.Certificate) {
	t.Helper()
	secret, err := kube.Client.CoreV1().Secrets(system).Get(t.Context(), "root", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secret.Data["tls.crt"])
	began := time.Now()
	await(t, "the pods have certificates of the intermediate", renewTimeout, func() error {
		if intermediate, err = issued(t); err != nil {
			return err
		}
		for _, p := range pods {
			// The server shows itself before it hears that we have no certificate.
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", net.JoinHostPort(p.Status.PodIP, "8080"),
				&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"wasmesh"}})
			if err != nil {
				return err
			}
			chain := conn.ConnectionState().PeerCertificates
			_ = conn.Close()
			if len(chain) != 2 || !chain[1].Equal(intermediate) {
				return fmt.Errorf("%s shows %d certificates, not those of the intermediate", p.Name, len(chain))
			}
			between := x509.NewCertPool()
			between.AddCert(chain[1])
			if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
				return err
			}
		}
		return nil
	})
	figures.Tell(t, "every pod has a certificate of %x after %v", intermediate.SerialNumber, time.Since(began).Round(10*time.Millisecond))
	return intermediate
}
