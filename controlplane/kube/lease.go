package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// How long a Lease that is not renewed keeps others out, until when its holder
// must have renewed it, and how often both try. A leader that was killed is
// followed within leaseDuration and a try or two.
const (
	leaseDuration = 10 * time.Second
	renewDeadline = 6 * time.Second
	retryPeriod   = 1500 * time.Millisecond
)

// Lead runs the tasks whenever this replica holds the Lease, until ctx ends. A
// task ends when its context does, because the Lease is lost or all is over.
// To lose it ends nothing else: any replica serves any proxy.
func Lead(ctx context.Context, clients Clients, o Options, tasks ...func(context.Context)) error {
	ctx = klog.NewContext(ctx, logr.Discard())
	var running sync.WaitGroup
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.Namespace, Name: Lease},
			Client:     clients.Typed.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Replica},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: Lease,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { lead(ctx, &running, o.Log, tasks) },
			OnStoppedLeading: func() { o.Log.Info("does not write status any more, another replica may", "lease", Lease) },
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s: %w", Lease, err)
	}
	for ctx.Err() == nil {
		elector.Run(ctx)
		running.Wait()
		pause(ctx, retryPeriod)
	}
	return nil
}

// lead runs the tasks side by side until the Lease is lost.
func lead(ctx context.Context, running *sync.WaitGroup, log *slog.Logger, tasks []func(context.Context)) {
	running.Add(1)
	defer running.Done()
	log.Info("writes status, as the only replica", "lease", Lease)
	var all sync.WaitGroup
	for _, task := range tasks {
		all.Go(func() { task(ctx) })
	}
	all.Wait()
}
