package wasmhost

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// visit is one request at a door and what the application answers it.
type visit struct {
	door string
	// do is what the probe does when it sees the request headers.
	do string
	// headers, body in pieces and trailers are the request's.
	headers  []wasmtest.Pair
	body     []string
	trailers []wasmtest.Pair
	answer   answer
	// pass is what the virtual clock moves on while the request waits, as the
	// real one does by itself.
	pass time.Duration
	// repeats says that lines may come any number of times in a row: what a tick
	// logs until the request has gone.
	repeats bool
	// enough says that Envoy's transcript need not become ours: set where the
	// two differ on purpose.
	enough func(transcript) bool
}

func (v visit) chunked() bool { return v.body != nil || v.trailers != nil }

func (v visit) method() string {
	if v.chunked() {
		return "POST"
	}
	return "GET"
}

// sent are the headers the client sends after Host, in order.
func (v visit) sent() []wasmtest.Pair {
	var out []wasmtest.Pair
	if v.chunked() {
		out = wasmtest.Pairs("transfer-encoding", "chunked")
	}
	if v.do != "" {
		out = append(out, wasmtest.Pair{Name: "x-request-do", Value: v.do})
	}
	return append(out, v.headers...)
}

// transcript is everything that was seen of a step, one line each.
type transcript []string

func (t transcript) String() string { return strings.Join(t, "\n") }

func (t *transcript) add(who string, lines []string) {
	for _, l := range lines {
		*t = append(*t, who+" "+l)
	}
}

// once keeps the first of equal lines.
func (t transcript) once() transcript {
	var out transcript
	for _, l := range t {
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// differ shows two transcripts line by line where they part.
func differ(real, ours transcript) string {
	var b strings.Builder
	for i := range max(len(real), len(ours)) {
		var r, o string
		if i < len(real) {
			r = real[i]
		}
		if i < len(ours) {
			o = ours[i]
		}
		if r == o {
			fmt.Fprintf(&b, "  both     %s\n", r)
			continue
		}
		fmt.Fprintf(&b, "  envoy    %s\n  wasmtest %s\n", r, o)
	}
	return b.String()
}

// notSent are headers that Envoy's router adds to a call.
var notSent = []string{"x-envoy-internal", "x-forwarded-for", "x-envoy-expected-rq-timeout-ms"}

// calledLines is what the auth service received of a call.
func calledLines(m message) []string {
	m.headers = slices.DeleteFunc(slices.Clone(m.headers), func(h wasmtest.Pair) bool { return slices.Contains(notSent, h.Name) })
	return m.lines()
}

func pathOf(first string) string {
	words := strings.Fields(first)
	if len(words) < 2 {
		return ""
	}
	return words[1]
}
