// Package prometheus reads traffic from a Prometheus that scrapes the sidecars.
//
// It asks and bounds; what questions and answers mean is metricsapi's. It never
// writes to Prometheus, never follows it elsewhere, and never waits for longer
// than who asks.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi/api"
)

// The bounds of a window. What is longer than a day costs Prometheus more than an
// answer is worth that is thrown away.
const (
	shortest = time.Second
	longest  = 24 * time.Hour
)

// Source is one Prometheus.
type Source struct {
	query  string
	host   string
	client *http.Client
}

// New returns the source at a URL such as http://prometheus.monitoring:9090; it
// asks nothing yet.
func New(base string) (*Source, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return nil, fmt.Errorf("address of Prometheus: it must look like http://host:9090")
	}
	return &Source{
		query: u.JoinPath("api/v1/query").String(), host: u.Host,
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// String names it without what may be secret in its URL.
func (s *Source) String() string { return "Prometheus at " + s.host }

// Bounds are the shortest and the longest window.
func (s *Source) Bounds() (time.Duration, time.Duration) { return shortest, longest }

// Traffic asks for the window that ends now.
func (s *Source) Traffic(ctx context.Context, a api.Asked) (metricsapi.Traffic, error) {
	now := time.Now()
	q := metricsapi.Ask(a.Window, a.Namespace, a.Out, a.Pods)
	var answers metricsapi.Answers
	var failures [3]error
	var all sync.WaitGroup
	for i, one := range []struct {
		query string
		into  *[]byte
	}{{q.Requests, &answers.Requests}, {q.Durations, &answers.Durations}, {q.Samples, &answers.Samples}} {
		all.Go(func() { *one.into, failures[i] = s.ask(ctx, one.query, now) })
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			return metricsapi.Traffic{}, err
		}
	}
	return metricsapi.ReadAnswers(answers, now)
}

// ask returns an answer's text. One that tells an error of Prometheus comes with a
// status of its own and is an answer too.
func (s *Source) ask(ctx context.Context, query string, at time.Time) ([]byte, error) {
	form := url.Values{"query": {query}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	if deadline, ok := ctx.Deadline(); ok {
		form.Set("timeout", fmt.Sprintf("%dms", max(1, time.Until(deadline).Milliseconds())))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.query, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, cause(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, metricsapi.MaxAnswer+1))
	if err != nil {
		return nil, cause(err)
	}
	if response.StatusCode != http.StatusOK && !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		return nil, fmt.Errorf("it answers %s; is it a Prometheus?", response.Status)
	}
	return text, nil
}

// cause leaves out the URL, which may hold a password, and who asked has no use
// for.
func cause(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
