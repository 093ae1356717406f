package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/tests/e2e/cluster"
)

// wantRefused demands a refusal whose reason, one of those between bars, the log
// has and the caller has not.
func wantRefused(t *testing.T, r *replica, token, reason string) {
	t.Helper()
	_, err := enrol(r, token, x509.CertificateRequest{})
	if !errors.Is(err, ca.ErrRefused) {
		t.Errorf("%s: got %v, want a refusal", reason, err)
		return
	}
	in := func(text string) bool {
		return slices.ContainsFunc(strings.Split(reason, "|"), func(one string) bool { return strings.Contains(text, one) })
	}
	if in(err.Error()) || !in(r.log.String()) {
		t.Errorf("%s: told %v, and the log is\n%s", reason, err, r.log)
	}
	if token != "" && strings.Contains(r.log.String(), token) {
		t.Error("the log tells a token")
	}
}

// A certificate says what the API server says, and nothing of what its request
// asks for.
func TestCertificateIsThePods(t *testing.T) {
	r := start(t, system(t))
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	greedy := x509.CertificateRequest{
		URIs:     []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/ns/wasmesh-system/sa/controlplane"}},
		DNSNames: []string{"db-0.pod.other.peer.wasmesh.internal"},
	}
	m, err := enrol(r, good(t, pod), greedy)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(m.Certificates)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if len(leaf.URIs) != 1 || slices.Contains(leaf.DNSNames, greedy.DNSNames[0]) {
		t.Errorf("the certificate has what was asked for: %v %v", leaf.URIs, leaf.DNSNames)
	}
	id, err := ca.PeerIdentity(leaf, trustDomain)
	if err != nil || id.Kind != ca.KindPod || id.Workload.String() != pod.Namespace+"/web-0" || id.ServiceAccount.String() != pod.Namespace+"/web" {
		t.Errorf("certified as %v, %v", id, err)
	}
}

// X1, X2: no token, or one for another audience, or bound to nothing.
func TestX1X2Tokens(t *testing.T) {
	r := start(t, system(t))
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	mustEnrol(t, r, good(t, pod)) // the twin
	wantRefused(t, r, "", "empty")
	wantRefused(t, r, "nonsense", "three parts")
	wantRefused(t, r, tokenOf(t, pod, ""), "audiences")
	wantRefused(t, r, tokenOf(t, pod, "other.io"), "audiences")
	wantRefused(t, r, tokenFor(t, pod.Namespace, "web", "wasmesh.io", nil), "not bound to a pod")
}

// signed is a token with changed claims, signed by the cluster's own key.
func signed(t *testing.T, token string, change func(map[string]any)) string {
	t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	change(claims)
	if payload, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(cluster.Home, "cluster", "service-accounts.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	text := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	x, y, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	x.FillBytes(signature[:32])
	y.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// X3: a token that has ended. The API server itself decides where our own clock
// would still let it pass; a signature by anybody else decides nothing.
func TestX3Expired(t *testing.T) {
	r := start(t, system(t))
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	token := good(t, pod)
	mustEnrol(t, r, signed(t, token, func(map[string]any) {})) // the twin
	ended := func(ago time.Duration) string {
		return signed(t, token, func(c map[string]any) {
			c["exp"], c["iat"], c["nbf"] = time.Now().Add(-ago).Unix(), time.Now().Add(-ago-time.Hour).Unix(), time.Now().Add(-ago-time.Hour).Unix()
		})
	}
	wantRefused(t, r, ended(time.Hour), "the token has expired")
	wantRefused(t, r, ended(2*time.Minute), "does not accept the token")
	wantRefused(t, r, token[:len(token)-8]+"AAAAAAAA", "does not accept the token")
}

// X4: the token of a pod that is gone, going, finished, replaced by another of its
// name, or without a sidecar.
func TestX4PodIsGone(t *testing.T) {
	r := start(t, system(t))
	namespace := newNamespace(t)
	pod := newPod(t, namespace, "web-0", "web", nil)
	token := good(t, pod)
	mustEnrol(t, r, token)
	remove(t, pod)
	// The API server itself remembers for some seconds that it accepted a token.
	wantRefused(t, r, token, "of the token is gone|does not accept the token")
	again := newPod(t, namespace, "web-0", "web", nil)
	wantRefused(t, r, token, "was replaced|does not accept the token")
	mustEnrol(t, r, good(t, again)) // the twin: of the same name

	going := newPod(t, namespace, "going", "web", nil)
	token = good(t, going)
	mustEnrol(t, r, token)
	if err := kube.Client.CoreV1().Pods(namespace).Delete(t.Context(), "going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, r, token, "is being deleted")

	job := newPod(t, namespace, "job", "web", nil)
	token = good(t, job)
	mustEnrol(t, r, token)
	job.Status.Phase = corev1.PodSucceeded
	if _, err := kube.Client.CoreV1().Pods(namespace).UpdateStatus(t.Context(), job, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, r, token, "has ended (Succeeded)")

	bare := newPod(t, namespace, "bare", "web", func(p *corev1.Pod) { p.Labels = nil })
	wantRefused(t, r, good(t, bare), "has no sidecar")
}

// A name says nothing: the account of the same name in another namespace is
// another.
func TestSameNamesElsewhere(t *testing.T) {
	r := start(t, system(t))
	for _, namespace := range []string{newNamespace(t), newNamespace(t)} {
		m := mustEnrol(t, r, good(t, newPod(t, namespace, "web-0", "web", nil)))
		if m.ServiceAccount.Namespace != namespace || m.Workload.Namespace != namespace {
			t.Errorf("a pod of %s became %v", namespace, m.ServiceAccount)
		}
	}
}

// X8: what one replica was shown proves no more to another: the same identity, and
// nothing once the pod is gone, whichever of them had accepted it before.
func TestX8Replay(t *testing.T) {
	namespace := system(t)
	first, second := start(t, namespace), start(t, namespace)
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	token := good(t, pod)
	a, b := mustEnrol(t, first, token), mustEnrol(t, second, token)
	if a.Workload != b.Workload || a.ServiceAccount != b.ServiceAccount || !bytes.Equal(a.TrustBundle, b.TrustBundle) {
		t.Errorf("the replicas gave %v and %v", a.Workload, b.Workload)
	}
	remove(t, pod)
	wantRefused(t, first, token, "of the token is gone|does not accept the token")
	wantRefused(t, second, token, "of the token is gone|does not accept the token")
}

// The token of one service account bound to a pod of another is not given, so a
// forged one stands for it.
func TestAccountIsThePods(t *testing.T) {
	r := start(t, system(t))
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	admin, err := kube.Client.CoreV1().ServiceAccounts(pod.Namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "admin"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = kube.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(t.Context(), "admin", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{"wasmesh.io"}, BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}, metav1.CreateOptions{})
	if err == nil {
		t.Error("the API server binds a token of one account to a pod of another")
	}
	forged := signed(t, good(t, pod), func(c map[string]any) {
		c["sub"] = "system:serviceaccount:" + pod.Namespace + ":admin"
		c["kubernetes.io"].(map[string]any)["serviceaccount"] = map[string]any{"name": "admin", "uid": admin.UID}
	})
	wantRefused(t, r, forged, "runs as service account|does not accept the token")
}
