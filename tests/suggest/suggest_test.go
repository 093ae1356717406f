package suggest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
)

type request struct {
	from   mesh.Name
	port   uint16
	method string
	target string
}

func (r request) String() string {
	return fmt.Sprintf("%s :%d %s %s", r.from, r.port, r.method, r.target)
}

// seen is sent while everything is allowed.
func seen() []request {
	all := []request{
		// What the buyer of the bookstore sends.
		{buyer, 14001, "GET", "/books-bought"},
		{buyer, 14001, "GET", "/buy-a-book/new"},
		{buyer, 14001, "GET", "/preview/emma?chapter=hidden-query"},
		// Ways to write a path.
		{buyer, 14001, "GET", "/"},
		{buyer, 14001, "GET", "/%62ooks/../books//list"},
		{buyer, 14001, "GET", "/list;session=hidden-session"},
		{buyer, 14001, "GET", "/a.b+c*(d)$/x%20y"},
		{buyer, 14001, "DELETE", "/orders/17"},
		{buyer, 14001, "PROPFIND", "/orders/0b9d1c9e-6c3e-4b43-9d2c-7a2f0e2f9c11"},
		{buyer, 14002, "POST", "/office"},
		{buyer, 14003, "tcp", ""},
		// What the thief tries.
		{thief, 14001, "GET", "/books-bought"},
		{thief, 14001, "GET", "/wp-login.php"},
		{thief, 14001, "HEAD", "/books-bought"},
	}
	for i := range 10 {
		all = append(all, request{buyer, 14001, "GET", fmt.Sprintf("/authors/a%c/books", 'a'+i)})
	}
	return all
}

// unseen resembles what was seen.
func unseen() []request {
	return []request{
		{buyer, 14001, "POST", "/books-bought"},
		{buyer, 14001, "HEAD", "/books-bought"},
		{buyer, 14001, "GET", "/books-bought/"},
		{buyer, 14001, "GET", "/books-boughtx"},
		{buyer, 14001, "GET", "/buy-a-book"},
		{buyer, 14001, "GET", "/preview/persuasion"},
		{buyer, 14001, "GET", "/aXb+c*(d)$/x%20y"},
		{buyer, 14001, "GET", "/list2;session=1"},
		{buyer, 14001, "DELETE", "/orders/x17"},
		{buyer, 14001, "GET", "/orders/17"},
		{buyer, 14001, "POST", "/authors/aa/books"},
		{buyer, 14001, "GET", "/authors/aa/books/x"},
		{buyer, 14001, "GET", "/wp-login.php"},
		{buyer, 14001, "POST", "/office"},
		{buyer, 14002, "GET", "/office"},
		{buyer, 14002, "GET", "/books-bought"},
		{thief, 14002, "POST", "/office"},
		{thief, 14003, "tcp", ""},
		{thief, 14001, "GET", "/buy-a-book/new"},
		{thief, 14001, "GET", "/"},
	}
}

// rejected is answered 400 whatever the policy, and is no traffic.
func rejected() []request {
	return []request{
		{buyer, 14001, "GET", "/a%2fb"},
		{buyer, 14001, "GET", "/hidden-\xff-bytes"},
		{buyer, 14001, "GET", "/hidden-%ff%00"},
		{buyer, 14001, "OPTIONS", "*"},
	}
}

func TestApplyingASuggestionChangesNoAnswer(t *testing.T) {
	s := open(t)
	if out, complaint, code := s.suggest(); code != 1 || out != "" || !strings.Contains(complaint, "nothing was seen") {
		t.Errorf("before any traffic: %d, %q, %q", code, out, complaint)
	}
	before, total := map[request]int{}, 0
	for _, r := range append(rejected(), seen()...) {
		before[r] = s.ask(r)
		if before[r] != http.StatusBadRequest {
			total++
		}
	}
	if total != len(seen()) {
		t.Fatalf("%d requests reached the application, want %d: %v", total, len(seen()), before)
	}
	s.callWithoutSidecar()
	s.awaitObserved(total)

	// Nothing but methods and paths may have left the sidecar.
	_, text, err := s.observed(t.Context())
	if err != nil || strings.Contains(strings.ReplaceAll(text, "hidden-session", ""), "hidden") {
		t.Errorf("what is observed holds more than methods and paths, or %v: %s", err, text)
	}
	suggested, complaint, code := s.suggest("-f", s.cast)
	if again, _, _ := s.suggest("-f", s.cast); code != 0 || again != suggested {
		t.Fatalf("exit code %d; two runs differ: %v; %s", code, again != suggested, complaint)
	}
	if !strings.Contains(complaint, "2 calls of callers without identity") || strings.Contains(complaint, "3 calls of callers without") {
		t.Errorf("callers without identity are not told: %s", complaint)
	}
	t.Logf("suggested:\n%s\ntold:\n%s", suggested, complaint)
	s.apply([]byte(suggested))
	for _, r := range append(rejected(), seen()...) {
		if status := s.ask(r); status != before[r] {
			t.Errorf("%s was answered %d, and with what was suggested %d", r, before[r], status)
		}
	}
	for _, r := range unseen() {
		if status := s.ask(r); status != http.StatusForbidden {
			t.Errorf("%s was never seen and is answered %d", r, status)
		}
	}
	// Where the policy is enforced nothing is observed, and what was applied is not
	// suggested again.
	s.awaitObserved(total)
	if out, _, code := s.suggest(); code != 0 || !strings.Contains(out, "# There is nothing to add.") {
		t.Errorf("after it was applied: %d\n%s", code, out)
	}
}

// callWithoutSidecar dials the store's sidecar itself: under grace it gets in.
func (s *shop) callWithoutSidecar() {
	s.t.Helper()
	server, _ := s.snapshot.Workload(store)
	for _, r := range []request{{mesh.Name{}, 14001, "GET", "/nameless"}, {mesh.Name{}, 14001, "GET", "/nameless"}, {mesh.Name{}, 14003, "tcp", ""}} {
		if status, err := send(s.t.Context(), netip.AddrPortFrom(server.Address, r.port), r); status != http.StatusOK {
			s.t.Fatalf("%s: %d, %v", r, status, err)
		}
		s.nameless++
	}
}

// awaitObserved waits for exactly so many calls.
func (s *shop) awaitObserved(want int) {
	s.t.Helper()
	s.await(observeTimeout, "the control plane to hear of everything", func(ctx context.Context) error {
		seen, _, err := s.observed(ctx)
		if err != nil {
			return err
		}
		n := 0
		for _, o := range seen.Report.Observations {
			n += int(o.Count)
		}
		lost := uint64(0)
		for _, l := range seen.Report.Losses {
			if l.Cause != observe.NoIdentity {
				s.t.Fatalf("something was lost: %+v", l)
			}
			lost += l.Count
		}
		if lost != s.nameless {
			return fmt.Errorf("it has heard of %d calls without identity, want %d", lost, s.nameless)
		}
		if n != want {
			return errors.New("it has heard of " + fmt.Sprint(n) + " calls, want " + fmt.Sprint(want))
		}
		return nil
	})
}
