package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// The applications, and the service that is split.
const (
	AppA, AppB, AppC = "app-a", "app-b", "app-c"
	AppSvc           = "app-svc"
)

func urlOf(service, path string) string {
	return fmt.Sprintf("http://%s.%s:%d%s", service, Namespace, Port, path)
}

// applies makes these policies hold and no others.
func applies(policies ...string) func(Bed) error {
	return func(b Bed) error { return b.Apply(policies...) }
}

// knows wants the mesh to know a kind, and to run a policy of it beside others.
func knows(k Kind, policy string, others ...string) func(Bed) error {
	return func(b Bed) error { return b.Knows(k, policy, others...) }
}

// ready wants every application to answer and every sidecar to have all it needs.
func ready(names ...string) func(Bed) error {
	return func(b Bed) error {
		for _, name := range names {
			if _, err := recordedBy(b, name); err != nil {
				return err
			}
			if err := b.Ready(name); err != nil {
				return err
			}
		}
		return nil
	}
}

// fronts wants a service to stand for exactly these applications.
func fronts(service string, names ...string) func(Bed) error {
	return func(b Bed) error {
		found, err := b.Behind(service)
		if err != nil {
			return err
		}
		if !slices.Equal(found, names) {
			return fmt.Errorf("behind %s are %q, want %q", service, found, names)
		}
		return nil
	}
}

// call has one application call a service.
func call(b Bed, from, method, url string) error {
	text, err := json.Marshal(order{URL: url, Method: method})
	if err != nil {
		return err
	}
	answer, err := ask(b, from, http.MethodPost, "/call", text)
	if err != nil {
		return fmt.Errorf("%s could not call %s: %w %s", from, url, err, bytes.TrimSpace(answer))
	}
	return nil
}

// ask sends one request to an application itself and returns the body of the
// answer; an answer other than 200 is an error.
func ask(b Bed, app, method, path string, body []byte) ([]byte, error) {
	client, url, err := b.Reach(app)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s is answered %d", method, url+path, answer.StatusCode)
	}
	return text, err
}

// forget clears what the applications have recorded.
func forget(b Bed) error {
	for _, name := range []string{AppA, AppB, AppC} {
		if _, err := ask(b, name, http.MethodDelete, "/metrics", nil); err != nil {
			return err
		}
	}
	return nil
}

func recordedBy(b Bed, name string) (metrics, error) {
	var m metrics
	answer, err := ask(b, name, http.MethodGet, "/metrics", nil)
	if err == nil {
		err = json.Unmarshal(answer, &m)
	}
	return m, err
}

// calls has A call B once and compares what both recorded. What is blocked must
// have been answered, must be filed as failed, and must not have reached B.
func calls(method, path string, allowed bool) func(Bed) error {
	return func(b Bed) error {
		url := urlOf(AppB, path)
		if err := errors.Join(forget(b), call(b, AppA, method, url)); err != nil {
			return err
		}
		a, err := recordedBy(b, AppA)
		if err != nil {
			return err
		}
		server, err := recordedBy(b, AppB)
		if err != nil {
			return err
		}
		filed, other, received := a.RespFailed, a.RespSucceeded, []string(nil)
		if allowed {
			filed, other = other, filed
			if path == "/echo" {
				received = []string{AppA}
			}
		}
		if len(filed) != 1 || len(other) != 0 || filed[0].URL != url {
			return fmt.Errorf("allowed %v is wanted for %s %s, and A has filed %+v as succeeded and %+v as failed",
				allowed, method, url, a.RespSucceeded, a.RespFailed)
		}
		if !allowed && filed[0].Status != http.StatusForbidden {
			return fmt.Errorf("%s %s is answered %d, not by the policy", method, url, filed[0].Status)
		}
		if !slices.Equal(server.ReqReceived, received) {
			return fmt.Errorf("requests of %q are at B, want %q", server.ReqReceived, received)
		}
		return nil
	}
}

// both runs two steps as one, as the suite has it.
func both(first, second func(Bed) error) func(Bed) error {
	return func(b Bed) error { return errors.Join(first(b), second(b)) }
}

// spreads has A call the root service n times and judges how many arrived where.
func spreads(n int, fair func(atB, atC int) bool) func(Bed) error {
	return func(b Bed) error {
		if err := forget(b); err != nil {
			return err
		}
		for range n {
			if err := call(b, AppA, http.MethodGet, urlOf(AppSvc, "/echo")); err != nil {
				return err
			}
		}
		var arrived []int
		for _, name := range []string{AppB, AppC} {
			m, err := recordedBy(b, name)
			if err != nil {
				return err
			}
			arrived = append(arrived, len(m.ReqReceived))
		}
		if atB, atC := arrived[0], arrived[1]; atB+atC != n || !fair(atB, atC) {
			return fmt.Errorf("of %d calls %d arrived at B and %d at C", n, atB, atC)
		}
		return nil
	}
}
