package sidecar

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// listening returns where the listener from disk is, once the Envoy accepts there.
func listening(t *testing.T, p *proxy, r *runDir) string {
	t.Helper()
	text, err := os.ReadFile(r.file("lds.json"))
	if err != nil {
		t.Fatal(err)
	}
	var lds struct {
		Resources []struct {
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"address"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(text, &lds); err != nil || len(lds.Resources) != 1 {
		t.Fatal(err)
	}
	eventually(t, "Envoy", func() bool { ready, _, err := p.admin.Ready(t.Context()); return err == nil && ready })
	socket := lds.Resources[0].Address.Socket
	return net.JoinHostPort(socket.Address, strconv.Itoa(socket.Port))
}

// echoed opens a connection that works.
func echoed(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	echo(t, c)
	return c
}

func echo(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	got := make([]byte, 4)
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
		t.Fatalf("%q %v", got, err)
	}
}

// stopped runs the end of an Envoy, and tells how long it took.
func stopped(p *proxy, drain time.Duration) <-chan time.Duration {
	took := make(chan time.Duration, 1)
	began := time.Now()
	go func() {
		p.stop(drain, quiet)
		took <- time.Since(began)
	}()
	return took
}

// TestNobodyIsWaitedFor: without a connection the end is at once, so that a Job
// does not wait for its sidecar.
func TestNobodyIsWaitedFor(t *testing.T) {
	p, r := startEnvoy(t, "OUTBOUND")
	c := echoed(t, listening(t, p, r))
	c.Close()
	took := <-stopped(p, time.Minute)
	t.Logf("ended after %v", took)
	if took > 5*time.Second {
		t.Errorf("nobody was connected, and it took %v", took)
	}
}

// TestLastConnectionEndsTheDrain: what is open, and what comes late, is served;
// when the last is closed, the end does not wait for the limit.
func TestLastConnectionEndsTheDrain(t *testing.T) {
	p, r := startEnvoy(t, "OUTBOUND")
	address := listening(t, p, r)
	open := echoed(t, address)
	took := stopped(p, time.Minute)
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		echo(t, open)
	}
	late := echoed(t, address)
	open.Close()
	for range 10 {
		time.Sleep(100 * time.Millisecond)
		echo(t, late)
	}
	select {
	case after := <-took:
		t.Fatalf("it ended after %v with a connection open", after)
	default:
	}
	late.Close()
	began := time.Now()
	<-took
	t.Logf("ended %v after the last connection", time.Since(began))
	if time.Since(began) > 5*time.Second {
		t.Errorf("it ended %v after the last connection", time.Since(began))
	}
}

// TestDrainIsLimited: a connection that nobody closes is cut at the limit.
func TestDrainIsLimited(t *testing.T) {
	const limit = 2 * time.Second
	p, r := startEnvoy(t, "OUTBOUND")
	open := echoed(t, listening(t, p, r))
	took := <-stopped(p, limit)
	t.Logf("ended after %v", took)
	if took < limit || took > limit+3*time.Second {
		t.Errorf("it took %v, want %v", took, limit)
	}
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}
