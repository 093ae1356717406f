package badinput

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	// foreignAddress belongs to no machine: it is kept for documentation.
	foreignAddress = "192.0.2.1"
	takenAddress   = "127.62.0.13"
	printerAddress = "address: 127.62.0.3"
)

// A listener that Envoy cannot open is told with proxy, resource and cause, and
// harms nothing else: not the policy, not what the same proxy sends, not others.
func TestRefusedListenerIsToldAndHarmsNothingElse(t *testing.T) {
	s := openShop(t, func(_ *shop, o *rig.Options) { o.Workloads = []mesh.Name{buyer, store, printer} })
	occupy(t)
	l := s.startLoad()
	for i, address := range []string{foreignAddress, takenAddress} {
		s.exchange("printer.yaml", printerAddress, "address: "+address)
		s.refused(address)
		s.logged("a proxy refused its configuration", "proxy=shop/printer", "type=Listener", "inbound|8081", address)
		if err := s.answers(printer, store, "/paper", http.StatusOK)(t.Context()); err != nil {
			t.Errorf("with %s the printer cannot call the store: %v", address, err)
		}
		// An edit that has nothing to do with it reaches every proxy.
		s.edit("extra.yaml", fmt.Sprintf(extra, i))
		s.must(applyTimeout, "an edit beside the refusal", s.answers(buyer, store, fmt.Sprintf("/extra%d", i), http.StatusOK))
		s.exchange("printer.yaml", "address: "+address, printerAddress)
		s.must(applyTimeout, "the refusal to be gone", s.healthy)
		s.must(applyTimeout, "the printer to be called again", s.answers(buyer, printer, "/print", http.StatusOK))
	}
	l.stop(t)
}

// A workload that starts with such an address has a proxy that does the rest.
func TestWorkloadThatStartsOnATakenAddress(t *testing.T) {
	s := openShop(t, nil)
	occupy(t)
	s.exchange("printer.yaml", printerAddress, "address: "+takenAddress)
	token, err := s.authority(t).CreateToken(printer, moduleTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Join(printer, token); err != nil {
		t.Fatal(err)
	}
	s.must(moduleTimeout, "the printer to connect", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err == nil {
			_, err = proxyOf(status, printer)
		}
		return err
	})
	s.refused(takenAddress)
	s.must(applyTimeout, "the printer to call the store", s.answers(printer, store, "/paper", http.StatusOK))
	s.exchange("printer.yaml", "address: "+takenAddress, printerAddress)
	s.must(moduleTimeout, "the refusal to be gone", s.healthy)
	if err := s.AwaitReady(printer); err != nil {
		t.Error(err)
	}
	s.must(applyTimeout, "the printer to be called", s.answers(buyer, printer, "/print", http.StatusOK))
}

// occupy has another process's listener, ours, on an address of the printer's.
func occupy(t *testing.T) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", takenAddress+":8081")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// refused waits until the status tells exactly the printer's inbound listener.
func (s *shop) refused(cause string) {
	s.t.Helper()
	s.must(moduleTimeout, "the refusal in the status", func(ctx context.Context) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		p, err := proxyOf(status, printer)
		if err != nil || len(p.Refusals) != 1 {
			return errors.Join(err, fmt.Errorf("the refusals are %+v", p.Refusals))
		}
		r := p.Refusals[0]
		if r.Type != xds.ListenerType || !slices.Equal(r.Resources, []string{"inbound|8081"}) || !containsAll(r.Cause, []string{cause, "inbound|8081"}) {
			return fmt.Errorf("the refusal is %+v", r)
		}
		return nil
	})
}

// healthy returns nil if no proxy refuses anything and all have everything.
func (s *shop) healthy(ctx context.Context) error {
	status, err := s.Status(ctx)
	for _, p := range status.Proxies {
		if len(p.Refusals) > 0 || !p.Settled {
			err = errors.Join(err, fmt.Errorf("%s: settled %v, refusals %+v", p.Name, p.Settled, p.Refusals))
		}
	}
	return err
}
