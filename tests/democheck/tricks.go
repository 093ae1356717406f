package main

import "strings"

// trick is one request that must not get through, as bytes, and the answer it
// has to get. Everything is answered 400 (it cannot be read in one way) or 403.
type trick struct {
	name string
	raw  string
	want int
}

// get is a request line and headers; extra lines go between them and the end.
func get(target string, extra ...string) string { return request("GET", target, extra...) }

func request(method, target string, extra ...string) string {
	return lines(append([]string{method + " " + target + " HTTP/1.1", "Host: bookstore"}, extra...)...)
}

// lines ends each line, and the head, as HTTP/1 does.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

const (
	buyerID = "spiffe://wasmesh.local/ns/bookbuyer/sa/bookbuyer"
	// hidden is a whole request, for those that carry one inside another.
	hidden = "GET /buy-a-book HTTP/1.1\r\nHost: bookstore\r\n\r\n"
)

// thiefTricks are by one to whom nothing is granted: they dress up as another
// caller, or ask for what is granted to another in a way that may be misread.
func thiefTricks() []trick {
	return append(append(thiefPaths(), thiefHeaders()...), thiefFraming()...)
}

func thiefPaths() []trick {
	return []trick{
		{"plain", get("/buy-a-book"), 403},
		{"dot segments", get("/books-bought/../buy-a-book"), 403},
		{"encoded dot segments", get("/books-bought/%2e%2e/buy-a-book"), 403},
		{"mixed-case encoded dots", get("/books-bought/%2E./buy-a-book"), 403},
		{"dot segments above the root", get("/../../buy-a-book"), 403},
		{"two slashes", get("//buy-a-book"), 403},
		{"slashes and dots", get("/books-bought//../buy-a-book"), 403},
		{"encoded slashes", get("/books-bought%2f..%2fbuy-a-book"), 400},
		{"encoded backslashes", get("/books-bought%5c..%5cbuy-a-book"), 400},
		{"backslashes", get(`/books-bought\..\buy-a-book`), 403},
		{"dots with parameters", get("/books-bought/..;/buy-a-book"), 403},
		{"dots with named parameters", get("/books-bought/..;a=b/buy-a-book"), 403},
		{"a segment of parameters only", get("/;x/buy-a-book"), 403},
		{"trailing parameters", get("/buy-a-book;x=y"), 403},
		{"a fragment", get("/buy-a-book#x"), 400},
		{"dots in a fragment", get("/books-bought#/../../buy-a-book"), 400},
		{"an encoded question mark", get("/buy-a-book%3f"), 403},
		{"an encoded NUL", get("/books-bought%00/buy-a-book"), 400},
		{"a raw NUL", get("/books-bought\x00/buy-a-book"), 400},
		{"an encoded letter", get("/%62uy-a-book"), 403},
		{"dots encoded twice", get("/books-bought/%252e%252e/buy-a-book"), 403},
		{"a tab in the path", get("/buy-a-book\tx"), 400},
		{"a space in the path", get("/buy-a-book x"), 400},
		{"bytes that are no UTF-8", get("/buy-a-book/\xc0\xae\xc0\xae/"), 400},
		{"absolute form", get("http://bookstore/buy-a-book"), 403},
		{"absolute form for another host", get("http://bookwarehouse/restock-books"), 403},
		{"no slash", get("buy-a-book"), 400},
		{"every path at once", request("OPTIONS", "*"), 400},
		{"a tunnel", request("CONNECT", "bookstore:14001"), 400},
	}
}

func thiefHeaders() []trick {
	return []trick{
		{"a forged client certificate", get("/buy-a-book", "x-forwarded-client-cert: By="+buyerID+";URI="+buyerID), 403},
		{"a forged original path", get("/buy-a-book", "x-envoy-original-path: /books-bought"), 403},
		{"a forged original address", get("/buy-a-book", "x-envoy-original-dst-host: 127.10.0.1:14001"), 403},
		{"a claim to be internal", get("/buy-a-book", "x-envoy-internal: true", "x-forwarded-for: 127.0.0.1"), 403},
		{"retries on demand", get("/buy-a-book", "x-envoy-retry-on: 5xx,retriable-4xx", "x-envoy-retriable-status-codes: 403", "x-envoy-max-retries: 3"), 403},
		{"a fake identity", get("/buy-a-book", "x-spiffe-id: "+buyerID, "x-wasmesh-peer: "+buyerID, "wasmesh.peer: "+buyerID), 403},
		{"a fake label", get("/buy-a-book", "x-peer-label: bookbuyer.workload.bookbuyer.peer.wasmesh.internal"), 403},
		{"a method override", request("POST", "/buy-a-book", "x-http-method-override: GET", "content-length: 0"), 403},
		{"another URL in a header", get("/", "x-original-url: /buy-a-book", "x-rewrite-url: /buy-a-book"), 403},
		{"a lower-case method", request("get", "/buy-a-book"), 400},
		{"HEAD", request("HEAD", "/buy-a-book"), 403},
		{"a header name with underscores", get("/buy-a-book", "x_early_reader: yes"), 400},
		{"a header that is granted, twice", get("/preview/new", "x-early-reader: yes", "x-early-reader: yes"), 403},
		{"two hosts", get("/buy-a-book", "Host: bookwarehouse"), 403},
		{"a host with a port and a dot", lines("GET /buy-a-book HTTP/1.1", "Host: bookstore.:14001"), 403},
		{"no host", lines("GET /buy-a-book HTTP/1.1"), 400},
		{"NUL in a value", get("/buy-a-book", "x-early-reader: yes\x00no"), 400},
		{"a space before the colon", get("/buy-a-book", "x-early-reader : yes"), 400},
		{"a folded header", get("/buy-a-book", "x-early-reader: yes", " no"), 403},
		{"a protocol upgrade", get("/buy-a-book", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==") + hidden, 403},
		{"an upgrade to HTTP/2", get("/buy-a-book", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__") + hidden, 403},
	}
}

func thiefFraming() []trick {
	post := func(extra ...string) string { return request("POST", "/buy-a-book", extra...) }
	return []trick{
		{"a length and chunks", post("Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + hidden, 400},
		{"two lengths", post("Content-Length: 0", "Content-Length: 49") + hidden, 400},
		{"a negative length", post("Content-Length: -1") + hidden, 400},
		{"a length with a plus", post("Content-Length: +0") + hidden, 400},
		{"a line that ends early", "GET /buy-a-book HTTP/1.1\nHost: bookstore\n\n", 403},
	}
}

// buyerTricks are by one to whom something is granted, for more than that.
func buyerTricks() []trick {
	return append(buyerPaths(), buyerHeaders()...)
}

func buyerPaths() []trick {
	return []trick{
		{"another path", get("/admin"), 403},
		{"out by dots", get("/books-bought/../admin"), 403},
		{"out by encoded dots", get("/buy-a-book/%2e%2e/admin"), 403},
		{"out by encoded slashes", get("/buy-a-book/..%2fadmin"), 400},
		{"out by encoded backslashes", get("/buy-a-book/..%5cadmin"), 400},
		{"out by backslashes", get(`/buy-a-book\..\admin`), 403},
		{"out by dots with parameters", get("/buy-a-book/..;/admin"), 403},
		{"out by encoded parameters", get("/buy-a-book/..%3b/admin"), 400},
		{"out by an absolute form", get("http://bookstore/books-bought/../admin"), 403},
		{"a longer path", get("/books-bought-by/anyone"), 403},
		{"a path below", get("/books-bought/all"), 403},
		{"another case", get("/Books-Bought"), 403},
		{"an encoded line end", get("/books-bought%0a"), 403},
		{"an encoded NUL", get("/books-bought%00.txt"), 400},
		{"an encoded question mark", get("/books-bought%3fx"), 403},
		{"a fragment", get("/books-bought#/admin"), 400},
		{"every path at once", request("OPTIONS", "*"), 400},
	}
}

func buyerHeaders() []trick {
	return []trick{
		{"POST", request("POST", "/books-bought", "content-length: 0"), 403},
		{"DELETE", request("DELETE", "/books-bought"), 403},
		{"HEAD", request("HEAD", "/books-bought"), 403},
		{"a lower-case method", request("get", "/books-bought"), 400},
		{"a method override", request("POST", "/books-bought", "x-http-method-override: GET", "content-length: 0"), 403},
		{"another path in a header", get("/admin", "x-envoy-original-path: /books-bought", "x-original-url: /books-bought"), 403},
		{"a preview without the header", get("/preview/new"), 403},
		{"a preview with a wrong value", get("/preview/new", "x-early-reader: no"), 403},
		{"a preview with a longer value", get("/preview/new", "x-early-reader: yes and no"), 403},
		{"a preview with two values", get("/preview/new", "x-early-reader: yes", "x-early-reader: no"), 403},
		{"a preview with two values, turned", get("/preview/new", "x-early-reader: no", "x-early-reader: yes"), 403},
		{"a preview with a list", get("/preview/new", "x-early-reader: yes, no"), 403},
		{"a preview with an underscore", get("/preview/new", "x_early_reader: yes"), 400},
		{"a preview with an empty value", get("/preview/new", "x-early-reader:"), 403},
		{"a second request inside", request("POST", "/books-bought", "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + get("/admin"), 400},
	}
}
