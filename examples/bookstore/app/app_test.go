package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/examples/bookstore/app/tally"
)

func target(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

// only returns the one kind of answer that was got.
func only(t *testing.T, r tally.Report) tally.GotCount {
	t.Helper()
	if len(r.Got) != 1 || len(r.Failures) > 0 || r.Flying != 0 {
		t.Fatalf("got %+v", r)
	}
	return r.Got[0]
}

func TestASaleGoesThroughWhateverTheWarehouseSays(t *testing.T) {
	for _, code := range []int{http.StatusOK, http.StatusForbidden} {
		house := tally.New("bookwarehouse")
		warehouse := httptest.NewServer(counted(house, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if code != http.StatusOK {
				http.Error(w, "access denied", code)
				return
			}
			warehouseHandler("bookwarehouse").ServeHTTP(w, r)
		})))
		defer warehouse.Close()
		shop := tally.New("bookstore-v1")
		store := httptest.NewServer(counted(shop, storeHandler("bookstore-v1", newCaller(shop, target(warehouse)))))
		defer store.Close()

		buyer := tally.New("buyer")
		buyer.Begin()
		if got := newCaller(buyer, target(store)).do(t.Context(), call{method: "GET", path: "/buy-a-book"}); got != http.StatusOK {
			t.Errorf("with a warehouse that answers %d, the sale got %d", code, got)
		}
		if got := only(t, buyer.Report()); got.By != "bookstore-v1" || got.Count != 1 {
			t.Errorf("the buyer counted %+v", got)
		}
		restock := only(t, shop.Report())
		if restock.Code != code || restock.Request != "POST /restock-books" || (restock.By == tally.Proxy) != (code != http.StatusOK) {
			t.Errorf("the store counted %+v", restock)
		}
		if gave := house.Report().Gave; len(gave) != 1 || gave[0].Code != code {
			t.Errorf("the warehouse counted %+v", gave)
		}
	}
}

func TestTricksLeaveAsTheyAre(t *testing.T) {
	var seen atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.RequestURI + " " + r.Header.Get("X-Envoy-Original-Path"))
	}))
	defer s.Close()
	for _, one := range thiefPlan() {
		c := newCaller(tally.New("thief"), target(s))
		c.tally.Begin()
		c.do(t.Context(), one)
		want := one.path + " " + one.header.Get("X-Envoy-Original-Path")
		if got := seen.Load(); got != want {
			t.Errorf("%+v went out as %q", one, got)
		}
	}
}

// A reset must show, even where the standard library would send again.
func TestResetsAreCounted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for served := 0; ; served++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 4096)
				if _, err := c.Read(buffer); err != nil {
					return
				}
				_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
				// The next request on this connection gets no answer.
				_, _ = c.Read(buffer)
			}()
		}
	}()
	tl := tally.New("buyer")
	c := newCaller(tl, l.Addr().String())
	for range 2 {
		tl.Begin()
		c.do(t.Context(), call{method: "GET", path: "/"})
	}
	r := tl.Report()
	if len(r.Got) != 1 || r.Got[0].Count != 1 || len(r.Failures) != 1 || r.Failures[0].Cause != errRetried.Error() {
		t.Errorf("got %+v", r)
	}
}

func TestPausedMeansNoMoreCalls(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, reply{From: "s"}) }))
	defer s.Close()
	tl := tally.New("buyer")
	l := newLoad(newCaller(tl, target(s)), buyerPlan(), 1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.run(ctx) }()
	count := func() int {
		n := 0
		for _, g := range tl.Report().Got {
			n += g.Count
		}
		return n
	}
	for count() < 10 {
		time.Sleep(time.Millisecond)
	}
	l.setRate(0)
	for tl.Flying() > 0 {
		time.Sleep(time.Millisecond)
	}
	paused := count()
	time.Sleep(20 * time.Millisecond)
	if now := count(); now != paused {
		t.Errorf("%d calls were made while paused", now-paused)
	}
	l.setRate(1000)
	for count() == paused {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSettingsSayWhatIsMissing(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	for _, s := range []settings{
		{role: "buyer", counts: socket}, {role: "store", counts: socket, listen: "127.0.0.1:0"},
		{role: "warehouse", counts: socket}, {role: "king", counts: socket}, {role: "buyer", bookstore: "127.0.0.1:1"},
	} {
		if err := s.run(t.Context()); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}
