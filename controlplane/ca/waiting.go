package ca

import (
	"context"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/wasmesh/wasmesh/controlplane/door"
)

const (
	// maxWaiting are connections whose request is not here yet: those of honest
	// callers need milliseconds for it. Of more, the oldest is closed.
	maxWaiting = 256
	// maxConnections also counts those that are being answered.
	maxConnections = 2 * maxWaiting
)

// strangers is where the HTTP server tells of connections that failed, which
// anybody can cause.
func strangers(log *slog.Logger) *stdlog.Logger {
	return stdlog.New(&teller{log: log}, "", 0)
}

type teller struct {
	log  *slog.Logger
	tell door.Teller
}

// Write takes one line.
func (t *teller) Write(line []byte) (int, error) {
	t.tell.Warn(t.log, time.Now(), "join endpoint: a connection failed", "cause", strings.TrimSpace(string(line)))
	return len(line), nil
}

// waitingRoom is a listener that bounds the connections, so that whoever opens
// many and says nothing keeps out nobody who has something to say.
type waitingRoom struct {
	net.Listener
	room *door.Room
}

func newWaitingRoom(ln net.Listener) waitingRoom {
	return waitingRoom{netutil.LimitListener(ln, maxConnections), door.NewRoom(maxWaiting)}
}

// Accept has the connection wait.
func (w waitingRoom) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &caller{Conn: conn}
	c.leave = w.room.Enter(conn)
	return c, nil
}

// caller is a connection that waits until its request is whole, or it is closed.
type caller struct {
	net.Conn
	leave func()
}

// Close also leaves the room.
func (c *caller) Close() error {
	c.leave()
	return c.Conn.Close()
}

// leaveKey is where a request's context keeps how its connection leaves the room.
type leaveKey struct{}

// remember is the server's ConnContext. Over TLS the server gives us its own
// connection, which knows ours.
func remember(ctx context.Context, conn net.Conn) context.Context {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
	}
	if c, ok := conn.(*caller); ok {
		return context.WithValue(ctx, leaveKey{}, c.leave)
	}
	return ctx
}

// heard says that a request is whole.
func heard(r *http.Request) {
	if leave, ok := r.Context().Value(leaveKey{}).(func()); ok {
		leave()
	}
}
