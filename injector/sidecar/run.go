package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

const (
	readyPoll   = 100 * time.Millisecond
	readyRemind = 10 * time.Second
)

// Options are what one sidecar is started with. None of the paths needs to be
// absolute.
type Options struct {
	// JoinURL is https://host:port of the control plane's join endpoint.
	JoinURL string
	// XDS is host:port of the control plane's configuration endpoint.
	XDS string
	// Token is the join token; only the first start needs one.
	Token string
	// RootsFile has the roots of the mesh (PEM) if a platform, such as Kubernetes,
	// vouches for this workload with the token in TokenFile and keeps both fresh.
	// Token is not used then, and no credential is kept.
	RootsFile, TokenFile string
	// StateDir keeps the renewal credential.
	StateDir string
	// RunDir keeps the key while the sidecar runs; empty chooses one in memory.
	RunDir string
	// Registry is host:port of the control plane's module endpoint; empty: modules
	// are not fetched, and somebody else fills ModulesDir.
	Registry string
	// ModulesDir keeps the filter modules, by digest, between runs; empty: a folder
	// of StateDir.
	ModulesDir string
	// Envoy is the path of the binary.
	Envoy string
	// Concurrency is the number of Envoy's worker threads.
	Concurrency int
	// LogLevel is Envoy's.
	LogLevel string
	// Drain is how long open requests may take to finish at the end.
	Drain time.Duration
	// Health and Probes are addresses at which a kubelet asks how the sidecar and
	// how the application is; empty: nowhere.
	Health, Probes string
	// AppProbes are what is done to the application, by the path asked for at Probes.
	AppProbes map[string]probe.Action
	// PodIP is the address at which the application is probed.
	PodIP string
	// Stdout gets one line, "ready", and Envoy's access log. Stderr gets what Envoy
	// says besides.
	Stdout, Stderr io.Writer
	Log            *slog.Logger
}

// Run runs Envoy as a member of the mesh until ctx ends, and returns nil if that
// is why it ended. However it returns, Envoy has ended and the key is gone.
func Run(ctx context.Context, o Options) (err error) {
	if o.Envoy, err = filepath.Abs(o.Envoy); err != nil {
		return err
	}
	if o.StateDir, err = filepath.Abs(o.StateDir); err != nil {
		return err
	}
	release, err := openState(o.StateDir)
	if err != nil {
		return err
	}
	defer release()
	run, err := openRunDir(o.RunDir, o.StateDir, o.Log)
	if err != nil {
		return err
	}
	defer func() {
		if closed := run.close(); closed != nil {
			err = errors.Join(err, fmt.Errorf("the run folder could not be cleared, remove it by hand: %w", closed))
		}
	}()
	modules, err := o.openModules(run)
	if err != nil {
		return err
	}
	e := &enrolment{proof: o.proof(), run: run, admin: Admin{run.file(AdminSocket)}, log: o.Log}
	endHealth, err := o.serveHealth(&health{admin: e.admin, lack: &e.lack, stopping: ctx})
	if err != nil {
		return err
	}
	defer endHealth()
	first, err := e.start(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	bootstrap, err := Bootstrap(Config{
		Workload: first.Workload.String(), ServiceAccount: first.ServiceAccount.String(),
		TrustDomain: first.TrustDomain, XDS: o.XDS, RunDir: run.path,
	})
	if err != nil {
		return err
	}
	if err := durable.Write(run.file(BootstrapFile), bootstrap); err != nil {
		return err
	}
	own, err := ownEnvironment(first.Certificates)
	if err != nil {
		return err
	}
	modules.first(ctx)
	return o.guard(ctx, run, own, e, modules)
}

// proof is by the platform's token if the platform gives the roots too.
func (o Options) proof() proof {
	client := ca.Client{URL: o.JoinURL}
	if o.RootsFile != "" {
		return &attested{client: client, tokenFile: o.TokenFile, rootsFile: o.RootsFile, log: o.Log}
	}
	return &joined{client: client, token: o.Token, stateDir: o.StateDir, log: o.Log}
}

// guard starts Envoy and stays with it: whichever of the three ends first, the
// others are ended too.
func (o Options) guard(ctx context.Context, run *runDir, own []string, e *enrolment, modules *prefetcher) error {
	p, err := startProxy(o.Envoy, o.arguments(run), own, run, o.Stdout, o.Stderr)
	if err != nil {
		return err
	}
	working, stopWorking := context.WithCancel(ctx)
	renewing, announced, fetched := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() { renewing <- e.keepFresh(working) }()
	go func() { defer close(announced); o.announce(working, p.admin) }()
	go func() { defer close(fetched); modules.follow(working) }()
	var outcome error
	renewed := false
	select {
	case <-ctx.Done():
		o.Log.Info("stopping", "drain", o.Drain)
	case outcome = <-renewing:
		renewed = true
	case <-p.ended:
		outcome = p.died()
	}
	// Nothing writes to the run folder after this.
	stopWorking()
	<-announced
	<-fetched
	if !renewed {
		<-renewing
	}
	p.stop(o.Drain, o.Log)
	return outcome
}

// listenerDrain is how long Envoy leaves the connections of a listener that an
// edit changed, such as that of a split on an opaque port. What may pass on them
// is decided by the filters, which change at once.
const listenerDrain = 10 * time.Minute

func (o Options) arguments(run *runDir) []string {
	return []string{
		"--config-path", run.file(BootstrapFile),
		"--concurrency", strconv.Itoa(o.Concurrency),
		"--log-level", o.LogLevel,
		// The access log is read while something happens; Envoy's own ten seconds are
		// too long for that.
		"--file-flush-interval-msec", "1000",
		// There is never a second Envoy to hand over to.
		"--disable-hot-restart",
		// Peers are told to go away at once, not with rising probability: the
		// time for draining may be short.
		"--drain-time-s", strconv.Itoa(int(listenerDrain.Seconds())), "--drain-strategy", "immediate",
	}
}

// announce says once when Envoy is ready, and now and then what it waits for.
func (o Options) announce(ctx context.Context, admin Admin) {
	began := time.Now()
	remind := began.Add(readyRemind)
	for sleepUntil(ctx, time.Now().Add(readyPoll)) {
		ready, waiting, err := admin.Ready(ctx)
		if ready {
			o.Log.Info("ready", "after", time.Since(began).Round(time.Millisecond))
			_, _ = fmt.Fprintln(o.Stdout, "ready")
			return
		}
		if time.Now().Before(remind) || ctx.Err() != nil {
			continue
		}
		if err != nil {
			waiting = err.Error()
		}
		o.Log.Warn("not ready yet", "after", time.Since(began).Round(time.Second), "waiting", waiting)
		remind = time.Now().Add(readyRemind)
	}
}
