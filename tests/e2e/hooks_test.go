package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// What the API server asks, and what it has to answer with.
const (
	injectorHook   = "wasmesh-injector"
	validatingHook = "wasmesh-controlplane"
	// minAdmissions per second, of the injector.
	minAdmissions = 20
)

// admissions are a stream of questions to both webhooks through the API server,
// and what certificates they show meanwhile.
type admissions struct {
	began   time.Time
	ended   chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	asked  map[string]int
	failed map[string]int
	shown  map[string]map[string]bool // by service, the serial numbers

	chronicles map[string]*chronicle // by service
}

// startAdmissions asks until stopAfter: nothing that is created is kept.
func startAdmissions(t *testing.T, ns string) *admissions {
	a := &admissions{began: time.Now(), ended: make(chan struct{}), asked: map[string]int{}, failed: map[string]int{}, shown: map[string]map[string]bool{injectorHook: {}, validatingHook: {}}}
	a.chronicles = map[string]*chronicle{
		injectorHook: startChronicle(t, injectorHook, "wasmesh-injector-tls"), validatingHook: startChronicle(t, validatingHook, "wasmesh-webhook-tls"),
	}
	a.repeat(t, 30*time.Millisecond, injectorHook, func(ctx context.Context) error { return injected(ctx, ns) })
	a.repeat(t, 150*time.Millisecond, validatingHook, func(ctx context.Context) error { return validated(ctx, ns) })
	for _, hook := range []string{injectorHook, validatingHook} {
		a.repeat(t, 300*time.Millisecond, "certificates of "+hook, func(ctx context.Context) error { return a.look(ctx, hook) })
	}
	return a
}

// repeat starts a question at each tick, whether or not the one before is answered.
func (a *admissions) repeat(t *testing.T, every time.Duration, what string, ask func(context.Context) error) {
	a.running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-a.ended:
				return
			case <-t.Context().Done():
				return
			case <-tick.C:
				a.running.Go(func() {
					err := ask(t.Context())
					a.mu.Lock()
					defer a.mu.Unlock()
					a.asked[what]++
					if err != nil {
						a.failed[what+": "+err.Error()]++
					}
				})
			}
		}
	})
}

// stopAfter waits until each webhook has replaced its certificate so often, and
// wants no question to have failed.
func (a *admissions) stopAfter(t *testing.T, rotations int) {
	t.Helper()
	await(t, fmt.Sprintf("%d rotations", rotations), time.Duration(rotations+1)*hookLife, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		for hook, certificates := range a.shown {
			if len(certificates) <= rotations {
				return fmt.Errorf("%s has shown %d certificates", hook, len(certificates))
			}
		}
		return nil
	})
	close(a.ended)
	a.running.Wait()
	for hook, c := range a.chronicles {
		c.end(t, hook, rotations)
	}
	versions(t)
	took := time.Since(a.began).Seconds()
	figures.Tell(t, "asked %v in %.0f s, while %d certificates of the injector and %d of the control plane were shown", a.asked, took, len(a.shown[injectorHook]), len(a.shown[validatingHook]))
	if rate := float64(a.asked[injectorHook]) / took; len(a.failed) > 0 || rate < minAdmissions {
		t.Errorf("failed: %v; %.0f admissions per second", a.failed, rate)
	}
}

// injected creates a pod that is not kept, and wants its sidecar in it.
func injected(ctx context.Context, ns string) error {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "dry-"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}}}
	made, err := kube.Client.CoreV1().Pods(ns).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil && made.Labels["wasmesh.io/sidecar"] != "injected" {
		err = errors.New("no sidecar")
	}
	return err
}

// validated creates what only the webhook refuses: an outage of it lets it in.
func validated(ctx context.Context, ns string) error {
	err := kube.Client.RESTClient().Post().AbsPath("/apis/specs.smi-spec.io/v1alpha4/namespaces/"+ns+"/httproutegroups").Param("dryRun", metav1.DryRunAll).
		Body([]byte(`{"apiVersion":"specs.smi-spec.io/v1alpha4","kind":"HTTPRouteGroup","metadata":{"name":"bad"},"spec":{"matches":[{"name":"bad","pathRegex":"(","methods":["*"]}]}}`)).
		SetHeader("Content-Type", "application/json").Do(ctx).Error()
	switch {
	case err == nil:
		return errors.New("the webhook was not asked")
	case !strings.Contains(err.Error(), "validate.wasmesh.io"):
		return err
	}
	return nil
}

// look asks each replica for its certificate, which the bundle of the moment must
// vouch for.
func (a *admissions) look(ctx context.Context, hook string) error {
	pods, err := kube.Client.CoreV1().Pods(system).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + hook})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		roots, err := bundleOf(ctx, hook)
		if err != nil {
			return err
		}
		shown, err := shake(p, hook, &tls.Config{RootCAs: roots, ServerName: hook + "." + system + ".svc"})
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		a.mu.Lock()
		a.shown[hook][shown.SerialNumber.String()] = true
		a.mu.Unlock()
	}
	return nil
}

// bundleOf is what the API server trusts.
func bundleOf(ctx context.Context, hook string) (*x509.CertPool, error) {
	var bundle []byte
	api := kube.Client.AdmissionregistrationV1()
	if hook == injectorHook {
		c, err := api.MutatingWebhookConfigurations().Get(ctx, hook, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		bundle = c.Webhooks[0].ClientConfig.CABundle
	} else {
		c, err := api.ValidatingWebhookConfigurations().Get(ctx, hook, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		bundle = c.Webhooks[0].ClientConfig.CABundle
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	return pool, nil
}

// shake connects to the webhook of a pod, and returns what it shows.
func shake(p corev1.Pod, hook string, config *tls.Config) (*x509.Certificate, error) {
	port := map[string]string{injectorHook: "9443", validatingHook: "15014"}[hook]
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", net.JoinHostPort(p.Status.PodIP, port), config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// versions: TLS before 1.2 is refused.
func versions(t *testing.T) {
	t.Helper()
	for _, hook := range []string{injectorHook, validatingHook} {
		roots, err := bundleOf(t.Context(), hook)
		if err != nil {
			t.Fatal(err)
		}
		for version, accepted := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			_, err := shake(replicasOf(t, hook)[0], hook, &tls.Config{RootCAs: roots, ServerName: hook + "." + system + ".svc", MinVersion: version, MaxVersion: version})
			if (err == nil) != accepted {
				t.Errorf("%s with %s: %v", hook, tls.VersionName(version), err)
			}
		}
	}
}
