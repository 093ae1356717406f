package wasmhost

import (
	"bufio"
	"fmt"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/filters/wasmtest"
)

// after is a visit some time after the last.
type after struct {
	wait time.Duration
	visit
}

// A trap loses the VM. What each policy makes of it is compared request by
// request, the panic's own words included.
func TestTraps(t *testing.T) {
	probing := visit{do: "get x-a", headers: pairs("x-a", "1")}
	for name, steps := range map[string][]after{
		"closed": {{visit: probing}, {visit: visit{do: "panic"}}, {visit: probing}, {wait: 400 * time.Millisecond, visit: probing}},
		"open":   {{visit: probing}, {visit: visit{do: "panic"}}, {visit: probing}, {visit: visit{do: "reply"}}},
		"reload": {
			{visit: probing}, {wait: 400 * time.Millisecond, visit: visit{do: "panic"}}, {visit: probing},
			{visit: visit{do: "panic"}}, {visit: probing}, {wait: 500 * time.Millisecond, visit: probing},
		},
		"memory": {{visit: visit{do: "reserve 300"}}, {visit: visit{do: "reserve 800"}}, {visit: probing}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range steps {
				time.Sleep(s.wait)
				// What it returns is the trap that a step before made.
				_ = here.vms[name].Advance(t.Context(), s.wait)
				s.door = name
				compare(t, s.visit)
			}
		})
	}
}

func TestTrapsOfConnections(t *testing.T) {
	for _, name := range []string{"tcpclosed", "tcpopen", "tcpreload"} {
		t.Run(name, func(t *testing.T) {
			const longerThanTheBackoff = 400 * time.Millisecond
			time.Sleep(longerThanTheBackoff)
			if err := here.vms[name].Advance(t.Context(), longerThanTheBackoff); err != nil {
				t.Fatal(err)
			}
			compareTalk(t, name, []piece{client("one"), server("two"), clientEnds, serverEnds})
			compareTalk(t, name, []piece{client("do panic")})
			compareTalk(t, name, []piece{client("one"), server("two"), clientEnds, serverEnds})
		})
	}
}

// A request that another one's panic finds half way ends with its next event.
func TestStreamOpenAtATrap(t *testing.T) {
	d := doorNamed(t, "alive")
	s := here.plugins[d.name].HTTP(wasmtest.StreamInfo{})
	s.RequestHeaders(t.Context(), pairs(":authority", "a", ":path", "/p", ":method", "POST"), false)
	s.RequestBody(t.Context(), []byte("one"), false)

	inEnvoy.backends.expect(answer{}, func() {})
	seen := inEnvoy.seenBy(d)
	c, err := inEnvoy.dial(d)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := writeHead(c, "POST /p HTTP/1.1\r\nhost: a", pairs("transfer-encoding", "chunked")); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(c, "3\r\none\r\n"); err != nil {
		t.Fatal(err)
	}
	seen()
	compare(t, visit{door: d.name, do: "panic"})

	s.RequestBody(t.Context(), []byte("two"), false)
	if _, err := fmt.Fprint(c, "3\r\ntwo\r\n"); err != nil {
		t.Fatal(err)
	}
	m, err := readMessage(bufio.NewReader(c))
	if err != nil {
		t.Fatal(err)
	}
	if real, ours := transcript(m.lines()), transcript(clientLines(s)); real.String() != ours.String() || m.first != "503" {
		t.Error(differ(real, ours))
	}
}
