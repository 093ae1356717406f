// Package attest asks a Kubernetes API server whose a projected service account
// token is, and whether the pod it was given to is still there.
//
// It never believes a token by itself, however well it is signed, never keeps one
// or what was answered about it, and never logs one. It changes nothing in the
// cluster.
package attest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Audience is whom the tokens are for. One that the API server itself or another
// product accepts is none of ours, and ours are good nowhere else.
const Audience = "wasmesh.io"

// SidecarContainer is what the injector adds.
const SidecarContainer = "wasmesh-sidecar"

const (
	// maxReviews bounds what all callers together ask of the API server at a time:
	// an answer takes it some milliseconds.
	maxReviews = 16
	// maxQueue bounds who waits for that: those beyond it are told to come back.
	maxQueue = 128
	// reviewTimeout bounds one attestation, the waiting included. Sidecars ask again.
	reviewTimeout = 5 * time.Second
	// clockSlack is how long after its end, by the clock here, a token still goes to
	// the API server, whose clock decides.
	clockSlack = 5 * time.Minute
)

// What the API server says of a token that is bound to a pod.
const (
	podNameExtra = "authentication.kubernetes.io/pod-name"
	podUIDExtra  = "authentication.kubernetes.io/pod-uid"
)

// ErrBusy is wrapped when too many others ask at this moment.
var ErrBusy = errors.New("too many tokens are being attested; try again")

// Reviewer attests tokens. It is safe for concurrent use.
type Reviewer struct {
	client kubernetes.Interface
	now    func() time.Time
	limit  time.Duration
	queue  chan struct{}
	slots  chan struct{}
}

// New returns a Reviewer that may create TokenReviews and get Pods.
func New(client kubernetes.Interface) *Reviewer {
	return &Reviewer{
		client: client, now: time.Now, limit: reviewTimeout,
		queue: make(chan struct{}, maxQueue), slots: make(chan struct{}, maxReviews),
	}
}

// Attest implements ca.Attest. Nothing is cached: that a pod is gone or going
// must hold for the very next certificate, and an honest pod asks twice a day.
func (r *Reviewer) Attest(ctx context.Context, token string) (ca.Identity, error) {
	// What cannot be good costs the API server nothing.
	if err := plausible(token, r.now().Add(-clockSlack)); err != nil {
		return ca.Identity{}, fmt.Errorf("%w: %w", ca.ErrRefused, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.limit, fmt.Errorf("%w: no answer of the API server within %v", ErrBusy, r.limit))
	defer cancel()
	leave, err := r.enter(ctx)
	if err != nil {
		return ca.Identity{}, err
	}
	defer leave()
	b, err := r.review(ctx, token)
	if err != nil {
		return b.identity(), r.cause(ctx, err)
	}
	pod, err := r.client.CoreV1().Pods(b.pod.Namespace).Get(ctx, b.pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return b.identity(), refuse("pod %s of the token is gone", b.pod)
	}
	if err != nil {
		return b.identity(), r.cause(ctx, fmt.Errorf("pod %s of a token: %w", b.pod, err))
	}
	id := b.identity()
	id.Owner.Kind, id.Owner.Name = smi.OwnerOf(pod)
	return id, b.check(pod)
}

// enter waits for a turn.
func (r *Reviewer) enter(ctx context.Context) (leave func(), err error) {
	select {
	case r.queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case r.slots <- struct{}{}:
		return func() { <-r.slots; <-r.queue }, nil
	case <-ctx.Done():
		<-r.queue
		return nil, context.Cause(ctx)
	}
}

// cause names the limit if that is what ended a question.
func (r *Reviewer) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return err
}

// binding is what the API server says a token is bound to.
type binding struct {
	pod, account mesh.Name
	uid          string
}

func (b binding) identity() ca.Identity {
	return ca.Identity{ServiceAccount: b.account, Workload: b.pod, Kind: ca.KindPod}
}

// review has the API server check signature, end and audience of a token, and
// that the objects it is bound to are there.
func (r *Reviewer) review(ctx context.Context, token string) (binding, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{Audience}}}
	answer, err := r.client.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return binding{}, fmt.Errorf("asking the API server about a token: %w", err)
	}
	return bindingOf(answer.Status)
}

func bindingOf(s authenticationv1.TokenReviewStatus) (b binding, err error) {
	if !s.Authenticated {
		return b, refuse("the API server does not accept the token: %.300s", s.Error)
	}
	// A server without support for audiences answers none, and has checked none.
	if !slices.Contains(s.Audiences, Audience) {
		return b, refuse("the token is for the audiences %.300q and not for %q", s.Audiences, Audience)
	}
	account, ok := strings.CutPrefix(s.User.Username, "system:serviceaccount:")
	b.account.Namespace, b.account.Name, _ = strings.Cut(account, ":")
	if !ok || b.account.Namespace == "" || b.account.Name == "" {
		return binding{}, refuse("user %.300q of the token is no service account", s.User.Username)
	}
	names, uids := s.User.Extra[podNameExtra], s.User.Extra[podUIDExtra]
	if len(names) != 1 || len(uids) != 1 || names[0] == "" || uids[0] == "" {
		return binding{}, refuse("the token of service account %s is not bound to a pod", b.account)
	}
	b.pod, b.uid = mesh.Name{Namespace: b.account.Namespace, Name: names[0]}, uids[0]
	return b, nil
}

// check holds the pod that is there against the one that the token was given to.
func (b binding) check(pod *corev1.Pod) error {
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	sidecar := slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == SidecarContainer })
	switch {
	case string(pod.UID) != b.uid:
		return refuse("pod %s was replaced by another of its name", b.pod)
	case pod.DeletionTimestamp != nil:
		return refuse("pod %s is being deleted", b.pod)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		return refuse("pod %s has ended (%s)", b.pod, pod.Status.Phase)
	case account != b.account.Name:
		return refuse("pod %s runs as service account %q, and the token is of %s", b.pod, account, b.account)
	case pod.Labels[smi.SidecarLabel] != smi.SidecarInjected || !sidecar:
		return refuse("pod %s has no sidecar: it needs the label %s=%s and the container %s, which the injector adds", b.pod, smi.SidecarLabel, smi.SidecarInjected, SidecarContainer)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ca.ErrRefused}, args...)...)
}
