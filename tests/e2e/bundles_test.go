package e2e

import (
	"bytes"
	"context"
	"encoding/pem"
	"strconv"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// chronicle is when, in revisions of the cluster, a webhook's certificate came into
// the CA bundle, and when into the Secret as the one to serve.
type chronicle struct {
	stop    context.CancelFunc
	running sync.WaitGroup

	mu              sync.Mutex
	trusted, served map[string]int64
	// first was served when this began.
	first string
}

// startChronicle watches the configuration and the Secret of a webhook until end.
func startChronicle(t *testing.T, hook, secret string) *chronicle {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &chronicle{stop: stop, trusted: map[string]int64{}, served: map[string]int64{}}
	named := func(name string) metav1.ListOptions {
		return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	}
	api := kube.Client.AdmissionregistrationV1()
	configuration := func() (watch.Interface, error) { return api.MutatingWebhookConfigurations().Watch(ctx, named(hook)) }
	if hook == validatingHook {
		configuration = func() (watch.Interface, error) {
			return api.ValidatingWebhookConfigurations().Watch(ctx, named(hook))
		}
	}
	for _, open := range []func() (watch.Interface, error){configuration, func() (watch.Interface, error) {
		return kube.Client.CoreV1().Secrets(system).Watch(ctx, named(secret))
	}} {
		w, err := open()
		if err != nil {
			t.Fatal(err)
		}
		c.running.Go(func() {
			for event := range w.ResultChan() {
				if ctx.Err() != nil {
					return // that it ends so is told as an error
				}
				c.note(t, event.Object)
			}
		})
	}
	return c
}

func (c *chronicle) note(t *testing.T, object runtime.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := meta.Accessor(object)
	if err != nil {
		t.Errorf("a watch of the webhooks failed: %+v", object)
		return
	}
	revision, err := strconv.ParseInt(m.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Error(err)
	}
	switch o := object.(type) {
	case *admissionv1.MutatingWebhookConfiguration:
		keep(c.trusted, o.Webhooks[0].ClientConfig.CABundle, revision)
	case *admissionv1.ValidatingWebhookConfiguration:
		keep(c.trusted, o.Webhooks[0].ClientConfig.CABundle, revision)
	case *corev1.Secret:
		keep(c.served, o.Data["tls.crt"], revision)
		if c.first == "" {
			c.first = string(o.Data["tls.crt"])
		}
	}
}

// keep notes the revision in which each certificate was seen first.
func keep(seen map[string]int64, certificates []byte, revision int64) {
	for block, rest := pem.Decode(certificates); block != nil; block, rest = pem.Decode(rest) {
		text := string(bytes.TrimSpace(pem.EncodeToMemory(block)))
		if _, ok := seen[text]; !ok {
			seen[text] = revision
		}
	}
}

// end wants every certificate to have been trusted before it was served, and so
// many to have been served.
func (c *chronicle) end(t *testing.T, what string, rotations int) {
	t.Helper()
	c.stop()
	c.running.Wait()
	changes := 0
	for certificate, served := range c.served {
		if certificate == string(bytes.TrimSpace([]byte(c.first))) {
			continue
		}
		changes++
		if trusted, ok := c.trusted[certificate]; !ok || trusted >= served {
			t.Errorf("%s: a certificate is served from revision %d on, and trusted from %d on", what, served, trusted)
		}
	}
	if changes < rotations {
		t.Errorf("%s: %d rotations seen, want %d", what, changes, rotations)
	}
}
