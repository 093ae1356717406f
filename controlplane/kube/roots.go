package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	apply "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/wasmesh/wasmesh/controlplane/kube/trim"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// rootsInterval is how often the ConfigMaps are compared with what they should
// hold. A pod of a new namespace starts when its own is there.
const rootsInterval = 500 * time.Millisecond

// Roots returns the task that keeps the mesh's roots, as bundle tells them in
// PEM, in the ConfigMap of every namespace that opted in. One that somebody
// edits or deletes is put back. Those of namespaces that opted out stay: pods
// may still use them.
func Roots(s *Source, bundle func() []byte, log *slog.Logger) func(context.Context) {
	return func(ctx context.Context) {
		r := roots{source: s, log: log, there: &shelf{kind: "ConfigMap", slim: slimRoots, take: takeRoots, changed: func() {}, items: map[mesh.Name]item{}}}
		var watching sync.WaitGroup
		defer watching.Wait()
		watching.Go(func() { r.watch(ctx) })
		r.owner = ownerOf(ctx, s.clients)
		for ctx.Err() == nil {
			if r.there.isSynced() {
				r.keep(ctx, string(bundle()))
			}
			pause(ctx, rootsInterval)
		}
	}
}

// roots compares and applies.
type roots struct {
	source *Source
	log    *slog.Logger
	there  *shelf
	// owner takes the ConfigMaps with it when the mesh is uninstalled; nil where it
	// is not there.
	owner      *applymeta.OwnerReferenceApplyConfiguration
	complained bool
}

// ownerOf returns the one object of the installation that is in no namespace, and
// so can own objects of any.
func ownerOf(ctx context.Context, c Clients) *applymeta.OwnerReferenceApplyConfiguration {
	role, err := c.Typed.RbacV1().ClusterRoles().Get(ctx, ClusterRole, metav1.GetOptions{})
	if err != nil {
		return nil // installed in another way, which then removes them too
	}
	return applymeta.OwnerReference().WithAPIVersion("rbac.authorization.k8s.io/v1").WithKind("ClusterRole").WithName(role.Name).WithUID(role.UID)
}

func slimRoots(o any) any {
	c := o.(*corev1.ConfigMap)
	return &corev1.ConfigMap{ObjectMeta: trim.Meta(c), Data: c.Data}
}

func takeRoots(o any) item {
	c := slimRoots(o).(*corev1.ConfigMap)
	return item{value: wire.Object(c), uid: c.UID}
}

func (r *roots) watch(ctx context.Context) {
	quiet := logr.Discard()
	client := r.source.clients.Typed.CoreV1().ConfigMaps("")
	selector := fields.OneTermEqualSelector("metadata.name", RootsConfigMap).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector
			return client.Watch(ctx, o)
		},
	}
	backoff := wait.Backoff{Duration: firstPause, Factor: 2, Jitter: 0.5, Cap: longestPause, Steps: math.MaxInt32}
	cache.NewReflectorWithOptions(lw, new(corev1.ConfigMap), r.there, cache.ReflectorOptions{Name: RootsConfigMap, Logger: &quiet, Backoff: &backoff}).
		RunWithContext(klog.NewContext(ctx, quiet))
}

// keep applies where the roots are not what they should be.
func (r *roots) keep(ctx context.Context, bundle string) {
	var failures []error
	for _, namespace := range r.source.optedIn() {
		i, _ := r.there.get(mesh.Name{Namespace: namespace, Name: RootsConfigMap})
		if c, ok := i.value.(*corev1.ConfigMap); ok && c.Data[RootsKey] == bundle {
			continue
		}
		made := apply.ConfigMap(RootsConfigMap, namespace).WithData(map[string]string{RootsKey: bundle}).
			WithLabels(map[string]string{"app.kubernetes.io/managed-by": fieldManager})
		if r.owner != nil {
			made = made.WithOwnerReferences(r.owner)
		}
		_, err := r.source.clients.Typed.CoreV1().ConfigMaps(namespace).Apply(ctx, made, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil && ctx.Err() == nil {
			failures = append(failures, fmt.Errorf("namespace %s: %w", namespace, err))
		}
	}
	if len(failures) > 0 && !r.complained {
		r.log.Warn("the mesh's roots cannot be written; pods there do not start; it is tried again", "cause", errors.Join(failures[:min(3, len(failures))]...))
	}
	r.complained = len(failures) > 0
}
