package door

import (
	"context"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// Listener bounds the connections of an HTTP server, so that whoever opens many
// and says nothing keeps out nobody who has something to say: a connection waits
// in a Room until its handler calls Heard. The server needs Remember as its
// ConnContext.
type Listener struct {
	net.Listener
	room *Room
}

// Listen has at most so many connections wait, and so many in all.
func Listen(ln net.Listener, waiting, all int) Listener {
	return Listener{netutil.LimitListener(ln, all), NewRoom(waiting)}
}

// Accept has the connection wait.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &caller{conn, l.room.Enter(conn)}, nil
}

// caller is a connection that waits until its request is here, or it is closed.
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

// Remember is a server's ConnContext. Over TLS the server gives us its own
// connection, which knows ours.
func Remember(ctx context.Context, conn net.Conn) context.Context {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
	}
	if c, ok := conn.(*caller); ok {
		return context.WithValue(ctx, leaveKey{}, c.leave)
	}
	return ctx
}

// Heard says that what had to be proved or said is here.
func Heard(r *http.Request) {
	if leave, ok := r.Context().Value(leaveKey{}).(func()); ok {
		leave()
	}
}

// Failures is where an HTTP server tells of connections that failed, which
// anybody can cause. what is the line's beginning.
func Failures(log *slog.Logger, what string) *stdlog.Logger {
	return stdlog.New(&failures{log: log, what: what}, "", 0)
}

type failures struct {
	log  *slog.Logger
	what string
	tell Teller
}

// Write takes one line.
func (f *failures) Write(line []byte) (int, error) {
	f.tell.Warn(f.log, time.Now(), f.what, "cause", strings.TrimSpace(string(line)))
	return len(line), nil
}
