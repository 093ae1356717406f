package main_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// The budget of docs/adr/0020-host-calls.md: what one request may cost, from its
// first callback to its last, once its series are defined.
var budgets = []struct {
	name   string
	form   config.Form
	tells  bool
	status int // 0 passes
	calls  map[string]int
}{
	{"allowed", config.Access, false, 0, map[string]int{
		"proxy_get_property": 5, "proxy_get_header_map_pairs": 1, "proxy_increment_metric": 3, "proxy_record_metric": 1,
		"proxy_on_context_create": 1, "proxy_on_request_headers": 1, "proxy_on_log": 1, "proxy_on_delete": 1,
		"proxy_on_memory_allocate": 6,
	}},
	{"denied", config.Access, false, 403, map[string]int{
		"proxy_get_property": 5, "proxy_get_header_map_pairs": 1, "proxy_increment_metric": 4, "proxy_record_metric": 1,
		"proxy_log": 1, "proxy_send_local_response": 1,
		"proxy_on_context_create": 1, "proxy_on_request_headers": 1, "proxy_on_log": 1, "proxy_on_delete": 1,
		"proxy_on_memory_allocate": 6,
	}},
	{"allowed, logged", config.Access, true, 0, map[string]int{
		"proxy_get_property": 5, "proxy_get_header_map_pairs": 1, "proxy_increment_metric": 3, "proxy_record_metric": 1,
		"proxy_set_property":      1,
		"proxy_on_context_create": 1, "proxy_on_request_headers": 1, "proxy_on_log": 1, "proxy_on_delete": 1,
		"proxy_on_memory_allocate": 6,
	}},
	{"allowed, access alone", config.AccessOnly, false, 0, map[string]int{
		"proxy_get_property": 1, "proxy_get_header_map_pairs": 1,
		"proxy_on_context_create": 1, "proxy_on_request_headers": 1, "proxy_on_log": 1, "proxy_on_delete": 1,
		"proxy_on_memory_allocate": 2,
	}},
	{"denied, access alone", config.AccessOnly, false, 403, map[string]int{
		"proxy_get_property": 1, "proxy_get_header_map_pairs": 1,
		"proxy_log": 1, "proxy_send_local_response": 1,
		"proxy_on_context_create": 1, "proxy_on_request_headers": 1, "proxy_on_log": 1, "proxy_on_delete": 1,
		"proxy_on_memory_allocate": 2,
	}},
}

// TestHostCallsStayInBudget counts every crossing of a whole stream, as the
// sidecar makes it: callbacks that the capabilities leave out are not made there.
func TestHostCallsStayInBudget(t *testing.T) {
	for _, b := range budgets {
		t.Run(b.name, func(t *testing.T) {
			p := start(t, wasmtest.PluginConfig{Name: "access", Configuration: config.Config{
				Form: b.form, Tells: b.tells, Destination: destination, Version: 42, Table: table(t).Encode(),
			}.Encode()})
			role := "user"
			if b.status != 0 {
				role = "admin"
			}
			exchange(t, p, role, b.status) // defines the series
			before := p.VM().Crossings()
			exchange(t, p, role, b.status)
			if got := spent(before, p.VM().Crossings()); !maps.Equal(got, b.calls) {
				t.Errorf("calls, above the budget or better than it:\n got %v\nwant %v", got, b.calls)
			}
		})
	}
}

// exchange is one whole stream.
func exchange(t *testing.T, p *wasmtest.Plugin, role string, status int) {
	t.Helper()
	s := p.HTTP(from(buyer, 2000))
	r := s.RequestHeaders(t.Context(), get("x-role", role), true)
	if status == 0 {
		if r.Reply != nil {
			t.Fatalf("refused: %+v", r.Reply)
		}
		s.ResponseHeaders(t.Context(), wasmtest.Pairs(":status", "200"), false)
		s.ResponseBody(t.Context(), []byte("body"), true)
	} else if r.Reply == nil || r.Reply.Status != status {
		t.Fatalf("got %+v, want %d", r.Reply, status)
	}
	s.Done(t.Context())
}

// spent is what was called since, without callbacks that the sidecar does not
// make.
func spent(before, after map[string]int) map[string]int {
	out := map[string]int{}
	for name, n := range after {
		if strings.HasPrefix(name, "proxy_on_") && !slices.Contains(xds.Capabilities(), name) {
			continue
		}
		if n -= before[name]; n != 0 {
			out[name] = n
		}
	}
	return out
}
