package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// crowd is a table in which each of n sources has a grant of its own.
func crowd(t testing.TB, n int) *policy.Table {
	grants := make([]policy.Grant, n)
	books, role := path(t, "/books(/.*)?$"), value(t, "user|admin")
	for i := range grants {
		grants[i] = grant(fmt.Sprintf("shop/%d", i), policy.Match{
			Name: "books", Path: books, Methods: []string{"GET", "HEAD"},
			Headers: []policy.HeaderMatch{{Name: "x-role", Value: role}},
		})
		grants[i].Sources = []string{fmt.Sprintf("spiffe://mesh.test/ns/shop/sa/%d", i)}
	}
	table, ok := policy.Decode(policy.Compile(grants).Encode())
	if !ok {
		t.Fatal("the encoded table is refused")
	}
	return table
}

// typical is a request as a mesh carries it, of the middle source of n.
func typical(n int) policy.Request {
	return request(from(fmt.Sprintf("spiffe://mesh.test/ns/shop/sa/%d", n/2)), of("/books/the-castle?page=2"), with(
		":authority", "bookstore.shop:14001", ":path", "/books/the-castle?page=2", ":method", "GET", ":scheme", "http",
		"user-agent", "Go-http-client/1.1", "accept-encoding", "gzip", "x-request-id", "5b0d3c9e-1b1f-9e0b-8a2f-6f3a0f0c5a11",
		"x-forwarded-proto", "http", "x-role", "user",
	))
}

// TestDecideDoesNotAllocate: in the filter every allocation brings a garbage
// collection nearer.
func TestDecideDoesNotAllocate(t *testing.T) {
	table := crowd(t, 10)
	r := typical(10)
	if v := table.Decide(r); !v.Allow {
		t.Fatalf("the request is not allowed: %+v", v)
	}
	if n := testing.AllocsPerRun(1000, func() { table.Decide(r) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("sources=%d", n), func(b *testing.B) {
			table, r := crowd(b, n), typical(n)
			if !table.Decide(r).Allow {
				b.Fatal("the request is not allowed")
			}
			b.ReportAllocs()
			for b.Loop() {
				table.Decide(r)
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	for _, c := range []struct{ name, raw string }{
		{"plain", "/books/the-castle/chapters/12?page=2"},
		{"escapes", "/books/the%20castle/%63hapters/12?page=2"},
		{"dots", "/books/x/../the-castle//chapters/./12?page=2"},
		{"parameters", "/books;v=1/the-castle/chapters/12;jsessionid=1?page=2"},
		{"hostile60KB", strings.Repeat("/a/..;x", 8500)},
	} {
		b.Run(c.name, func(b *testing.B) {
			if _, ok := policy.Normalize(c.raw); !ok {
				b.Fatal("refused")
			}
			b.ReportAllocs()
			for b.Loop() {
				policy.Normalize(c.raw)
			}
		})
	}
}
