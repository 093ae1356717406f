package badinput

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
)

// relay passes connections on to the control plane, and can cut them.
type relay struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

func (r *relay) start(t *testing.T, to string) (string, error) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { l.Close() })
	r.open = map[net.Conn]bool{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(in, to)
		}
	}()
	return l.Addr().String(), nil
}

func (r *relay) pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	r.mu.Lock()
	r.open[in] = true
	r.mu.Unlock()
	go func() {
		io.Copy(out, in)
		out.Close()
	}()
	io.Copy(in, out)
}

// cut ends every connection and returns how many there were.
func (r *relay) cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.open)
	for conn := range r.open {
		conn.Close()
	}
	clear(r.open)
	return n
}

const lateService = `
apiVersion: v1
kind: Service
metadata: {name: late%d, namespace: shop}
spec:
  selector: {app: store}
  ports: [{name: http, port: 8081}]
`

// A proxy whose stream to the control plane broke says what it has when it comes
// back, and is sent only what is new. It must not be waited for, or no route,
// cluster or listener would ever reach it again.
func TestProxiesThatReconnectGetEveryEdit(t *testing.T) {
	var r relay
	s := openShop(t, func(_ *shop, o *rig.Options) {
		o.Relay = func(xds string) (string, error) { return r.start(t, xds) }
	})
	for i := range 3 {
		began := time.Now()
		if n := r.cut(); n < 2 {
			t.Fatalf("%d connections were cut, want one for each proxy", n)
		}
		s.must(moduleTimeout, "both proxies to be back and settled", func(ctx context.Context) error {
			status, err := s.Status(ctx)
			if err != nil {
				return err
			}
			for _, p := range status.Proxies {
				if p.Since.Before(began) || !p.Settled {
					return fmt.Errorf("%s since %v, settled: %v", p.Name, p.Since, p.Settled)
				}
			}
			if len(status.Proxies) != 2 {
				return fmt.Errorf("%d proxies are connected", len(status.Proxies))
			}
			return nil
		})
		s.edit(fmt.Sprintf("late%d.yaml", i), fmt.Sprintf(lateService, i))
		name := fmt.Sprintf("outbound|shop/late%d|8081", i)
		s.must(applyTimeout, "a new service to reach the buyer's sidecar", func(ctx context.Context) error {
			text, err := s.Admin(buyer).Get(ctx, "/listeners")
			if err == nil && !strings.Contains(string(text), name) {
				err = errors.New("it has no listener " + name)
			}
			return err
		})
		s.must(applyTimeout, "the policy as before", s.answers(buyer, store, "/books", http.StatusOK))
	}
}
