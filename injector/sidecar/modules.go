package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/wasm-registry/fetch"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

const (
	// newsWait is how long a question for news stays open: what is named anew is
	// known at once.
	newsWait = 45 * time.Second
	// firstModules bounds what Envoy's start waits for modules. Without them it
	// starts all the same, and denies.
	firstModules = 10 * time.Second
	// firstWait is for a control plane that is starting too.
	firstWait     = 5 * time.Second
	firstFetch    = 200 * time.Millisecond
	slowestFetch  = 10 * time.Second
	modulesFolder = "modules" // of the state folder
)

// prefetcher brings modules before Envoy is told to load them.
type prefetcher struct {
	fetcher *fetch.Fetcher
	log     *slog.Logger
}

// openModules takes the folder in which Envoy finds modules. Without a registry
// somebody else fills it, and there is nothing to fetch.
func (o Options) openModules(run *runDir) (*prefetcher, error) {
	dir := o.ModulesDir
	if dir == "" && o.Registry != "" {
		dir = filepath.Join(o.StateDir, modulesFolder)
	}
	if err := run.linkModules(dir); err != nil || o.Registry == "" {
		return nil, err
	}
	kept, err := store.Open(dir)
	if err != nil {
		// Envoy starts without, and denies; the folder is tried again.
		o.Log.Error("modules cannot be kept", "reason", err)
		kept = store.At(dir)
	}
	return &prefetcher{log: o.Log, fetcher: &fetch.Fetcher{
		URL: "https://" + o.Registry, Store: kept,
		Transport: func() (http.RoundTripper, error) { return memberTransport(run) },
	}}, nil
}

// first gets what is named now, so that a cold start finds it there. It gives up
// early: Envoy can start without, and go on with a module of before.
func (p *prefetcher) first(ctx context.Context) {
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstModules)
	defer cancel()
	p.repeat(ctx, true)
}

// follow brings what is named anew until ctx ends.
func (p *prefetcher) follow(ctx context.Context) {
	if p != nil {
		p.repeat(ctx, false)
	}
}

// repeat fetches, with growing pauses while that fails, until it is done once or
// for ever. What is wrong is told when it begins, and when it changes.
func (p *prefetcher) repeat(ctx context.Context, once bool) {
	pause, told := firstFetch, ""
	for ctx.Err() == nil {
		wait := newsWait
		if once {
			wait = firstWait
		}
		fetched, err := p.fetcher.Once(ctx, wait)
		for _, digest := range fetched {
			p.log.Info("module received", "module", digest)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if told != "" {
				p.log.Info("modules are fetched again")
			}
			if pause, told = firstFetch, ""; once {
				return
			}
			continue
		}
		if err.Error() != told {
			p.log.Warn("modules cannot be fetched; going on with those that are here, and trying again", "reason", err)
			told = err.Error()
		}
		if !sleepUntil(ctx, time.Now().Add(time.Duration(float64(pause)*(0.8+0.4*mathrand.Float64())))) {
			return
		}
		pause = min(2*pause, slowestFetch)
	}
}

// memberTransport proves who we are with what Envoy has at this moment.
func memberTransport(run *runDir) (http.RoundTripper, error) {
	key, chain, roots, err := delivered(run)
	if err != nil {
		return nil, err
	}
	config, err := ca.MemberTLS(key, chain, roots)
	if err != nil {
		return nil, err
	}
	return &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, TLSHandshakeTimeout: slowestStart}, nil
}

// delivered reads back what deliver wrote.
func delivered(run *runDir) (key, chain, roots []byte, err error) {
	type inline struct {
		Text string `json:"inline_string"`
	}
	type file struct {
		Resources []struct {
			Certificate struct {
				Chain inline `json:"certificate_chain"`
				Key   inline `json:"private_key"`
			} `json:"tls_certificate"`
			Validation struct {
				Roots inline `json:"trusted_ca"`
			} `json:"validation_context"`
		} `json:"resources"`
	}
	var identity, trust file
	for name, into := range map[string]*file{IdentityFile: &identity, TrustFile: &trust} {
		data, err := os.ReadFile(run.file(name))
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err == nil && len(into.Resources) != 1 {
			err = fmt.Errorf("%d secrets instead of one", len(into.Resources))
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("the sidecar's own %s: %w", name, err)
		}
	}
	certificate := identity.Resources[0].Certificate
	return []byte(certificate.Key.Text), []byte(certificate.Chain.Text), []byte(trust.Resources[0].Validation.Roots.Text), nil
}
