package kube

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	// look is how often a kind that is missing is looked for.
	look = 3 * time.Second
	// gone is for how long a kind must be missing before its objects are.
	gone = 30 * time.Second
	// patience is how long a watch may fail before it is told.
	patience = 2 * time.Second
	// firstPause and longestPause lie between two tries to watch. The longest is
	// short, so that changes are caught up with soon after an outage.
	firstPause   = 250 * time.Millisecond
	longestPause = 4 * time.Second
	// callsAtOnce lists and watches of one kind may follow each other, then
	// callsPerSecond: the Reflector does not pause where it is told that its
	// revision is too old, whatever it asks for.
	callsAtOnce    = 5
	callsPerSecond = 2
)

// supply keeps the shelf of one kind filled.
type supply struct {
	feed    feed
	shelf   *shelf
	clients Clients
	log     *slog.Logger
	changed func()

	mu sync.Mutex
	// served is the version that is watched; empty before that is known.
	served string
	// missing is since when the cluster is known not to have the kind; zero while
	// it has it, or nobody knows.
	missing time.Time
	// failing is since when nothing can be watched, and cause why.
	failing time.Time
	cause   string
	// unreachable says that the server did not answer, else it refused.
	unreachable bool
}

func newSupply(f feed, clients Clients, log *slog.Logger, changed func()) *supply {
	return &supply{feed: f, clients: clients, log: log, changed: changed, shelf: &shelf{
		kind: f.kind, slim: f.slim, take: f.take, changed: changed, items: map[mesh.Name]item{},
	}}
}

// run lists and watches until ctx ends.
func (p *supply) run(ctx context.Context) {
	for ctx.Err() == nil {
		version, err := p.version()
		switch {
		case err != nil:
			p.failed(err)
		case version == "":
			p.isMissing()
		default:
			p.reflect(ctx, version)
			continue
		}
		pause(ctx, look)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// version asks the server for the best version it serves; empty if none.
func (p *supply) version() (string, error) {
	if !p.feed.custom {
		return p.feed.versions[0], nil
	}
	for _, v := range p.feed.versions {
		resources, err := p.clients.Discovery.ServerResourcesForGroupVersion(groupVersion(p.feed.group, v).String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		for _, r := range resources.APIResources {
			if r.Name == p.feed.resource {
				return v, nil
			}
		}
	}
	return "", nil
}

// reflect fills the shelf from one version until ctx ends or that is not served
// any more.
func (p *supply) reflect(ctx context.Context, version string) {
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logr.Discard()))
	defer cancel()
	p.mu.Lock()
	p.missing, p.served = time.Time{}, version
	p.mu.Unlock()
	quiet := logr.Discard()
	backoff := wait.Backoff{Duration: firstPause, Factor: 2, Jitter: 0.5, Cap: longestPause, Steps: math.MaxInt32}
	r := cache.NewReflectorWithOptions(p.observed(p.feed.watch(p.clients, version), cancel), p.expected(version), p.shelf,
		cache.ReflectorOptions{Name: p.feed.resource, Logger: &quiet, Backoff: &backoff})
	r.RunWithContext(ctx)
}

// expected is an object of the type that comes; of custom kinds any version may
// be stored, one is served.
func (p *supply) expected(version string) any {
	if p.feed.custom {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(groupVersion(p.feed.group, version).WithKind(p.feed.kind))
		return u
	}
	return p.feed.expected
}

// observed notes whether lists and watches succeed. It ends the watching of a
// custom kind that is not found any more, so that its version is asked for anew,
// and keeps the calls from becoming a storm.
func (p *supply) observed(lw *cache.ListWatch, notFound func()) *cache.ListWatch {
	note := func(ctx context.Context, err error) {
		switch {
		case err == nil:
			p.works()
		case ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTimeout(err):
			// A list follows, or all is over.
		case p.feed.custom && apierrors.IsNotFound(err):
			notFound()
		default:
			p.failed(err)
		}
	}
	calls := flowcontrol.NewTokenBucketRateLimiter(callsPerSecond, callsAtOnce)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			if err := calls.Wait(ctx); err != nil {
				return nil, err
			}
			list, err := lw.ListWithContextFunc(ctx, o)
			note(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if err := calls.Wait(ctx); err != nil {
				return nil, err
			}
			w, err := lw.WatchFuncWithContext(ctx, o)
			note(ctx, err)
			return w, err
		},
	}
}

func (p *supply) works() {
	p.mu.Lock()
	told := p.tells(time.Now())
	p.failing, p.cause = time.Time{}, ""
	p.mu.Unlock()
	if told {
		p.changed()
	}
}

// failed notes that nothing can be watched, and has it told if that lasts. The
// first cause stands for all that follow of its sort.
func (p *supply) failed(err error) {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err // the URL is another one for each kind, and long
	}
	unreachable := apierrors.ReasonForError(err) == metav1.StatusReasonUnknown
	p.mu.Lock()
	first := p.failing.IsZero() || p.unreachable != unreachable
	if first {
		p.failing, p.cause, p.unreachable = time.Now(), err.Error(), unreachable
	}
	p.mu.Unlock()
	if first {
		time.AfterFunc(patience, p.changed)
	}
}

func (p *supply) tells(now time.Time) bool {
	return !p.failing.IsZero() && now.Sub(p.failing) >= patience
}

// isMissing notes that the cluster does not have the kind. Objects that were
// there stay for a while: a server that starts may not know its kinds yet.
func (p *supply) isMissing() {
	p.mu.Lock()
	first := p.missing.IsZero()
	if first {
		p.missing = time.Now()
	}
	long := time.Since(p.missing) >= gone
	p.failing, p.cause = time.Time{}, ""
	p.mu.Unlock()
	if first {
		p.log.Warn("a kind is missing in the cluster", "resource", p.feed.resource+"."+p.feed.group)
		p.changed()
	}
	if long {
		p.shelf.clear()
	}
}

// apiVersion is what objects of the kind carry.
func (p *supply) apiVersion() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return groupVersion(p.feed.group, p.served).String()
}

// settled is true once it is known which objects there are.
func (p *supply) settled() bool {
	p.mu.Lock()
	missing := !p.missing.IsZero()
	p.mu.Unlock()
	return missing || p.shelf.isSynced()
}

// trouble is what there is to tell of the watching of one kind.
type trouble struct {
	missing     bool
	since       time.Time // zero: the watching works
	unreachable bool
	cause       string
}

func (p *supply) trouble(now time.Time) trouble {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := trouble{missing: !p.missing.IsZero()}
	if p.tells(now) {
		t.since, t.unreachable, t.cause = p.failing, p.unreachable, p.cause
	}
	return t
}
