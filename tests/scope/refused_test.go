package scope

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/traffic"
)

// reply is all that a caller can tell refusals apart by.
type reply struct {
	status  int
	body    string
	headers []string
}

func (s *street) get(caller, path string) reply {
	s.t.Helper()
	client := http.Client{Timeout: answerTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + s.at(caller, 8080) + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{r.StatusCode, string(body), slices.Sorted(maps.Keys(r.Header))}
}

// testOwnSidecarRefuses: who may call nothing of the store is answered by its own
// sidecar as the store's would answer, is counted there with the reason, and its
// sidecar knows no address and no identity of the store.
func testOwnSidecarRefuses(t *testing.T, s *street) {
	began := s.seen.Load()
	buyers := s.counted("buyer")
	theirs := s.get("buyer", "/admin") // may call, but not this
	before := s.counted("thief")
	stores := s.counted("store")
	own := s.get("thief", "/books")
	if own.status != 403 || fmt.Sprint(own) != fmt.Sprint(theirs) {
		t.Errorf("the caller's own sidecar answers\n%+v\nthe destination's\n%+v", own, theirs)
	}
	const series = traffic.OwnScope + "." + traffic.Forbidden + ".destination.shop/store:8080.reason."
	if after := s.counted("thief"); after[series+"source"] != before[series+"source"]+1 {
		t.Errorf("the thief's sidecar counted %v after %v", after, before)
	}
	if n := s.counted("buyer")[series] - buyers[series]; n != 1 {
		t.Errorf("the buyer's sidecar counted %d answers of the destination, want 1", n)
	}
	if after := s.counted("store"); !maps.Equal(after, stores) || s.seen.Load() != began {
		t.Errorf("the store's sidecar was asked: %v after %v, and its application saw %d", after, stores, s.seen.Load())
	}
	s.tells("buyer", true)
	s.tells("thief", false)
	s.edit(usual().with(grant{"store", []string{"thief"}, "/books"}))
	s.tells("thief", true)
	if got := s.get("thief", "/books"); got.status != 200 || s.seen.Load() != began+1 {
		t.Errorf("with a grant: %+v, %d seen", got, s.seen.Load())
	}
	// Under audit the policy refuses nothing, so everybody is told of everything.
	audit := usual()
	audit.remark = "audit\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {wasmesh.io/mode: audit}}"
	s.edit(audit)
	if got := s.get("thief", "/books"); got.status != 200 || s.seen.Load() != began+2 {
		t.Errorf("under audit: %+v, %d seen", got, s.seen.Load())
	}
	s.edit(usual())
}

// counted are the counters of refusals of a workload's Envoy.
func (s *street) counted(workload string) map[string]uint64 {
	s.t.Helper()
	stats, err := s.Stats(s.t.Context(), shop(workload), `^wasmesh\.|^wasmcustom\.(wasmesh_(denials|connections)|osm_request_total)`)
	if err != nil {
		s.t.Fatal(err)
	}
	return stats
}

// tells compares whether a caller's Envoy knows where the store is and who it is.
func (s *street) tells(caller string, want bool) {
	s.t.Helper()
	text, err := s.Admin(shop(caller)).Get(s.t.Context(), "/config_dump?include_eds")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, secret := range []string{"127.160.0.1", "sa/store"} {
		if got := strings.Contains(string(text), secret); got != want {
			s.t.Errorf("the sidecar of %s knows %s: %v, want %v", caller, secret, got, want)
		}
	}
}

// testOpaque: a connection without a grant ends before a word is
// said, and with one it opens; an edit changes that without a restart.
func testOpaque(t *testing.T, s *street) {
	seen := s.seen.Load()
	at, before := s.at("thief", 5432), s.counted("thief")
	if heard, err := listen(t.Context(), at); err != nil || heard != "" || s.seen.Load() != seen {
		t.Fatalf("without a grant: %q, %v, %d seen", heard, err, s.seen.Load())
	}
	const series = traffic.OwnScope + "." + traffic.Forbidden + ".destination.shop/store:5432.reason.source"
	// It is closed a moment before it is counted.
	s.await("the closed connection is counted, once", func(context.Context) error {
		if n := s.counted("thief")[series] - before[series]; n != 1 {
			return fmt.Errorf("counted %d times", n)
		}
		return nil
	})
	s.edit(usual().with(grant{"store", []string{"thief"}, ""}))
	s.await("the greeting", func(ctx context.Context) error {
		heard, err := listen(ctx, at)
		if err == nil && heard != greeting {
			err = fmt.Errorf("heard %q", heard)
		}
		return err
	})
	held, err := net.DialTimeout("tcp", at, answerTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := held.SetDeadline(time.Now().Add(2 * applyTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(held, make([]byte, len(greeting))); err != nil {
		t.Fatal(err)
	}
	s.edit(usual())
	began := time.Now()
	if _, err := held.Read(make([]byte, 1)); errors.Is(err, nil) || time.Since(began) > applyTimeout {
		t.Errorf("what was open ended after %v with %v", time.Since(began), err)
	}
	if heard, err := listen(t.Context(), at); err != nil || heard != "" {
		t.Errorf("after the grant is gone: %q, %v", heard, err)
	}
}

// listen returns what a server says until it has greeted or ended.
func listen(ctx context.Context, at string) (string, error) {
	conn, err := (&net.Dialer{Timeout: answerTimeout}).DialContext(ctx, "tcp", at)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return "", err
	}
	heard, err := io.ReadAll(io.LimitReader(conn, int64(len(greeting))))
	return string(heard), err
}
