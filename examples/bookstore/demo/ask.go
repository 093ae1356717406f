package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/wasmesh/wasmesh/examples/bookstore/app/tally"
)

const (
	askTimeout = 5 * time.Second
	// maxAnswer is more than an Envoy of this size prints of itself, in bytes.
	maxAnswer = 32 << 20
)

// Socket is a Unix socket on which a part of the mesh tells about itself.
type Socket string

// Ask sends one request and returns the body of its answer; any code but 200 is
// an error.
func (s Socket) Ask(ctx context.Context, method, target string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", string(s))
		},
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://socket"+target, nil)
	if err != nil {
		return nil, err
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s, target, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %.200s", s, target, answer.Status, body)
	}
	return body, nil
}

func (s Socket) askJSON(ctx context.Context, method, target string, into any) error {
	body, err := s.Ask(ctx, method, target)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s %s: %w", s, target, err)
	}
	return nil
}

// App is a running application.
type App struct {
	Process *Process
	Counts  Socket
}

// Report returns what the application has counted.
func (a *App) Report(ctx context.Context) (tally.Report, error) {
	var r tally.Report
	return r, a.Counts.askJSON(ctx, http.MethodGet, "/report", &r)
}

// SetRate changes how many requests per second a client makes. It returns when
// no request of the old rate is begun any more.
func (a *App) SetRate(ctx context.Context, perSecond int) error {
	_, err := a.Counts.Ask(ctx, http.MethodPut, fmt.Sprintf("/rate?per-second=%d", perSecond))
	return err
}

// Pause stops a client and returns once every request it made has its answer.
func (a *App) Pause(ctx context.Context) error {
	if err := a.SetRate(ctx, 0); err != nil {
		return err
	}
	return await(ctx, quietTimeout, "the last answers to "+a.Process.Name, func(ctx context.Context) error {
		r, err := a.Report(ctx)
		if err == nil && r.Flying > 0 {
			err = fmt.Errorf("%d requests have no answer yet", r.Flying)
		}
		return err
	})
}
