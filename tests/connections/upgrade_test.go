package connections

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func upgradeRequest(path string) string {
	return "GET " + path + " HTTP/1.1\nHost: store\nConnection: Upgrade\nUpgrade: websocket\n" +
		"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: d2FzbWVzaCB3YXNtZXNoIQ==\nOrigin: http://store\n\n"
}

const (
	// smuggled is a request that no policy allows, in the place of a frame.
	smuggled = "GET /admin HTTP/1.1\r\nHost: store\r\n\r\n"
	// thinking is how long the application takes to answer an upgrade.
	thinking = 300 * time.Millisecond
)

// upgrades answers an upgrade request late. What comes before its answer is
// early, and so is all that comes where it does not upgrade.
func (w *web) upgrades(c net.Conn) {
	in := bufio.NewReader(c)
	request, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	if c.SetReadDeadline(time.Now().Add(thinking)) != nil {
		return
	}
	_, _ = in.Peek(1) // waits for early bytes
	w.early.Add(int64(in.Buffered()))
	if c.SetReadDeadline(time.Now().Add(answerTimeout)) != nil {
		return
	}
	answers := map[string]string{
		"/accept":  "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: whatever",
		"/decline": "426 Upgrade Required\r\nContent-Length: 2",
		"/ignore":  "200 OK\r\nContent-Length: 2",
	}
	if _, err := io.WriteString(c, "HTTP/1.1 "+answers[request.URL.Path]+"\r\n\r\n"); err != nil {
		return
	}
	if request.URL.Path == "/accept" {
		_, _ = io.Copy(c, in)
		return
	}
	_, _ = io.WriteString(c, "no")
	n, _ := io.Copy(io.Discard, in)
	w.early.Add(n)
}

// testEarlyBytes sends on before an upgrade is answered: nothing of it may arrive
// before the answer does, and nothing at all if there is no upgrade.
func testEarlyBytes(t *testing.T, n *network) {
	n.grant(t, grant{name: "web", to: "store", sources: []string{"caller"}, paths: []string{"/(accept|decline|ignore)$"}})
	if _, _, err := sendEarly(t.Context(), "127.141.0.3:8004", "/accept"); err != nil || n.apps.web.early.Swap(0) == 0 {
		t.Fatalf("without any sidecar the application does not notice early bytes, %v", err)
	}
	for _, path := range []string{"/accept", "/decline", "/ignore"} {
		for way, send := range map[string]func(context.Context, *testing.T, *network, string) (int, []byte, error){
			"through its sidecar": sendEarlyThrough, "without its sidecar": sendEarlyStraight,
		} {
			status, got, err := send(t.Context(), t, n, path)
			switch {
			case err != nil:
				t.Errorf("%s %s: %v", path, way, err)
			case path == "/accept" && string(got) != smuggled:
				t.Errorf("%s %s: after the upgrade came %q", path, way, got)
			case path == "/decline" && status != http.StatusUpgradeRequired:
				t.Errorf("%s %s: the answer is %d", path, way, status)
			}
			if early := n.apps.web.early.Swap(0); early > 0 {
				t.Errorf("%s %s: %d early bytes reached the application", path, way, early)
			}
		}
	}
}

func sendEarlyThrough(ctx context.Context, _ *testing.T, n *network, path string) (int, []byte, error) {
	return sendEarly(ctx, n.outlet(caller, store, 8004), path)
}

// sendEarly speaks HTTP/1.1 and returns the status and what came after it.
func sendEarly(ctx context.Context, at, path string) (int, []byte, error) {
	c, err := dial(ctx, at)
	if err != nil {
		return 0, nil, err
	}
	defer c.Close()
	response, in, err := raw(c, upgradeRequest(path)+strings.ReplaceAll(smuggled, "\r", ""))
	if err != nil {
		return 0, nil, err
	}
	got := make([]byte, len(smuggled))
	if path != "/accept" {
		time.Sleep(thinking) // what was held back would come now
		return response.StatusCode, nil, nil
	}
	_, err = io.ReadFull(in, got)
	return response.StatusCode, got, err
}

// sendEarlyStraight speaks HTTP/2 to the server's sidecar.
func sendEarlyStraight(_ context.Context, t *testing.T, n *network, path string) (int, []byte, error) {
	c, err := tls.Dial("tcp", n.inlet(store, 8004), n.credentials(t, caller))
	if err != nil {
		return 0, nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return 0, nil, err
	}
	var block bytes.Buffer
	headers := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", path}, {":authority", "store"},
		{"sec-websocket-version", "13"}, {"sec-websocket-key", "d2FzbWVzaCB3YXNtZXNoIQ=="},
	} {
		if err := headers.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			return 0, nil, err
		}
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return 0, nil, err
	}
	framer := http2.NewFramer(c, c)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		return 0, nil, err
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		return 0, nil, err
	}
	if err := framer.WriteData(1, false, []byte(smuggled)); err != nil {
		return 0, nil, err
	}
	return readStream(framer, path == "/accept")
}

// readStream reads the status, and data after it if some is to come.
func readStream(framer *http2.Framer, data bool) (status int, got []byte, err error) {
	for status == 0 || data && len(got) < len(smuggled) {
		frame, err := framer.ReadFrame()
		if err != nil {
			return status, got, err
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if _, err := fmt.Sscan(f.PseudoValue("status"), &status); err != nil {
				return status, got, err
			}
		case *http2.DataFrame:
			got = append(got, f.Data()...)
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return status, got, fmt.Errorf("the sidecar said %v", f)
		}
	}
	if !data {
		time.Sleep(thinking) // what was held back would come now
	}
	return status, got, nil
}
