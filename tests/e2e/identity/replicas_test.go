package identity

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/secret"
)

// Replicas that start at the same moment found one mesh; a restart finds it; a
// rotation that one makes step by step is followed by the other within seconds,
// and a step that both make is made once.
func TestReplicasShareTheRoot(t *testing.T) {
	namespace := system(t)
	found := make([]*ca.Authority, 4)
	var starting sync.WaitGroup
	for i := range found {
		dir := filepath.Join(t.TempDir(), "state")
		starting.Go(func() {
			a, err := ca.Open(dir, ca.Options{TrustDomain: trustDomain, Roots: secret.New(clientOf(t, namespace), namespace)})
			if err != nil {
				t.Error(err)
				return
			}
			found[i] = a
		})
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	first, second, third := start(t, namespace), start(t, namespace), start(t, namespace)
	for _, a := range append(found, second.authority, third.authority) {
		if a.Fingerprint() != first.authority.Fingerprint() {
			t.Fatal("the replicas have several roots")
		}
	}
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	for _, step := range []ca.Step{ca.Start, ca.Switch, ca.Finish} {
		results := make(chan error, 2)
		for _, r := range []*replica{first, second} {
			go func() { _, err := r.authority.Rotate(step, true); results <- err }()
		}
		if one, other := <-results, <-results; (one == nil) == (other == nil) {
			t.Fatalf("%s: %v and %v", step, one, other)
		}
		began := time.Now()
		same := func(r *replica) bool {
			return bytes.Equal(first.authority.TrustBundle(), r.authority.TrustBundle()) && first.authority.Fingerprint() == r.authority.Fingerprint()
		}
		for !same(second) || !same(third) {
			if time.Since(began) > 5*time.Second {
				t.Fatalf("%s: not followed within 5 s", step)
			}
			time.Sleep(time.Millisecond)
		}
		t.Logf("%s: followed within %v", step, time.Since(began).Round(time.Millisecond))
		for _, r := range []*replica{first, second, third} {
			if m := mustEnrol(t, r, good(t, pod)); m.Signer != first.authority.Fingerprint() {
				t.Errorf("%s: signed by another root", step)
			}
		}
	}
	if restarted := start(t, namespace); restarted.authority.Fingerprint() != first.authority.Fingerprint() {
		t.Error("a restart has another root")
	}
}

// The role is enough for all of that, and for no other Secret.
func TestNoOtherSecret(t *testing.T) {
	namespace := system(t)
	start(t, namespace)
	client := clientOf(t, namespace)
	for _, at := range []struct{ namespace, name string }{{namespace, "other"}, {"default", secret.Name}} {
		made := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: at.name}}
		if _, err := kube.Client.CoreV1().Secrets(at.namespace).Create(t.Context(), made, metav1.CreateOptions{}); err != nil && !exists(err) {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Secrets(at.namespace).Get(t.Context(), at.name, metav1.GetOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("Secret %s/%s: %v", at.namespace, at.name, err)
		}
	}
	if _, err := client.CoreV1().Secrets(namespace).Get(t.Context(), secret.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("all of the namespace: %v", err)
	}
}

// A Secret that somebody empties is filled again with the root that is in force;
// one with other content changes nothing and is told. A new replica takes no
// damaged one for none.
func TestSecretIsTouched(t *testing.T) {
	namespace := system(t)
	r := start(t, namespace)
	secrets := kube.Client.CoreV1().Secrets(namespace)
	set := func(data map[string][]byte) {
		t.Helper()
		kept, err := secrets.Get(t.Context(), secret.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		kept.Data = data
		if _, err := secrets.Update(t.Context(), kept, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	before, err := secrets.Get(t.Context(), secret.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	root := before.Data[secret.Key]
	soon := func(what string, ok func() bool) {
		t.Helper()
		for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 5*time.Second {
				t.Fatalf("%s: not within 5 s\n%s", what, r.log)
			}
		}
	}
	set(nil)
	soon("filled again", func() bool {
		kept, err := secrets.Get(t.Context(), secret.Name, metav1.GetOptions{})
		return err == nil && bytes.Equal(kept.Data[secret.Key], root)
	})
	set(map[string][]byte{"other": []byte("x")})
	soon("told", func() bool { return strings.Contains(r.log.String(), "has no "+secret.Key) })
	pod := newPod(t, newNamespace(t), "web-0", "web", nil)
	if m := mustEnrol(t, r, good(t, pod)); m.Signer != r.authority.Fingerprint() {
		t.Error("another root signs")
	}
	if _, err := ca.Open(filepath.Join(t.TempDir(), "state"), ca.Options{TrustDomain: trustDomain, Roots: secret.New(clientOf(t, namespace), namespace)}); err == nil {
		t.Error("a damaged Secret was taken for an empty one")
	}
}
