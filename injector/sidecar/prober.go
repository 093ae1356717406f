package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wasmesh/wasmesh/injector/redirect"
	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

const (
	// maxProbeBody is what is read of an application's answer; none is passed on.
	maxProbeBody = 10 << 10
	maxRedirects = 10
	// longestProbe bounds what has no bound of its own: a hook that the kubelet
	// has given up.
	longestProbe = 10 * time.Minute
)

// prober does to the application what the kubelet would do, from inside of the
// pod, as the kubelet is no member of the mesh. Anybody in the cluster can ask, so
// it is no way around the policy: it does what the pod's own probes say and
// nothing of what the asker sends, one at a time for each probe, and answers with
// a status and a phrase of its own, never with what the application sent.
type prober struct {
	actions map[string]probe.Action
	// pod is the address of the pod: what listens on loopback only, a kubelet
	// could not reach either.
	pod    string
	shared shared
}

func (p *prober) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action, ok := p.actions[r.URL.Path]
	if !ok || r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	limit := longestProbe
	if action.Seconds > 0 {
		limit = time.Duration(action.Seconds) * time.Second
	}
	agent := kubeletAgent(r.UserAgent())
	code, err, ok := p.shared.ask(r.Context(), r.URL.Path, func() (int, error) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		return p.do(ctx, action, agent)
	})
	if ok && err != nil {
		http.Error(w, err.Error(), code)
	}
}

// kubeletAgent is what is passed on of who asks: applications know their kubelet
// by "kube-probe/" and two numbers.
func kubeletAgent(agent string) string {
	const prefix = "kube-probe/"
	version, ok := strings.CutPrefix(agent, prefix)
	if !ok || len(version) > len("1.999+") || strings.Trim(version, "0123456789.+") != "" {
		return prefix
	}
	return agent
}

// do returns the code for the kubelet, and why the probe failed.
func (p *prober) do(ctx context.Context, a probe.Action, agent string) (code int, err error) {
	switch {
	case a.HTTP != nil:
		return p.http(ctx, *a.HTTP, agent)
	case a.TCP != nil:
		conn, err := dialApplication(ctx, "tcp", p.at(a.TCP.Host, a.TCP.Port))
		if err != nil {
			return http.StatusServiceUnavailable, reason(err)
		}
		_ = conn.Close()
		return http.StatusOK, nil
	case a.GRPC != nil:
		if err := p.grpc(ctx, *a.GRPC, agent); err != nil {
			return http.StatusServiceUnavailable, err
		}
		return http.StatusOK, nil
	}
	return http.StatusInternalServerError, errors.New("the probe says nothing to do")
}

func (p *prober) at(host string, port int) string {
	if host == "" {
		host = p.pod
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// dialApplication comes from the address that a sidecar has inside of its pod;
// from another one it would be redirected to itself.
func dialApplication(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	if a, err := netip.ParseAddr(host); err == nil && !a.IsLoopback() {
		from := redirect.Inside4
		if a.Is6() {
			from = redirect.Inside6
		}
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	return d.DialContext(ctx, network, address)
}

func (p *prober) http(ctx context.Context, a probe.HTTP, agent string) (int, error) {
	request, err := p.request(ctx, a, agent)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	client := http.Client{
		Transport: &http.Transport{
			DialContext: dialApplication, DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as a kubelet does: it has no roots of the application
		},
		CheckRedirect: sameHost,
	}
	response, err := client.Do(request)
	if err != nil {
		return http.StatusServiceUnavailable, reason(err)
	}
	defer response.Body.Close()
	// An answer that breaks off is none.
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxProbeBody)); err != nil {
		return http.StatusServiceUnavailable, reason(err)
	}
	switch {
	case response.StatusCode >= 400:
		return response.StatusCode, fmt.Errorf("the application answered %d", response.StatusCode)
	case response.StatusCode < 200:
		return http.StatusServiceUnavailable, fmt.Errorf("the application answered %d", response.StatusCode)
	}
	return http.StatusOK, nil
}

func (p *prober) request(ctx context.Context, a probe.HTTP, agent string) (*http.Request, error) {
	target, err := url.Parse(a.Path)
	if err != nil {
		// A kubelet takes it for a path as it stands.
		target = &url.URL{Path: a.Path}
	}
	target.Scheme, target.Host = "http", p.at(a.Host, a.Port)
	if a.TLS {
		target.Scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "*/*")
	request.Header.Set("User-Agent", agent)
	set := map[string]bool{}
	for _, h := range a.Headers {
		name := http.CanonicalHeaderKey(h[0])
		switch {
		case name == "Host":
			request.Host = h[1]
		case !set[name] && h[1] == "" && (name == "Accept" || name == "User-Agent"):
			request.Header[name] = nil // asked for without
		case !set[name]:
			request.Header.Set(name, h[1])
		default:
			request.Header.Add(name, h[1])
		}
		set[name] = true
	}
	return request, nil
}

// sameHost follows redirections as a kubelet does: one to another host is an
// answer that suffices, and is not followed.
func sameHost(request *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= maxRedirects:
		return fmt.Errorf("stopped after %d redirections", maxRedirects)
	case request.URL.Hostname() != via[0].URL.Hostname():
		return http.ErrUseLastResponse
	}
	request.Host = via[0].Host
	return nil
}

// reason says in a phrase why there was no answer: an error of the HTTP client may
// repeat what the application sent.
func reason(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("the application did not answer in time")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("the application does not listen there")
	}
	return errors.New("the application gave no answer that can be read")
}
