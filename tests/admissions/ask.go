package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/injector/webhook"
)

// asker is an API server: it keeps its connections.
type asker struct {
	url       string
	body      []byte
	transport *http.Transport
}

func newAsker(i *injector) *asker {
	return &asker{url: i.at.URL, body: review(), transport: &http.Transport{
		TLSClientConfig: i.tls, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: slices.Max(rounds),
	}}
}

func (a *asker) close() { a.transport.CloseIdleConnections() }

func (a *asker) askAll(ctx context.Context, clients, pods int) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([][]time.Duration, clients)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for range pods / clients {
				began := time.Now()
				if err := a.ask(ctx); err != nil {
					cancel(err)
					return
				}
				times[c] = append(times[c], time.Since(began))
			}
		})
	}
	all.Wait()
	return slices.Concat(times...), context.Cause(ctx)
}

// ask has one pod admitted, and believes no answer without a sidecar.
func (a *asker) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(a.body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"allowed":true`)) || !bytes.Contains(body, []byte(`"patch":"`)) {
		return fmt.Errorf("HTTP %d: %.300s", response.StatusCode, body)
	}
	return nil
}

// review is a question about a pod of ordinary size.
func review() []byte {
	var containers []string
	for _, name := range []string{"a", "b", "c"} {
		env := strings.Repeat(`{"name":"SOME_VARIABLE","value":"with a value of some length"},`, 30)
		containers = append(containers, `{"name":"`+name+`","image":"app:1","ports":[{"name":"http","containerPort":8080}],"env":[`+strings.TrimSuffix(env, ",")+`],
"readinessProbe":{"httpGet":{"path":"/ok","port":"http"}},"livenessProbe":{"tcpSocket":{"port":8080}}}`)
	}
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",
"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"namespace":"shop","operation":"CREATE",
"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[%s]}}}}`, strings.Join(containers, ","))
}

// path is where an injector is asked.
const path = webhook.Path
