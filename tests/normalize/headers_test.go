package normalize

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/filters/policy"
)

// headApplication answers each request with the header lines it received.
func headApplication(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answerHeads(conn)
		}
	}()
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

func answerHeads(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		lines, err := readHead(in)
		if err != nil {
			return
		}
		if _, err := echo(conn, strings.Join(lines, "")); err != nil {
			return
		}
	}
}

// received returns the values under a name in the order of their lines.
func received(t *testing.T, address, name string, values ...string) (status int, got []string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, answerTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var request strings.Builder
	request.WriteString("GET /a HTTP/1.1\r\nHost: a\r\n")
	for _, v := range values {
		fmt.Fprintf(&request, "%s: %s\r\n", name, v)
	}
	if _, err := io.WriteString(conn, request.String()+"\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		n, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.EqualFold(n, name) {
			got = append(got, strings.TrimSpace(v))
		}
	}
	return response.StatusCode, got
}

// TestEnvoyJoinsHeadersAlike sends each name twice: Join must say of each whether
// the application sees one line or two, and which.
func TestEnvoyJoinsHeadersAlike(t *testing.T) {
	address := startEnvoy(t, headApplication(t))
	joined, apart := 0, 0
	for _, name := range names() {
		status, got := received(t, address, name, "v1", "v2 ")
		var want []string
		for _, h := range policy.Join([]policy.Header{{Name: name, Value: "v1"}, {Name: name, Value: "v2 "}}) {
			want = append(want, strings.TrimSpace(h.Value))
		}
		switch {
		case status != http.StatusOK:
			t.Errorf("%s: answered %d", name, status)
		case !slices.Equal(got, want):
			t.Errorf("%s: the application sees %q, Join says %q", name, got, want)
		case len(want) == 1:
			joined++
		default:
			apart++
		}
	}
	if joined < 25 || apart < 25 {
		t.Errorf("only %d joined and %d apart: the names say too little", joined, apart)
	}
}

// names are those registered for requests, and some of applications. Cookies are
// joined only where sidecars speak HTTP/2 with each other.
func names() []string {
	return strings.Fields(`
		accept accept-charset accept-encoding accept-language accept-ranges access-control-request-headers
		access-control-request-method access-control-request-private-network age allow authorization b3 baggage
		cache-control cdn-loop client-ip content-disposition content-encoding content-language content-location
		content-md5 content-range content-type date depth destination dnt etag expect forwarded from
		grpc-accept-encoding grpc-encoding grpc-message grpc-status grpc-timeout if if-match if-modified-since
		if-none-match if-range if-unmodified-since last-modified link location origin pragma priority range referer
		sec-ch-ua sec-fetch-mode server soapaction tenant traceparent tracestate trailer true-client-ip
		upgrade-insecure-requests user user-agent via warning x-api-key x-b3-traceid x-client-trace-id
		x-correlation-id x-csrf-token x-forwarded-for x-forwarded-host x-forwarded-port x-ms-client x-real-ip
		x-request-id x-role x-version`)
}
