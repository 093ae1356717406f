package sidecar

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/wasmesh/wasmesh/injector/sidecar/probe"
)

// grpcPrefix is a byte that says "not compressed" and the length of a message.
const grpcPrefix = 5

// serving is grpc.health.v1.HealthCheckResponse.SERVING.
const serving = 1

// grpc asks grpc.health.v1.Health/Check. One call of one message is not worth
// the library, which would double this process.
func (p *prober) grpc(ctx context.Context, a probe.GRPC, agent string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.at("", a.Port)+"/grpc.health.v1.Health/Check", bytes.NewReader(healthRequest(a.Service)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	request.Header.Set("User-Agent", agent)
	// Closed here: when an answer is read, its HTTP/2 connection may not count as
	// idle yet, and a transport that nobody asks again never closes it.
	conn, err := dialApplication(ctx, "tcp", request.URL.Host)
	if err != nil {
		return reason(err)
	}
	defer conn.Close()
	var used atomic.Bool
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("one connection is enough for one call")
		}
		return conn, nil
	}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return reason(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProbeBody))
	if err != nil {
		return reason(err)
	}
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/grpc") {
		return fmt.Errorf("no gRPC answers there: HTTP %d", response.StatusCode)
	}
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		status = response.Header.Get("Grpc-Status")
	}
	if status != "0" {
		return fmt.Errorf("the health check ended with %s", grpcStatus(status))
	}
	n, err := healthStatus(body)
	if err == nil && n != serving {
		err = fmt.Errorf("the application's health is %d, not %d (SERVING)", n, serving)
	}
	return err
}

// grpcStatus names a status if it is one, and nothing else that was sent.
func grpcStatus(text string) string {
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return "no gRPC status"
	}
	return fmt.Sprintf("gRPC status %d", n)
}

// healthRequest is the message {string service = 1}, framed.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service)))
		message = append(message, service...)
	}
	framed := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(framed, message...)
}

// healthStatus reads the message {enum status = 1}; it knows no other fields, of
// which the protocol has none.
func healthStatus(body []byte) (uint64, error) {
	damaged := errors.New("the health check's answer is damaged")
	if len(body) < grpcPrefix || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-grpcPrefix) {
		return 0, damaged
	}
	message := body[grpcPrefix:]
	if len(message) == 0 {
		return 0, nil
	}
	value, n := binary.Uvarint(message[1:])
	if message[0] != 1<<3 || n <= 0 || n != len(message)-1 {
		return 0, damaged
	}
	return value, nil
}
