package observed

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/tests/rig"
)

func TestLines(t *testing.T) {
	n := start(t, func(o *rig.Options) { o.AccessLog = 100 }, buyer, thief, store, desk)
	to := n.address(buyer, store, 14101)
	t.Log(call(t, to, "/open/a?secret=1"), call(t, to, "/closed"), call(t, to, "/open/broken"))
	t.Log(call(t, n.address(buyer, desk, 14103), "/x"), call(t, n.address(thief, store, 14101), "/open"))
	for _, w := range []string{n.address(buyer, store, 14102), n.address(thief, store, 14102), "127.51.0.2:14102", "127.51.0.2:14101"} {
		c, err := net.Dial("tcp", w)
		t.Log(w, err)
		if err == nil {
			io.WriteString(c, "hello")
			c.SetReadDeadline(time.Now().Add(time.Second))
			b := make([]byte, 5)
			m, err := c.Read(b)
			t.Log(m, err)
			c.Close()
		}
	}
	time.Sleep(11 * time.Second)
	for _, w := range n.snapshot.Workloads {
		for _, e := range n.read(t, w.Name) {
			t.Log(w.Name, e)
		}
	}
}
