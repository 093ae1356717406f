package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/wasm-registry/oci"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	// pullTimeout bounds one try to fetch a module, and pullAgain is when it is
	// tried once more.
	pullTimeout = 2 * time.Minute
	pullAgain   = 5 * time.Second
)

// wish names a module as a filter does: the image that holds it, its sha256, or
// both.
type wish struct{ image, module string }

// images brings the modules that filters wish for. It never judges or keeps one.
// It belongs to the loop.
type images struct {
	// get fetches a module; an error that wraps errPassing may pass.
	get  func(context.Context, wish) ([]byte, error)
	log  *slog.Logger
	work map[wish]*attempt
}

// attempt is the work to bring one module. It goes on until that is there or can
// never be. found tells the outcome of each try; outcome is the last one that was
// heard.
type attempt struct {
	cancel  context.CancelFunc
	found   chan pulled
	outcome *pulled
}

// pulled is a module with its digest, or why there is none.
type pulled struct {
	digest string
	wasm   []byte
	err    error
}

// errPassing wraps what is not a module's fault, and may pass.
var errPassing = errors.New("it is tried again every few seconds")

func newImages(get func(context.Context, wish) ([]byte, error), log *slog.Logger) *images {
	return &images{get: get, log: log, work: map[wish]*attempt{}}
}

// want makes these the wishes there are. again is signalled when there is more to
// know.
func (i *images) want(ctx context.Context, wishes []wish, again chan<- struct{}) {
	for w, a := range i.work {
		if !slices.Contains(wishes, w) {
			a.cancel()
			delete(i.work, w)
		}
	}
	for _, w := range wishes {
		if i.work[w] == nil {
			i.log.Info("the module of a filter is being fetched", "image", w.image, "module", w.module)
			i.work[w] = i.begin(ctx, w, again)
		}
	}
}

func (i *images) begin(ctx context.Context, w wish, again chan<- struct{}) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{cancel: cancel, found: make(chan pulled, 1)}
	go func() {
		defer close(a.found)
		for {
			wasm, err := i.get(ctx, w)
			select {
			case a.found <- pulled{store.Digest(wasm), wasm, err}:
			case <-ctx.Done():
				return
			}
			signal(again)
			if !errors.Is(err, errPassing) || !sleep(ctx, pullAgain) {
				return
			}
		}
	}()
	return a
}

// sleep reports whether the time went by before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// known returns what has become of a wish, nil while nothing is known.
func (i *images) known(w wish) *pulled {
	a := i.work[w]
	if a == nil {
		return nil
	}
	select {
	case o, more := <-a.found:
		if more {
			a.outcome = &o
		}
	default:
	}
	return a.outcome
}

// close returns when nothing is fetched any more.
func (i *images) close() {
	for _, a := range i.work {
		a.cancel()
		for range a.found {
		}
	}
}

// puller gets modules from where they are. It is used by several goroutines and
// has no state but its folders.
type puller struct {
	// manifests is the folder beside which relative layouts are looked for. Where
	// there is none no layout is read: whoever may write a WasmFilter into a cluster
	// has no business with this machine's files.
	manifests string
	// insecure are the registries that may be on this machine and in the clear.
	insecure []string
	store    store.Store
	// known is a folder that remembers which module an image held: what a digest
	// names never changes, so a registry is asked once, and need not be there when
	// a control plane starts anew.
	known string
}

func (p puller) get(ctx context.Context, w wish) ([]byte, error) {
	digest := w.module
	if digest == "" {
		digest = p.recall(w.image)
	}
	if wasm, err := os.ReadFile(p.store.Path(digest)); err == nil && store.Digest(wasm) == digest {
		return wasm, nil
	}
	if w.image == "" {
		return nil, fmt.Errorf("no module with the sha256 %s is here: give its image too, or put it into the folder of modules; %w", w.module, errPassing)
	}
	wasm, err := p.pull(ctx, w.image)
	if err != nil {
		return nil, err
	}
	if digest = store.Digest(wasm); w.module != "" && w.module != digest {
		return nil, fmt.Errorf("the module of %s has the sha256 %s, and %s is wanted", w.image, digest, w.module)
	}
	// Not to remember costs another pull, nothing else.
	_ = p.remember(w.image, digest)
	return wasm, nil
}

func (p puller) pull(ctx context.Context, image string) ([]byte, error) {
	r, err := oci.ParseReference(image)
	if err != nil {
		return nil, err
	}
	if r.Folder != "" && p.manifests == "" {
		return nil, fmt.Errorf("image %s is a folder, and this control plane serves a cluster: push it to a registry", image)
	}
	if r.Folder != "" && !filepath.IsAbs(r.Folder) {
		r.Folder = filepath.Join(p.manifests, r.Folder)
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	insecure := slices.Contains(p.insecure, r.Host)
	m, err := oci.Client{PlainHTTP: insecure, AllowLoopback: insecure}.Pull(ctx, r)
	if err != nil && !errors.Is(err, oci.ErrNoModule) {
		return nil, fmt.Errorf("%w; %w", err, errPassing)
	}
	return m.Wasm, err
}

// record is the file for an image, by the digest in its name.
func (p puller) record(image string) string {
	return filepath.Join(p.known, url.QueryEscape(image[strings.LastIndex(image, "@")+1:]))
}

func (p puller) recall(image string) string {
	digest, err := os.ReadFile(p.record(image))
	if err != nil {
		return ""
	}
	return string(digest)
}

func (p puller) remember(image, digest string) error {
	if err := os.MkdirAll(p.known, 0o700); err != nil {
		return err
	}
	return os.WriteFile(p.record(image), []byte(digest), 0o600)
}
