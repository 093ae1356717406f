package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/attest"
	"github.com/wasmesh/wasmesh/controlplane/ca"
)

var created atomic.Int32

func newNamespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("id-%d", created.Add(1))
	if _, err := kube.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

// newPod makes a pod with a sidecar that runs, as far as the API server knows.
func newPod(t *testing.T, namespace, name, account string, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	_, err := kube.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
	if err != nil && !exists(err) {
		t.Fatal(err)
	}
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"wasmesh.io/sidecar": "injected"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, NodeName: "nowhere",
			InitContainers: []corev1.Container{{Name: "wasmesh-sidecar", Image: "wasmesh/sidecar", RestartPolicy: &always}},
			Containers:     []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
		},
	}
	if change != nil {
		change(pod)
	}
	pod, err = kube.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ip := fmt.Sprintf("10.244.9.%d", created.Add(1))
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	if pod, err = kube.Client.CoreV1().Pods(namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return pod
}

func exists(err error) bool {
	return metav1.StatusReasonAlreadyExists == reason(err)
}

func reason(err error) metav1.StatusReason {
	if s, ok := err.(interface{ Status() metav1.Status }); ok {
		return s.Status().Reason
	}
	return ""
}

// remove deletes a pod at once.
func remove(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	now := int64(0)
	if err := kube.Client.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
}

// tokenOf is what the kubelet puts into the pod, or would for another audience.
func tokenOf(t *testing.T, pod *corev1.Pod, audience string) string {
	t.Helper()
	return tokenFor(t, pod.Namespace, pod.Spec.ServiceAccountName, audience, &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID})
}

func tokenFor(t *testing.T, namespace, account, audience string, bound *authenticationv1.BoundObjectReference) string {
	t.Helper()
	seconds := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, BoundObjectRef: bound}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	answer, err := kube.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

func good(t *testing.T, pod *corev1.Pod) string { return tokenOf(t, pod, attest.Audience) }

// member is a pod with its certificate.
type member struct {
	ca.Membership
	key []byte
}

// enrol asks a replica for a certificate, with a signing request that may ask for
// whatever it likes.
func enrol(r *replica, token string, wish x509.CertificateRequest) (member, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	key, csr, err := keyAndRequest(wish)
	if err != nil {
		return member{}, err
	}
	m, err := ca.Client{URL: r.join}.Attest(ctx, token, r.authority.TrustBundle(), csr)
	return member{m, key}, err
}

// keyAndRequest are both PEM.
func keyAndRequest(wish x509.CertificateRequest) (private, csr []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &wish, key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	csr = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), csr, err
}

func requestOf(t *testing.T, wish x509.CertificateRequest) []byte {
	t.Helper()
	_, csr, err := keyAndRequest(wish)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func mustEnrol(t *testing.T, r *replica, token string) member {
	t.Helper()
	m, err := enrol(r, token, x509.CertificateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
