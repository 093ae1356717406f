package connections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/traffic"
	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// testHTTP sends requests in both versions, with large bodies
// (smi-rules 53).
func testHTTP(t *testing.T, n *network) {
	n.grant(t, grant{name: "web", to: "store", sources: []string{"caller"}, paths: []string{"/hello$"}})
	app := n.apps.at("127.141.0.3:8001")
	for _, version := range []int{1, 2} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(version == 1)
		transport.Protocols.SetUnencryptedHTTP2(version == 2)
		defer transport.CloseIdleConnections()
		at := n.outlet(caller, store, 8001)
		want(t, fmt.Sprintf("HTTP/%d", version), post(transport, at, "/hello", http.StatusOK))
		before := app.received.Load()
		want(t, fmt.Sprintf("HTTP/%d", version), post(transport, at, "/hello/x", http.StatusForbidden))
		want(t, "of another", post(transport, n.outlet(other, store, 8001), "/hello", http.StatusForbidden))
		if got := app.received.Load() - before; got > 0 {
			t.Errorf("%d bytes of what was denied reached the application", got)
		}
	}
}

// post sends a large body and compares all of the answer.
func post(transport *http.Transport, at, path string, wanted int) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	sent := bytes.Repeat([]byte("0123456789abcdef"), bulk/16)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at+path, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	if wanted != http.StatusOK {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != wanted:
		return fmt.Errorf("%s is answered %d, want %d", path, response.StatusCode, wanted)
	case wanted != http.StatusOK:
		return nil
	case string(body) != "POST "+path+" "+string(sent):
		return fmt.Errorf("%d bytes came back, which are not those sent", len(body))
	}
	return nil
}

// testRPC grants gRPC by method (smi-rules 53).
func testRPC(t *testing.T, n *network) {
	n.grant(t, grant{name: "rpc", to: "store", sources: []string{"caller"}, paths: []string{rpc("Unary$"), rpc("Chat$")}})
	may, mayNot := dialRPC(t, n.outlet(caller, store, 8002)), dialRPC(t, n.outlet(other, store, 8002))
	ctx, cancel := context.WithTimeout(t.Context(), 2*answerTimeout)
	defer cancel()
	text, out := wrapperspb.String(string(bytes.Repeat([]byte("word "), 1000))), &wrapperspb.StringValue{}
	if err := may.Invoke(ctx, rpc("Unary"), text, out); err != nil || out.Value != text.Value {
		t.Errorf("unary: %d bytes came back, %v", len(out.Value), err)
	}
	n.counts(t, store, map[string]uint64{
		traffic.RequestSeries(metered(caller), metered(store), 500): 1, traffic.RequestSeries(metered(caller), metered(store), 200): 1,
	}, func() {
		err := may.Invoke(ctx, rpc("Unary"), wrapperspb.String("fail"), out)
		if s := status.Convert(err); s.Code() != codes.DataLoss || s.Message() != "as asked: 100 % of it\n" {
			t.Errorf("the application's own status arrived as %v", err)
		}
		want(t, "unary", may.Invoke(ctx, rpc("Unary"), text, out))
	})
	want(t, "bidirectional", talk(ctx, may))
	app := n.apps.at("127.141.0.3:8002")
	before := app.received.Load()
	for name, err := range map[string]error{
		"another method": drain(ctx, may, rpc("Count")), "another source": mayNot.Invoke(ctx, rpc("Unary"), text, out),
		"another's stream": talk(ctx, mayNot), "another spelling": may.Invoke(ctx, "/connections.Echo/unary", text, out),
	} {
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v, want PermissionDenied", name, err)
		}
	}
	// The caller's connection to the application may see a ping of HTTP/2.
	if got := app.received.Load() - before; got > 100 {
		t.Errorf("%d bytes reached the application", got)
	}
}

// talk has both sides speak in turns, and wants the status after the last word.
func talk(ctx context.Context, c *grpc.ClientConn) error {
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, rpc("Chat"))
	if err != nil {
		return err
	}
	for i := range 20 {
		sent, got := wrapperspb.String(fmt.Sprint("word ", i)), &wrapperspb.StringValue{}
		if err := s.SendMsg(sent); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := s.RecvMsg(got); err != nil {
			return err
		}
		if got.Value != sent.Value {
			return fmt.Errorf("%q came back as %q", sent.Value, got.Value)
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if err := s.RecvMsg(&wrapperspb.StringValue{}); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the end is %w", err)
	}
	return nil
}

// drain opens a server's stream and reads one message.
func drain(ctx context.Context, c *grpc.ClientConn, method string) error {
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := errors.Join(s.SendMsg(wrapperspb.String("go")), s.CloseSend()); err != nil {
		return err
	}
	return s.RecvMsg(&wrapperspb.Int64Value{})
}

// testWebSocket opens one, talks, and closes it as the protocol wants.
func testWebSocket(t *testing.T, n *network) {
	n.grant(t, grant{name: "web", to: "store", sources: []string{"caller"}, paths: []string{"/ws$", "/accept$", "/decline$"}})
	c, err := upgrade(t.Context(), n.outlet(caller, store, 8001))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, bulk} {
		sent, got := content(uint64(size), size), []byte(nil)
		err := errors.Join(c.SetDeadline(time.Now().Add(answerTimeout)), websocket.Message.Send(c, sent))
		if err = errors.Join(err, websocket.Message.Receive(c, &got)); err != nil || !bytes.Equal(sent, got) {
			t.Errorf("a frame of %d bytes came back with %d, %v", size, len(got), err)
		}
	}
	if err := c.WriteClose(1000); err != nil {
		t.Error(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the close frame: %d bytes, %v", n, err)
	}
	denied, err := dial(t.Context(), n.outlet(other, store, 8001))
	if err != nil {
		t.Fatal(err)
	}
	defer denied.Close()
	if response, _, err := raw(denied, upgradeRequest("/ws")); err != nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("another source: %+v, %v", response, err)
	}
}
