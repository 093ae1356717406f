package e2e

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// rotation replaces the root of the mesh as an operator does, each step at another
// replica, while a pod starts. Who runs the streams of calls counts what fails.
func rotation(t *testing.T, ns string) {
	before := rootOf(t)
	old := before.leaf(t, ns)
	target := ready(t, ns, "server", 2)[0]
	if err := old.call(target); err != nil {
		t.Fatalf("a certificate of the root is refused, before the rotation: %v", err)
	}
	replicas := replicasOf(t, "wasmesh-controlplane")
	began := time.Now()
	for i, step := range []string{"start", "switch", "finish"} {
		name := "during-" + step
		apply(t, ns, newcomer(name))
		stepped := time.Now()
		rotate(t, replicas[i%len(replicas)], step, "--wait", "60s")
		figures.Tell(t, "%s after %v", step, time.Since(stepped).Round(10*time.Millisecond))
		expect(t, "200", ready(t, ns, name, 1)[0], "http://server/")
		trusted := map[string]int{"start": 2, "switch": 2, "finish": 1}[step]
		agree(t, replicas, trusted)
		if step != "finish" {
			if err := old.call(target); err != nil {
				t.Errorf("after %s the old root is refused: %v", step, err)
			}
		}
	}
	figures.Tell(t, "three steps in %v", time.Since(began).Round(100*time.Millisecond))
	after := rootOf(t)
	if after.root.Equal(before.root) {
		t.Fatal("the root is the same")
	}
	fresh := after.leaf(t, ns)
	for _, p := range ready(t, ns, "server", 2) {
		await(t, p.Name+" refuses a certificate of the old root", leafLife, func() error {
			if old.call(p) == nil {
				return errors.New("it is accepted")
			}
			return nil
		})
		if err := fresh.call(p); err != nil {
			t.Errorf("%s, a certificate of the new root, made in the same way: %v", p.Name, err)
		}
	}
}

// rotate makes a step, or asks how far it is, in the pod of a replica: what
// `kubectl exec` does.
func rotate(t *testing.T, replica corev1.Pod, args ...string) string {
	t.Helper()
	code, out, err := node(&replica).Exec(t.Context(), &replica, "controlplane",
		append([]string{"wasmesh", "ca", "rotate", "--status", "/run/wasmesh/status.sock"}, args...)...)
	if err != nil || code != 0 {
		t.Fatalf("wasmesh ca rotate %v at %s: exit code %d, %v\n%s", args, replica.Name, code, err, out)
	}
	return out
}

// agree waits until all replicas, and the ConfigMaps from which new pods start in each
// namespace, name so many roots, and the same.
func agree(t *testing.T, replicas []corev1.Pod, roots int) {
	t.Helper()
	await(t, fmt.Sprintf("%d roots everywhere", roots), settleTimeout, func() error {
		told := map[string]bool{}
		for _, r := range replicas {
			out := rotate(t, r, "status")
			if n := strings.Count(out, "\ntrusted "); n != roots {
				return fmt.Errorf("%s trusts %d", r.Name, n)
			}
			told[out[strings.Index(out, "signer "):strings.LastIndex(out, "\ntrusted ")]] = true
		}
		if len(told) != 1 {
			return fmt.Errorf("the replicas say %v", told)
		}
		maps, err := kube.Client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=wasmesh-roots"})
		if err == nil && len(maps.Items) < 2 {
			err = fmt.Errorf("%d namespaces have the ConfigMap", len(maps.Items))
		}
		for _, c := range maps.Items {
			if strings.Count(c.Data["roots.pem"], "BEGIN") != roots || c.Data["roots.pem"] != maps.Items[0].Data["roots.pem"] {
				err = fmt.Errorf("the ConfigMap of %s has others", c.Namespace)
			}
		}
		return err
	})
}

// authority is a root and its key, which nobody should have but who signs with it.
type authority struct {
	root *x509.Certificate
	key  crypto.Signer
}

// rootOf is the mesh's own.
func rootOf(t *testing.T) authority { return signer(t, "wasmesh-ca", "root.pem", "root.pem") }

// signer reads an authority from a Secret, once it is there.
func signer(t *testing.T, name, certificate, key string) (a authority) {
	t.Helper()
	await(t, "a certificate and its key in Secret "+name, settleTimeout, func() error {
		secret, err := kube.Client.CoreV1().Secrets(system).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		pair, err := tls.X509KeyPair(secret.Data[certificate], secret.Data[key])
		if err == nil {
			a = authority{pair.Leaf, pair.PrivateKey.(crypto.Signer)}
		}
		return err
	})
	return a
}

// bearer is somebody with a certificate.
type bearer struct{ pair tls.Certificate }

// leaf makes a certificate like those of the client, but for its life: it must not
// end before it is refused for another reason.
func (a authority) leaf(t *testing.T, ns string) bearer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		URIs:     []*url.URL{{Scheme: "spiffe", Host: "wasmesh.local", Path: "/ns/" + ns + "/sa/default"}},
		DNSNames: []string{"client.pod." + ns + ".peer.wasmesh.internal"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.root, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return bearer{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// call calls a pod as a sidecar does. Whom it meets is not its concern.
func (b bearer) call(p corev1.Pod) error {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", net.JoinHostPort(p.Status.PodIP, "8080"),
		&tls.Config{Certificates: []tls.Certificate{b.pair}, InsecureSkipVerify: true, NextProtos: []string{"wasmesh"}})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("the answer is %q", answer)
	}
	return err
}

// replicasOf waits for the two pods of a part of the mesh.
func replicasOf(t *testing.T, part string) (out []corev1.Pod) {
	t.Helper()
	await(t, "two replicas of "+part, settleTimeout, func() error {
		out = nil
		for _, p := range podsOf(t, system) {
			if p.Labels["app.kubernetes.io/name"] == part && p.DeletionTimestamp == nil && isReady(p) {
				out = append(out, p)
			}
		}
		if len(out) != 2 {
			return fmt.Errorf("%d are ready", len(out))
		}
		return nil
	})
	return out
}
