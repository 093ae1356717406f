package main

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/examples/bookstore/demo"
)

const example = "../../examples/bookstore"

// agreed is a ledger in which everybody counted the same.
func agreed() ledger {
	return ledger{
		{counted: byClient, from: demo.Buyer, to: demo.StoreOne, code: 200}:         7,
		{counted: byFilter, from: demo.Buyer, to: demo.StoreOne, code: 200}:         7,
		{counted: byApplication, to: demo.StoreOne, code: 200}:                      7,
		{counted: byClient, from: demo.StoreOne, to: demo.Warehouse, code: 200}:     3,
		{counted: byFilter, from: demo.StoreOne, to: demo.Warehouse, code: 200}:     3,
		{counted: byApplication, to: demo.Warehouse, code: 200}:                     3,
		{counted: byClient, from: demo.Thief, code: 403}:                            5,
		{counted: byFilter, from: demo.Thief, to: demo.StoreOne, code: 403}:         4,
		{counted: byFilter, from: demo.Thief, to: demo.StoreTwo, code: 403}:         1,
		{counted: denialsBy, from: demo.Thief, to: demo.StoreOne, reason: "source"}: 4,
		{counted: denialsBy, from: demo.Thief, to: demo.StoreTwo, reason: "source"}: 1,
	}
}

// Any single count that is off by one must be noticed.
func TestEveryDisagreementIsNoticed(t *testing.T) {
	if err := agreed().disagreements(); err != nil {
		t.Fatal(err)
	}
	for e := range agreed() {
		for _, by := range []int{-1, 1} {
			l := agreed()
			l[e] += by
			if l.disagreements() == nil {
				t.Errorf("%+v may be off by %d", e, by)
			}
		}
	}
	l := agreed()
	l[entry{counted: byClient, from: demo.Buyer, code: 503}]++
	if l.disagreements() == nil || l.verdictsOnly() == nil || l.only(demo.Buyer, 200, 1) == nil {
		t.Error("an answer 503 was not noticed")
	}
	l = agreed()
	l[entry{counted: failures, from: demo.Buyer, reason: "reset"}]++
	if l.unanswered() == nil {
		t.Error("a reset was not noticed")
	}
	if agreed().nothingSeen() == nil {
		t.Error("answers of a store were not noticed")
	}
	if got := agreed().since(agreed()); len(got) != 0 {
		t.Errorf("nothing happened, yet %v", maps.Clone(got))
	}
}

func TestDeviation(t *testing.T) {
	for _, c := range []struct {
		one, n int
		p      float64
		fine   bool
	}{
		{500, 1000, 0.5, true}, {563, 1000, 0.5, true}, {565, 1000, 0.5, false},
		{900, 1000, 0.9, true}, {861, 1000, 0.9, false}, {500, 1000, 0.9, false}, {0, 0, 0.5, false},
	} {
		if _, err := deviation(c.one, c.n, c.p); (err == nil) != c.fine {
			t.Errorf("%d of %d at %.1f: %v", c.one, c.n, c.p, err)
		}
	}
}

func TestTheExampleCanBeEdited(t *testing.T) {
	m, err := copyManifests(example, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s := string(m.withoutTargets); strings.Contains(s, "kind: TrafficTarget") || !strings.Contains(s, "kind: HTTPRouteGroup") {
		t.Errorf("without targets it reads\n%s", s)
	}
	text, err := withWeights(m.split, 90, 10)
	if err != nil || !strings.Contains(string(text), "service: bookstore-v1\n      weight: 90") || !strings.Contains(string(text), "service: bookstore-v2\n      weight: 10") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := withWeights([]byte("spec:\n"), 1, 1); err == nil {
		t.Error("weights were found where there are none")
	}
}

func TestWeightsInADump(t *testing.T) {
	const dump = "{\"clusters\": [\n {\n \"name\": \"a|1\",\n  \"weight\": 90\n },{\"name\":\"b|1\",\"weight\":10}]}"
	if !hasWeight(dump, "a|1", 90) || !hasWeight(dump, "b|1", 10) || hasWeight(dump, "a|1", 9) || hasWeight(dump, "a|1", 10) {
		t.Error("the dump was misread")
	}
}

func TestOutcomesAreJudged(t *testing.T) {
	one := trick{"x", "", 403}
	for _, c := range []struct {
		codes []int
		fine  bool
	}{{[]int{403}, true}, {[]int{400}, false}, {[]int{200}, false}, {[]int{403, 400}, true}, {[]int{403, 200}, false}, {[]int{503}, false}} {
		var o outcome
		for _, code := range c.codes {
			o.replies = append(o.replies, reply{code: code})
		}
		if err := o.judge(one); (err == nil) != c.fine {
			t.Errorf("%v: %v", c.codes, err)
		}
	}
	if (outcome{err: io.EOF}).judge(one) == nil {
		t.Error("no answer passed")
	}
	for _, tr := range append(thiefTricks(), buyerTricks()...) {
		if tr.want != 400 && tr.want != 403 {
			t.Errorf("%s expects %d", tr.name, tr.want)
		}
	}
}

// Answers to a request hidden behind another must not be overlooked.
func TestSendSeesEveryAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/denied" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, denial)
		}
	})}
	go server.Serve(l)
	defer server.Close()
	to := netip.MustParseAddrPort(l.Addr().String())
	replies, err := send(to, get("/denied")+get("/"))
	if err != nil || len(replies) != 2 || !replies[0].fromFilter() || replies[1].code != 200 || replies[1].fromFilter() {
		t.Errorf("%+v, %v", replies, err)
	}
	replies, err = send(to, request("HEAD", "/denied", "Connection: close"))
	if err != nil || len(replies) != 1 || !replies[0].fromFilter() {
		t.Errorf("%+v, %v", replies, err)
	}
}

// A server that issues tickets, and resumes, must be caught doing so.
func TestTicketsAreNoticed(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	if _, err := ca.Open(state, ca.Options{TrustDomain: demo.TrustDomain}); err != nil {
		t.Fatal(err)
	}
	account := mesh.Name{Namespace: "bookstore", Name: "bookstore"}
	leaf, roots, err := issue(state, account, mesh.Name{Namespace: "bookstore", Name: "x"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{alpn}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				// A frame that means nothing makes the client read the ticket.
				_, _ = c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	tickets := &ticketCounter{}
	m := &member{to: netip.MustParseAddrPort(l.Addr().String()), tickets: tickets,
		config: clientTLS(leaf, roots, mesh.SPIFFEID(demo.TrustDomain, account), tickets)}
	first, err := m.open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	for begun := time.Now(); tickets.puts.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("a ticket was issued and not noticed")
		}
	}
	second, err := m.open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	if first.resumed || !second.resumed {
		t.Errorf("resumed: %t, then %t", first.resumed, second.resumed)
	}
	m.config = clientTLS(leaf, roots, mesh.SPIFFEID(demo.TrustDomain, mesh.Name{Namespace: "bookthief", Name: "bookthief"}), &ticketCounter{})
	if s, err := m.open(context.Background()); err == nil {
		s.close()
		t.Error("a server of another identity was accepted")
	}
}
