package main

import (
	"bytes"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// answerSize is the size of every body that the application sends, in bytes.
const answerSize = 1024

// backend is the application behind every sidecar.
type backend struct {
	address netip.AddrPort
	server  *http.Server
}

func startBackend() (*backend, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	body := bytes.Repeat([]byte("b"), answerSize)
	b := &backend{
		address: listener.Addr().(*net.TCPAddr).AddrPort(),
		server: &http.Server{
			Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }),
			ReadHeaderTimeout: time.Minute,
		},
	}
	go b.server.Serve(listener) // ends with close
	return b, nil
}

func (b *backend) close() { b.server.Close() }
