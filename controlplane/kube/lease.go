package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// How long a Lease that is not renewed keeps others out, until when its holder
// must have renewed it, and how often both try, with as much again by chance. A
// leader that was killed is followed within the first and two tries: 12 s.
const (
	leaseDuration = 7 * time.Second
	renewDeadline = 5 * time.Second
	retryPeriod   = time.Second
)

// Lead runs the tasks whenever this replica holds the Lease, until ctx ends. A
// task ends when its context does, because the Lease is lost or all is over.
// To lose it ends nothing else: any replica serves any proxy.
func Lead(ctx context.Context, clients Clients, o Options, tasks ...func(context.Context)) error {
	ctx = klog.NewContext(ctx, logr.Discard())
	var running sync.WaitGroup
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &toldLock{log: o.Log, Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.Namespace, Name: Lease},
			Client:     clients.Typed.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Replica},
		}},
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

// toldLock tells once when the Lease cannot be reached: then nobody writes.
type toldLock struct {
	resourcelock.Interface
	log        *slog.Logger
	complained bool
}

// Get is Interface's.
func (l *toldLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if !apierrors.IsNotFound(err) { // one that is not there is made
		l.tell(ctx, err)
	}
	return record, raw, err
}

// Create is Interface's.
func (l *toldLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, r)
	l.tell(ctx, err)
	return err
}

// Update is Interface's.
func (l *toldLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Update(ctx, r)
	if !apierrors.IsConflict(err) { // another replica was faster
		l.tell(ctx, err)
	}
	return err
}

func (l *toldLock) tell(ctx context.Context, err error) {
	if err != nil && !l.complained && ctx.Err() == nil {
		l.log.Warn("the Lease cannot be had; while no replica has it, what became of objects is not told on them", "lease", Lease, "cause", err)
	}
	l.complained = err != nil
}
