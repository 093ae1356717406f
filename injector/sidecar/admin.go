package sidecar

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	adminTimeout = 5 * time.Second
	maxAdmin     = 64 << 20 // bytes of an answer; a dump of 1,000 listeners has a few MB
)

// Admin talks to the admin interface of an Envoy over its Unix socket.
type Admin struct {
	// Socket is the path of the socket: AdminSocket in the run folder.
	Socket string
}

// Get returns what Envoy answers to a path such as "/stats?filter=x". An answer
// other than 200 is an error.
func (a Admin) Get(ctx context.Context, path string) ([]byte, error) {
	return a.do(ctx, http.MethodGet, path)
}

// Post asks Envoy to do something.
func (a Admin) Post(ctx context.Context, path string) error {
	_, err := a.do(ctx, http.MethodPost, path)
	return err
}

func (a Admin) do(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("envoy admin %s: %w", path, err)
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", a.Socket)
		},
	}}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("envoy admin at %s: %w; is the sidecar running?", a.Socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAdmin))
	if err != nil {
		return nil, fmt.Errorf("envoy admin %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("envoy admin %s answered %s: %.200s", path, response.Status, body)
	}
	return body, nil
}
