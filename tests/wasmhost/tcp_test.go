package wasmhost

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// piece is what one side of a connection says; end closes its direction.
type piece struct {
	server bool
	data   string
	end    bool
}

func client(data string) piece { return piece{data: data} }
func server(data string) piece { return piece{server: true, data: data} }

var (
	clientEnds = piece{end: true}
	serverEnds = piece{server: true, end: true}
)

var talks = []struct {
	name string
	says []piece
}{
	{"client first", []piece{client("hello"), server("there"), clientEnds, serverEnds}},
	{"server first", []piece{server("banner"), client("x"), server("y"), serverEnds, clientEnds}},
	{"data held back", []piece{client("do pause"), client(";get x"), clientEnds, serverEnds}},
	{"guest closes downstream", []piece{client("do closedownstream;pause")}},
	{"guest closes upstream", []piece{client("do closeupstream;pause")}},
	{"properties", []piece{client("do property plugin_name;setproperty mine 1;property mine;pairs;reply"), clientEnds, serverEnds}},
	{"shared data and call", []piece{client("do share tcp 1 0;shared tcp;call auth /yes 2000"), clientEnds, serverEnds}},
}

func TestTCP(t *testing.T) {
	for _, c := range talks {
		t.Run(c.name, func(t *testing.T) { compareTalk(t, "tcp", c.says) })
	}
}

// A connection on which nothing is said is ended from a tick.
func TestTCPClosedByTick(t *testing.T) { compareTalk(t, "tcpclose", nil) }

func compareTalk(t *testing.T, name string, says []piece) {
	t.Helper()
	d := doorNamed(t, name)
	ours := here.talk(t.Context(), d, says)
	real, err := inEnvoy.talk(d, says, ours)
	if err != nil {
		t.Fatal(err)
	}
	if real.String() != ours.String() {
		t.Errorf("%s: %+v\n%s", name, says, differ(real, ours))
	}
}

func (o *offline) talk(ctx context.Context, d door, says []piece) transcript {
	p, vm := o.plugins[d.name], o.vms[d.vm]
	since := len(vm.Logs())
	c := p.TCP(wasmtest.StreamInfo{})
	c.Open(ctx)
	if len(says) == 0 {
		_ = vm.Advance(ctx, p.TickPeriod())
	}
	ended := 0
	for _, s := range says {
		if s.server {
			c.UpstreamData(ctx, []byte(s.data), s.end)
		} else {
			c.DownstreamData(ctx, []byte(s.data), s.end)
		}
		o.wait(ctx, vm, visit{})
		if s.end {
			ended++
		}
	}
	closed := c.Closed()
	// Envoy closes once both directions have ended, unless the client just did.
	if ended == 2 {
		reason := wasmtest.CloseLocal
		if !says[len(says)-1].server {
			reason = wasmtest.CloseRemote
		}
		c.Close(ctx, reason)
	}
	return talked(c.ToUpstream(), c.ToDownstream(), closed, o.said(d, since))
}

func talked(up, down []byte, closed bool, said []string) transcript {
	var t transcript
	t.add("upstream", []string{fmt.Sprintf("%q", up)})
	t.add("client", []string{fmt.Sprintf("%q closed by the guest: %v", down, closed)})
	t.add("log", said)
	return t
}

func (o *online) talk(d door, says []piece, want transcript) (transcript, error) {
	since := o.mark()
	o.backends.drain()
	down, err := o.dial(d)
	if err != nil {
		return nil, err
	}
	defer down.Close()
	up, err := o.backends.accepted()
	if err != nil {
		return nil, err
	}
	seen := o.seenBy(d)
	var ended int
	if up != nil {
		defer up.Close()
		seen()
		for _, s := range says {
			end := down
			if s.server {
				end = up
			}
			_, _ = io.WriteString(end, s.data)
			if s.end {
				ended++
				_ = end.(*net.TCPConn).CloseWrite()
			}
			seen()
		}
	}
	var t transcript
	for deadline := time.Now().Add(settleTimeout); ; time.Sleep(poll) {
		t = talked(nil, nil, false, o.said(d, since, false))
		if len(t) >= len(want) || time.Now().After(deadline) {
			break
		}
	}
	// What was not closed by now is not going to be.
	upData, _ := readAll(up)
	downData, closed := readAll(down)
	return talked(upData, downData, closed && ended < 2, o.said(d, since, false)), nil
}

// readAll reads what has come and says whether the other side has closed.
func readAll(c net.Conn) ([]byte, bool) {
	if c == nil {
		return nil, true
	}
	_ = c.SetReadDeadline(time.Now().Add(pieceTimeout))
	data, err := io.ReadAll(c)
	return data, err == nil
}

// accepted returns Envoy's connection to the upstream, or nil where it makes
// none.
func (b *backends) accepted() (net.Conn, error) {
	select {
	case c := <-b.streams:
		return c, c.SetDeadline(time.Now().Add(15 * time.Second))
	case <-time.After(2 * pieceTimeout):
		return nil, nil
	}
}

// drain drops connections that an earlier test left.
func (b *backends) drain() {
	for {
		select {
		case c := <-b.streams:
			c.Close()
		default:
			return
		}
	}
}
