// Package webhookcert keeps the certificate by which the API server knows a
// webhook, or an aggregated API: made here, shared by the replicas in a Secret,
// replaced in time, and trusted through the bundle in its configuration.
//
// It knows nothing of what is answered. It never signs for anybody else:
// each certificate is trusted by itself, and there is no authority whose key
// could be stolen. It never serves a certificate before the API server could
// have heard of it, except where there was none to serve.
package webhookcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

const (
	// longestInterval between looks at the Secret and the configuration: somebody
	// may have replaced either, an upgrade for instance.
	longestInterval = 10 * time.Second
	// impatient is the interval until there is something to serve.
	impatient = 500 * time.Millisecond
)

// Options say whose certificate it is.
type Options struct {
	Client kubernetes.Interface
	// Namespace and Secret are where the replicas share it. The Secret is made if
	// it is not there and that is allowed.
	Namespace, Secret string
	// Hosts are the names that the API server dials: service.namespace.svc.
	Hosts []string
	// Mutating, Validating or APIService is the name of the configuration whose
	// bundle is kept; the others are empty.
	Mutating, Validating, APIService string
	// Dynamic is needed for an APIService.
	Dynamic dynamic.Interface
	// Life is that of each certificate; DefaultLife if zero.
	Life time.Duration
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	Log *slog.Logger
}

// Keeper keeps one certificate.
type Keeper struct {
	options Options
	pair    atomic.Pointer[tls.Certificate]
	told    atomic.Bool
}

// New returns a keeper that has nothing yet; Run gets it. A life below MinLife is
// an error.
func New(o Options) (*Keeper, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Life == 0 {
		o.Life = DefaultLife
	}
	if o.Life < MinLife {
		return nil, fmt.Errorf("a webhook's certificate cannot live for %v; choose %v or more", o.Life, MinLife)
	}
	return &Keeper{options: o}, nil
}

// TLS returns the configuration to serve with: TLS 1.2 or newer, always with the
// certificate of the moment.
func (k *Keeper) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if pair := k.pair.Load(); pair != nil {
				return pair, nil
			}
			return nil, errors.New("the webhook has no certificate yet")
		}}
}

// Ready reports whether the API server could be answered: there is a certificate,
// and the configuration has named it once.
func (k *Keeper) Ready() bool { return k.pair.Load() != nil && k.told.Load() }

// Run keeps the certificate until ctx ends. What fails is logged and tried again;
// what is there goes on serving.
func (k *Keeper) Run(ctx context.Context) {
	failed := ""
	for ctx.Err() == nil {
		err := k.once(ctx)
		if err == nil {
			failed = ""
		} else if ctx.Err() == nil && err.Error() != failed {
			failed = err.Error()
			k.options.Log.Warn("the webhook's certificate is not as it should be; it is tried again", "err", err)
		}
		// Several looks in the time that a next certificate waits.
		wait := min(longestInterval, k.options.Life/30)
		if !k.Ready() {
			wait = impatient
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// once makes Secret, bundle and what is served agree, in this order. What the API
// server trusts already is looked at first: nothing else is to be served.
func (k *Keeper) once(ctx context.Context) error {
	webhooks, unknown := k.configured(ctx)
	data, err := k.secret(ctx, webhooks.bundles())
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(data[certKey], data[keyKey])
	if err != nil {
		return fmt.Errorf("the certificate in Secret %s: %w", k.options.Secret, err)
	}
	k.pair.Store(&pair)
	if unknown != nil {
		return unknown
	}
	if err := k.tell(ctx, webhooks, data[bundleKey]); err != nil {
		return err
	}
	k.told.Store(true)
	return nil
}

// secret returns what the Secret holds after it was brought up to date. Of
// replicas that do so at once one wins, and the others take its word.
func (k *Keeper) secret(ctx context.Context, bundles [][]byte) (map[string][]byte, error) {
	secrets := k.options.Client.CoreV1().Secrets(k.options.Namespace)
	found, err := secrets.Get(ctx, k.options.Secret, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return nil, fmt.Errorf("reading Secret %s: %w", k.options.Secret, err)
	}
	wanted, err := step(found.Data, bundles, k.options.Hosts, k.options.Life, k.options.Now())
	if err != nil {
		return nil, err
	}
	switch {
	case missing:
		found, err = secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: k.options.Secret}, Data: wanted}, metav1.CreateOptions{})
	case !reflect.DeepEqual(maps.Clone(found.Data), wanted):
		found.Data = wanted
		found, err = secrets.Update(ctx, found, metav1.UpdateOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		found, err = secrets.Get(ctx, k.options.Secret, metav1.GetOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("writing Secret %s: %w", k.options.Secret, err)
	}
	return found.Data, nil
}

// webhook is one of a configuration.
type webhook struct {
	name   string
	bundle []byte
}

type webhooks []webhook

func (w webhooks) bundles() (out [][]byte) {
	for _, one := range w {
		out = append(out, one.bundle)
	}
	return out
}

func (k *Keeper) name() string {
	return k.options.Mutating + k.options.Validating + k.options.APIService
}

// configured are the webhooks of the configuration.
func (k *Keeper) configured(ctx context.Context) (out webhooks, err error) {
	api := k.options.Client.AdmissionregistrationV1()
	add := func(name string, c admissionv1.WebhookClientConfig) { out = append(out, webhook{name, c.CABundle}) }
	if k.options.APIService != "" {
		bundle, err := k.ofAPIService(ctx)
		return webhooks{{bundle: bundle}}, err
	}
	if k.options.Mutating != "" {
		found, err := api.MutatingWebhookConfigurations().Get(ctx, k.name(), metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading webhook configuration %s: %w", k.name(), err)
		}
		for _, w := range found.Webhooks {
			add(w.Name, w.ClientConfig)
		}
		return out, nil
	}
	found, err := api.ValidatingWebhookConfigurations().Get(ctx, k.name(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading webhook configuration %s: %w", k.name(), err)
	}
	for _, w := range found.Webhooks {
		add(w.Name, w.ClientConfig)
	}
	return out, nil
}

// tell writes the bundle into the configuration where it is another.
func (k *Keeper) tell(ctx context.Context, there webhooks, bundle []byte) error {
	if k.options.APIService != "" {
		return k.tellAPIService(ctx, there[0].bundle, bundle)
	}
	patch, err := bundlePatch(there, bundle)
	if err != nil || patch == nil {
		return err
	}
	api := k.options.Client.AdmissionregistrationV1()
	if k.options.Mutating != "" {
		_, err = api.MutatingWebhookConfigurations().Patch(ctx, k.name(), types.JSONPatchType, patch, metav1.PatchOptions{})
	} else {
		_, err = api.ValidatingWebhookConfigurations().Patch(ctx, k.name(), types.JSONPatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing webhook configuration %s: %w", k.name(), err)
	}
	return nil
}

// bundlePatch sets the bundle of each webhook that has another; nil if none has.
// It holds each webhook to its name, in case the list changed meanwhile.
func bundlePatch(there webhooks, bundle []byte) ([]byte, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	var patch []operation
	for i, w := range there {
		if !bytes.Equal(w.bundle, bundle) {
			patch = append(patch, operation{"test", fmt.Sprintf("/webhooks/%d/name", i), w.name},
				operation{"add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), bundle})
		}
	}
	if patch == nil {
		return nil, nil
	}
	return json.Marshal(patch)
}
