package connections

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// pace is how often what stays open says something.
const pace = 20 * time.Millisecond

// web is the HTTP and gRPC side of the applications.
type web struct {
	mux *http.ServeMux
	// early counts bytes behind an upgrade request that came before its answer.
	early atomic.Int64
}

func (a *applications) startWeb(t *testing.T) {
	t.Helper()
	a.web = &web{mux: http.NewServeMux()}
	a.web.mux.HandleFunc("/hello", hello)
	a.web.mux.HandleFunc("/stream", stream)
	a.web.mux.Handle("/ws", websocket.Server{Handler: repeat})
	serveHTTP(t, a.listen(t, "127.141.0.3:8001"), a.web.mux)
	serveHTTP(t, tls.NewListener(a.listen(t, "127.141.0.3:8003"), a.tls()), a.web.mux)
	a.serve(t, "127.141.0.3:8004", a.web.upgrades)
	server := grpc.NewServer()
	server.RegisterService(echoService(), struct{}{})
	l := a.listen(t, "127.141.0.3:8002")
	go server.Serve(l) // ends with Stop
	t.Cleanup(server.Stop)
}

func serveHTTP(t *testing.T, l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: answerTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// hello answers with what it was asked.
func hello(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // the caller compares
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
}

// repeat sends every message back.
func repeat(c *websocket.Conn) {
	for {
		var message []byte
		if websocket.Message.Receive(c, &message) != nil || websocket.Message.Send(c, message) != nil {
			return
		}
	}
}

// stream counts in chunks for as long as somebody listens.
func stream(w http.ResponseWriter, r *http.Request) {
	for i := 0; r.Context().Err() == nil; i++ {
		fmt.Fprintln(w, i)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		time.Sleep(pace)
	}
}

// rpc names a method of the gRPC application.
func rpc(method string) string { return "/connections.Echo/" + method }

// echoService is what a generated file would say.
func echoService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "connections.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.StringValue{}
			if err := decode(in); err != nil {
				return nil, err
			}
			if in.Value == "fail" {
				return nil, status.Error(codes.DataLoss, "as asked: 100 % of it\n")
			}
			return in, nil
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Count", ServerStreams: true, Handler: count},
			{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: chat},
		},
	}
}

// count sends numbers for as long as somebody listens.
func count(_ any, s grpc.ServerStream) error {
	if err := s.RecvMsg(&wrapperspb.StringValue{}); err != nil {
		return err
	}
	for i := int64(0); s.Context().Err() == nil; i++ {
		if err := s.SendMsg(wrapperspb.Int64(i)); err != nil {
			return err
		}
		time.Sleep(pace)
	}
	return s.Context().Err()
}

// chat echoes until the caller has said all.
func chat(_ any, s grpc.ServerStream) error {
	for {
		in := &wrapperspb.StringValue{}
		if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}

func dialRPC(t *testing.T, at string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// upgrade opens a WebSocket.
func upgrade(ctx context.Context, at string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig("ws://"+at+"/ws", "http://"+at)
	if err != nil {
		return nil, err
	}
	return config.DialContext(ctx)
}

// get sends one request on a connection of its own and returns status and body.
func get(ctx context.Context, at, path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// raw writes a request as it stands and returns the status and headers.
func raw(c net.Conn, text string) (*http.Response, *bufio.Reader, error) {
	if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(c)
	response, err := http.ReadResponse(in, nil)
	return response, in, err
}

// selfSigned is the certificate of an application's own TLS.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"application.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
}
