package network

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Follow keeps names and cluster IPs as the API server has them, until the
// context ends.
func Follow(ctx context.Context, client kubernetes.Interface, log *slog.Logger) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	services, slices := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), slices.Informer()} {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { signal() }, UpdateFunc: func(any, any) { signal() }, DeleteFunc: func(any) { signal() },
		})
		if err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("no list of %v", kind)
		}
	}
	state := func() View {
		var v View
		v.Services, _ = services.Lister().List(labels.Everything()) // from memory
		v.Slices, _ = slices.Lister().List(labels.Everything())
		return v
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			if err := Translate(state().Ports()); err != nil {
				log.Error("translation of cluster IPs", "error", err)
			}
			time.Sleep(20 * time.Millisecond) // many changes are one pass
		}
	}()
	return ServeNames(ctx, func(name string) ([]netip.Addr, string, bool) { return state().Lookup(name) })
}

// View is what names and translations are made of.
type View struct {
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
}
