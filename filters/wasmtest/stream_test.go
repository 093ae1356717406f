package wasmtest_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

func TestHeadersAreListedInOrderWithDuplicates(t *testing.T) {
	p := startProbe(t, wasmtest.Options{})
	s, r := request(t, p, "pairs;get x-a;get X-A;get x-none;add x-b 2;replace x-a 9;remove x-gone;pairs",
		"x-a", "1", "x-a", "2", "x-gone", "", ":method", "GET")
	if r.Action != wasmtest.Continue {
		t.Errorf("action %v", r.Action)
	}
	wantLogged(t, p.VM(), "get x-a: 1 <nil>", "get X-A: 1 <nil>", "get x-none:  error status returned by host: not found")
	got := s.Upstream().Headers
	want := wasmtest.Pairs(":path", "/p", ":method", "GET", "x-request-do", got[2].Value, "x-b", "2", "x-a", "9")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("upstream got %v, want %v", got, want)
	}
}

func TestSetHeaders(t *testing.T) {
	p := startProbe(t, wasmtest.Options{})
	s, _ := request(t, p, "set x-new v")
	if got, want := s.Upstream().Headers, wasmtest.Pairs(":path", "/set", "x-new", "v"); !reflect.DeepEqual(got, want) {
		t.Errorf("upstream got %v, want %v", got, want)
	}
	// More than 1,024 entries are no map at all.
	if s, _ = request(t, p, "setmany"); len(s.Upstream().Headers) != 0 {
		t.Errorf("upstream got %d headers", len(s.Upstream().Headers))
	}
	wantLogged(t, p.VM(), "host: taken for an empty map: map of 1025 entries exceeds 1024")
}

func TestLocalReplyPassesTheGuestsResponseCallbacks(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{})
	s, r := request(t, p, "reply")
	if r.Action != wasmtest.Pause || r.Reply == nil || r.Reply.Status != 403 || string(r.Reply.Body) != "no" {
		t.Fatalf("got %+v", r)
	}
	want := wasmtest.Pairs(":status", "403", "x-why", "probe", "content-length", "2", "content-type", "text/plain", "x-seen", "yes")
	if !reflect.DeepEqual(r.Reply.Headers, want) {
		t.Errorf("client got %v, want %v", r.Reply.Headers, want)
	}
	if s.Upstream().Headers != nil {
		t.Error("the request went on")
	}
	before := len(p.VM().Logs())
	if s.RequestBody(ctx, []byte("x"), true); len(p.VM().Logs()) != before {
		t.Error("the guest heard of a body after its reply")
	}
}

func TestLocalReplyDetails(t *testing.T) {
	_, r := request(t, startProbe(t, wasmtest.Options{}), "details")
	if r.Reply == nil || r.Reply.Details != "why_not_so" || r.Reply.GRPCStatus != 7 || r.Reply.Status != 418 {
		t.Errorf("got %+v", r.Reply)
	}
}

// While the guest sees response headers a reply replaces them; once they have
// gone on, all that is left is to reset the stream.
func TestLocalReplyIntoAResponse(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{})
	s, _ := request(t, p, "")
	r := s.ResponseHeaders(ctx, wasmtest.Pairs(":status", "200", "x-response-do", "reply"), false)
	if r.Reply == nil || r.Reply.Status != 403 || s.Downstream().Headers != nil {
		t.Errorf("got %+v, client got %v", r, s.Downstream().Headers)
	}
	s, _ = request(t, p, "")
	s.ResponseHeaders(ctx, wasmtest.Pairs(":status", "200"), false)
	if r = s.ResponseBody(ctx, []byte("late-reply"), true); r.Reply != nil || !r.Reset {
		t.Errorf("got %+v", r)
	}
}

// Request headers are out of reach once they have gone on, and back in the
// access log.
func TestWhatAResponseCallbackCanReach(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{})
	s, _ := request(t, p, "")
	s.ResponseHeaders(ctx, wasmtest.Pairs(":status", "200"), true)
	s.Log(ctx)
	s.Done(ctx)
	s.Done(ctx)
	wantLogged(t, p.VM(), "response headers 200, request path: error status returned by host: bad argument",
		`stream done, path "/p" <nil>`)
	if n := len(p.VM().Logs()); n != 5 {
		t.Errorf("%d lines, want one per callback and two of the access log:\n%s", n, transcript(p.VM()))
	}
}

func TestPauseQueuesAndResumeFlushes(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{}, "tick 100", "ontick each resume")
	s := p.HTTP(wasmtest.StreamInfo{})
	if r := s.RequestHeaders(ctx, wasmtest.Pairs(":path", "/", "x-request-do", "pause"), false); r.Action != wasmtest.Pause {
		t.Fatalf("got %+v", r)
	}
	s.RequestBody(ctx, []byte("plain"), false)
	s.RequestTrailers(ctx, wasmtest.Pairs("t", "1"))
	if s.Upstream().Headers != nil || s.Upstream().Body != nil || logged(p.VM(), `request body "plain" end=false`) {
		t.Errorf("a paused stream went on: %+v", s.Upstream())
	}
	if err := p.VM().Advance(ctx, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	up := s.Upstream()
	if len(up.Headers) != 2 || string(up.Body) != "plain" || len(up.Trailers) != 1 || s.Result().Action != wasmtest.Continue {
		t.Errorf("upstream got %+v", up)
	}
	wantLogged(t, p.VM(), "request trailers [[t 1]]")
}

func TestBodyIsBufferedAndRewritten(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{})
	s := p.HTTP(wasmtest.StreamInfo{})
	s.RequestHeaders(ctx, wasmtest.Pairs(":path", "/"), false)
	if r := s.RequestBody(ctx, []byte("please rewrite "), false); r.Action != wasmtest.Pause || s.Upstream().Body != nil {
		t.Errorf("got %+v, upstream got %q", r, s.Upstream().Body)
	}
	s.RequestBody(ctx, []byte("me"), true)
	wantLogged(t, p.VM(), `request body "please rewrite me" end=true`)
	if got := string(s.Upstream().Body); got != "<rewritten>" {
		t.Errorf("upstream got %q", got)
	}
}

func TestTickClosesALiveStream(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{}, "tick 1000", "ontick each close")
	s, _ := request(t, p, "")
	if err := p.VM().Advance(ctx, 999*time.Millisecond); err != nil || s.Result().Reset {
		t.Fatalf("too early: %v", err)
	}
	if err := p.VM().Advance(ctx, time.Millisecond); err != nil || !s.Result().Reset {
		t.Errorf("not reset: %v", err)
	}
	wantLogged(t, p.VM(), `stream done, path "/p" <nil>`)
	if err := p.VM().Advance(ctx, time.Hour); err != nil {
		t.Errorf("the guest did not stay well: %v", err)
	}
}

// Continuing from within a callback counts for more than the pause it returns.
func TestResumeWithinTheCallback(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{})
	s := p.HTTP(wasmtest.StreamInfo{})
	r := s.RequestHeaders(ctx, wasmtest.Pairs("x-request-do", "resume;pause"), false)
	if r.Action != wasmtest.Continue || s.Upstream().Headers == nil {
		t.Errorf("got %+v", r)
	}
	s.RequestBody(ctx, []byte("x"), true)
	wantLogged(t, p.VM(), `request body "x" end=true`)
	r = s.ResponseHeaders(ctx, wasmtest.Pairs(":status", "200", "x-response-do", "resumeresponse;pause"), true)
	if r.Action != wasmtest.Continue || len(s.Downstream().Headers) != 3 {
		t.Errorf("got %+v", r)
	}
}

func TestTrailers(t *testing.T) {
	ctx := t.Context()
	p := startProbe(t, wasmtest.Options{})
	s, _ := request(t, p, "")
	s.ResponseHeaders(ctx, wasmtest.Pairs(":status", "200"), false)
	s.ResponseBody(ctx, []byte("all"), false)
	s.ResponseTrailers(ctx, wasmtest.Pairs("x-given", "1"))
	if got, want := s.Downstream().Trailers, wasmtest.Pairs("x-given", "1", "x-count", "1"); !reflect.DeepEqual(got, want) {
		t.Errorf("client got %v, want %v", got, want)
	}
	// The guest makes trailers where upstream sent none.
	s, _ = request(t, p, "")
	s.ResponseHeaders(ctx, wasmtest.Pairs(":status", "200"), false)
	s.ResponseBody(ctx, []byte("end"), true)
	if got, want := s.Downstream().Trailers, wasmtest.Pairs("x-last", "end"); !reflect.DeepEqual(got, want) {
		t.Errorf("client got %v, want %v", got, want)
	}
}
