// Package secret keeps the certificate authority's root in a Kubernetes Secret, so
// that all replicas of the control plane sign alike and a restart changes nothing.
//
// It touches the one Secret that it was told and never any other, never logs or
// interprets what is in it, and never overwrites what it has not seen.
package secret

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/ca"
)

const (
	// Name is that of the Secret, in the control plane's own namespace.
	Name = "wasmesh-ca"
	// Key is where in it the root is.
	Key = "root.pem"
)

const (
	callTimeout = 10 * time.Second
	// watchSeconds is how long one watch lasts; a connection that died in silence is
	// found by then.
	watchSeconds = 240
	watchPause   = time.Second
)

// Store is a ca.Store. It needs the verbs get and update on the one Secret, watch
// for Watch, and create in the namespace where nobody has made it.
type Store struct {
	secrets   typed.SecretInterface
	namespace string
}

// New returns the store in a namespace.
func New(client kubernetes.Interface, namespace string) *Store {
	return &Store{client.CoreV1().Secrets(namespace), namespace}
}

// String names the Secret.
func (s *Store) String() string { return "Secret " + s.namespace + "/" + Name }

func (s *Store) get() (*corev1.Secret, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	secret, err := s.secrets.Get(ctx, Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%s: %w", s, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return secret, nil
}

// Load implements ca.Store. An empty Secret is none: an installation makes it so.
// One that holds something but no key is damaged: to found a mesh in its place
// would cut off every member of the old one.
func (s *Store) Load() ([]byte, error) {
	secret, err := s.get()
	if err != nil {
		return nil, err
	}
	if len(secret.Data) == 0 {
		return nil, fmt.Errorf("%s is empty: %w", s, fs.ErrNotExist)
	}
	data, ok := secret.Data[Key]
	if !ok {
		return nil, fmt.Errorf("%s has no %s; restore it, or delete the Secret to found a new mesh", s, Key)
	}
	return data, nil
}

// Create implements ca.Store. It fills an empty Secret where there is one; of two
// replicas that do so at the same moment, the API server lets one.
func (s *Store) Create(data []byte) error {
	if there, err := s.get(); err == nil && len(there.Data) == 0 {
		return s.fill(there, data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_, err := s.secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: Name, Namespace: s.namespace, Labels: map[string]string{"app.kubernetes.io/managed-by": "wasmesh-controlplane"}},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{Key: data},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("%s: %w", s, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

func (s *Store) fill(empty *corev1.Secret, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	empty.Data = map[string][]byte{Key: data}
	_, err := s.secrets.Update(ctx, empty, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		return fmt.Errorf("%s: %w", s, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

// Replace implements ca.Store: of two replicas that make a step at the same
// moment, the API server lets one.
func (s *Store) Replace(before, data []byte) error {
	secret, err := s.get()
	if err != nil {
		return err
	}
	if !bytes.Equal(secret.Data[Key], before) {
		return fmt.Errorf("%s: %w", s, ca.ErrConflict)
	}
	secret.Data[Key] = data
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	_, err = s.secrets.Update(ctx, secret, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		return fmt.Errorf("%s: %w", s, ca.ErrConflict)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

// Watch signals when the Secret may have changed, until ctx ends. It tells
// nothing of what goes wrong: whoever follows looks now and then in any case, and
// says so if that fails.
func (s *Store) Watch(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		s.watch(ctx, changed)
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
		}
	}
}

func (s *Store) watch(ctx context.Context, changed chan<- struct{}) {
	seconds := int64(watchSeconds)
	// A list or watch that the name selects is what a rule by resourceNames allows.
	w, err := s.secrets.Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", Name).String(), TimeoutSeconds: &seconds,
	})
	if err != nil {
		return
	}
	defer w.Stop()
	for range w.ResultChan() {
		select {
		case changed <- struct{}{}:
		default: // one is waiting already
		}
	}
}
