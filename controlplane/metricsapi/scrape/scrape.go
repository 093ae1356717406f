// Package scrape reads traffic from the sidecars themselves, where there is no
// Prometheus: each is asked now and then, and the last minutes are kept in memory.
//
// What is kept, and what it means, is metricsapi's. It never believes a sidecar to
// be another than its certificate says, never lets one that hangs keep others from
// being read, and never shows one that was not read as idle.
package scrape

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
)

const (
	// Keep is how long scrapes are kept, and the longest window.
	Keep = 5 * time.Minute
	// DefaultInterval is between two scrapes of one sidecar.
	DefaultInterval = 10 * time.Second
	// longestScrape bounds one; most take milliseconds.
	longestScrape = 2 * time.Second
	// atATime are sidecars that are asked at once.
	atATime = 32
	// Path is what is asked for; the filter leaves out what is not of traffic.
	Path   = "/stats/prometheus"
	filter = `^(wasmcustom\.osm_.*|server\.uptime)$`
)

// Target is one sidecar.
type Target struct {
	// Workload is whom its certificate must name, Peer whom its metrics are of.
	Workload mesh.Name
	Peer     metricsapi.Peer
	// Address is where it is asked; the zero value: nowhere, for the given Cause.
	Address netip.AddrPort
	Cause   string
}

// Options say who is asked and how.
type Options struct {
	// Targets are the sidecars of the moment.
	Targets func() []Target
	// TLS is the control plane's side. It must refuse whoever is no workload.
	TLS *tls.Config
	// Is reports an error unless a verified connection leads to that workload.
	Is       func(tls.ConnectionState, mesh.Name) error
	Interval time.Duration
	Log      *slog.Logger
}

// Source keeps what sidecars told.
type Source struct {
	options Options
	client  *http.Client

	mu     sync.Mutex
	window *metricsapi.Window
	// failed are those that did not answer the last time, with the moment at which
	// they were asked; the zero time: there was no room for them.
	failed map[metricsapi.Peer]time.Time
}

// New returns a source that knows nothing until Run.
func New(o Options) *Source {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	return &Source{
		options: o, window: metricsapi.NewWindow(Keep, o.Interval), failed: map[metricsapi.Peer]time.Time{},
		client: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig: o.TLS, TLSHandshakeTimeout: longestScrape, ResponseHeaderTimeout: longestScrape,
				MaxIdleConnsPerHost: 1, MaxConnsPerHost: 1, IdleConnTimeout: 3 * o.Interval, MaxResponseHeaderBytes: 16 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// String names it for people.
func (s *Source) String() string { return "the control plane" }

// Bounds are the shortest and the longest window.
func (s *Source) Bounds() (time.Duration, time.Duration) { return s.options.Interval, Keep }

// Traffic is what is known of the window that ends now.
func (s *Source) Traffic(_ context.Context, a api.Asked) (metricsapi.Traffic, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window.Traffic(a.Window, time.Now()), nil
}

// Run asks all sidecars at every interval until ctx ends.
func (s *Source) Run(ctx context.Context) {
	ticker := time.NewTicker(s.options.Interval)
	defer ticker.Stop()
	defer s.client.CloseIdleConnections()
	for {
		s.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// round asks everybody once, within an interval. Those that did not answer the last
// time come last, so that they take the time of nobody else, and of them that first
// which was asked longest ago, so that each gets its turn.
func (s *Source) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Interval)
	defer cancel()
	targets := s.options.Targets()
	s.retain(targets)
	queue := make(chan Target)
	var workers sync.WaitGroup
	for range min(atATime, len(targets)) {
		workers.Go(func() {
			for t := range queue {
				s.one(ctx, t)
			}
		})
	}
	for _, t := range targets {
		queue <- t // whoever works on them ends with ctx at the latest
	}
	close(queue)
	workers.Wait()
}

// retain forgets who is gone, and sorts.
func (s *Source) retain(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := map[metricsapi.Peer]bool{}
	for _, t := range targets {
		present[t.Peer] = true
	}
	s.window.Retain(present)
	slices.SortStableFunc(targets, func(a, b Target) int {
		atA, failedA := s.failed[a.Peer]
		atB, failedB := s.failed[b.Peer]
		switch {
		case failedA == failedB:
			return atA.Compare(atB)
		case failedB:
			return -1
		}
		return 1
	})
	for p := range s.failed {
		if !present[p] {
			delete(s.failed, p)
		}
	}
}

func (s *Source) one(ctx context.Context, t Target) {
	began, late := time.Now(), ctx.Err() != nil
	scraped, err := s.scrape(ctx, t)
	at := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.window.Add(t.Peer, scraped, at)
		delete(s.failed, t.Peer)
		return
	}
	last, again := s.failed[t.Peer]
	if late { // it was not asked: what was known of it still holds
		began = last
	}
	if !late || !again {
		s.window.Fail(t.Peer, "could not be read: "+err.Error())
	}
	if !again {
		s.options.Log.Warn("metrics: a sidecar cannot be read", "workload", t.Workload.String(), "reason", err)
	}
	s.failed[t.Peer] = began
}

func (s *Source) scrape(ctx context.Context, t Target) (metricsapi.Scrape, error) {
	if !t.Address.IsValid() {
		return metricsapi.Scrape{}, errors.New(t.Cause)
	}
	ctx, cancel := context.WithTimeout(ctx, longestScrape)
	defer cancel()
	address := url.URL{Scheme: "https", Host: t.Address.String(), Path: Path, RawQuery: url.Values{"filter": {filter}}.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return metricsapi.Scrape{}, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return metricsapi.Scrape{}, reason(err)
	}
	defer response.Body.Close()
	// A connection that is used again leads to whom it led before, whoever has its
	// address by now.
	if response.TLS == nil {
		return metricsapi.Scrape{}, errors.New("it answers without TLS")
	}
	if err := s.options.Is(*response.TLS, t.Workload); err != nil {
		s.client.CloseIdleConnections()
		return metricsapi.Scrape{}, err
	}
	if response.StatusCode != http.StatusOK {
		return metricsapi.Scrape{}, fmt.Errorf("its sidecar answers %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, metricsapi.MaxScrape+1))
	if err != nil {
		return metricsapi.Scrape{}, reason(err)
	}
	return metricsapi.ReadScrape(text)
}

// reason is short, and the same again as long as the cause is.
func reason(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		err = of.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("its sidecar did not answer in time")
	}
	return err
}
