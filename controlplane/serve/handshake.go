package serve

import (
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/wasmesh/wasmesh/controlplane/door"
)

const (
	// handshakeTimeout frees what a connection that never authenticates holds.
	handshakeTimeout = 5 * time.Second
	// maxHandshakes are under way at a time; a proxy's takes milliseconds.
	maxHandshakes = 512
)

// greeter is TLS that bounds how many handshakes are under way, and tells of
// those that fail: gRPC itself says nothing of them.
type greeter struct {
	credentials.TransportCredentials
	room *door.Room
	tell *door.Teller
	log  *slog.Logger
}

func newGreeter(tls credentials.TransportCredentials, log *slog.Logger) greeter {
	return greeter{tls, door.NewRoom(maxHandshakes), &door.Teller{}, log}
}

// ServerHandshake has the deadline that the server sets.
func (g greeter) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	leave := g.room.Enter(raw)
	defer leave()
	conn, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		g.tell.Warn(g.log, time.Now(), "a connection to the xDS port did not prove that it is a sidecar's",
			"remote", raw.RemoteAddr().String(), "cause", err)
	}
	if known, ok := info.(credentials.TLSInfo); ok && err == nil && len(known.State.PeerCertificates) > 0 {
		conn = endingWith(conn, known.State.PeerCertificates[0].NotAfter)
	}
	return conn, info, err
}

// goodbye is how long a connection outlives its certificate, so that the ends of
// its streams are heard.
const goodbye = time.Second

// ending is a connection that ends with the certificate that opened it. A proxy
// whose stream has ended would open the next one on the same connection, whose
// certificate has ended too, for ever: it has to make a new one.
type ending struct {
	net.Conn
	timer *time.Timer
}

func endingWith(conn net.Conn, notAfter time.Time) net.Conn {
	return ending{conn, time.AfterFunc(time.Until(notAfter)+goodbye, func() { conn.Close() })}
}

// Close also ends the wait.
func (e ending) Close() error {
	e.timer.Stop()
	return e.Conn.Close()
}

// Clone is a greeter at the same door.
func (g greeter) Clone() credentials.TransportCredentials {
	g.TransportCredentials = g.TransportCredentials.Clone()
	return g
}
