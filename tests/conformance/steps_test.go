package conformance

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// The applications, and the service that is split.
const (
	appA, appB, appC = "app-a", "app-b", "app-c"
	appSvc           = "app-svc"
)

func urlOf(service, path string) string {
	return fmt.Sprintf("http://%s.%s:%d%s", service, namespace, applicationPort, path)
}

// applies makes the folder hold these policies and no others.
func applies(manifests ...string) func(*bed) error {
	return func(b *bed) error { return b.apply(manifests...) }
}

// takesPart is what is left of an assertion about a CRD's names where there is
// no API server: a manifest of the kind is read without a problem, changes what
// the sidecars have to run, and they run it; and they no longer do without it.
func takesPart(manifest string, others ...string) func(*bed) error {
	return func(b *bed) error {
		if err := b.apply(others...); err != nil {
			return err
		}
		without, err := b.snapshot()
		if err != nil {
			return err
		}
		if err := b.apply(slices.Concat(others, []string{manifest})...); err != nil {
			return err
		}
		with, err := b.snapshot()
		if err != nil {
			return err
		}
		if meant(with) == meant(without) {
			return fmt.Errorf("the mesh is the same with and without %s", manifest)
		}
		return b.apply(others...)
	}
}

// ready wants every application to answer and every sidecar to have all it needs.
func ready(names ...string) func(*bed) error {
	return func(b *bed) error {
		for _, name := range names {
			if _, err := b.metrics(name); err != nil {
				return err
			}
			if err := b.AwaitReady(named(name)); err != nil {
				return err
			}
		}
		return nil
	}
}

// fronts wants a service to stand for exactly these applications.
func fronts(service string, names ...string) func(*bed) error {
	return func(b *bed) error {
		s, _ := b.cast.Service(named(service))
		var found []string
		for _, p := range s.Ports {
			for _, e := range p.Endpoints {
				found = append(found, e.Workload.Name)
			}
		}
		if !slices.Equal(found, names) {
			return fmt.Errorf("behind %s are %q, want %q", service, found, names)
		}
		return nil
	}
}

// calls has A call B once and compares what both recorded. What is blocked must
// have been answered, must be filed as failed, and must not have reached B.
func calls(method, path string, allowed bool) func(*bed) error {
	return func(b *bed) error {
		url := urlOf(appB, path)
		if err := errors.Join(b.clear(), b.call(appA, method, url)); err != nil {
			return err
		}
		a, err := b.metrics(appA)
		if err != nil {
			return err
		}
		server, err := b.metrics(appB)
		if err != nil {
			return err
		}
		filed, other, received := a.RespFailed, a.RespSucceeded, []string(nil)
		if allowed {
			filed, other = other, filed
			if path == "/echo" {
				received = []string{appA}
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
			return fmt.Errorf("B has requests of %q, want %q", server.ReqReceived, received)
		}
		return nil
	}
}

// both runs two steps as one, as the suite has it.
func both(first, second func(*bed) error) func(*bed) error {
	return func(b *bed) error { return errors.Join(first(b), second(b)) }
}

// spreads has A call the root service n times and judges how many arrived where.
func spreads(n int, fair func(atB, atC int) bool) func(*bed) error {
	return func(b *bed) error {
		if err := b.clear(); err != nil {
			return err
		}
		for range n {
			if err := b.call(appA, http.MethodGet, urlOf(appSvc, "/echo")); err != nil {
				return err
			}
		}
		var arrived []int
		for _, name := range []string{appB, appC} {
			m, err := b.metrics(name)
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
