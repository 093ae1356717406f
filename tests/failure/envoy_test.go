package failure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/rig"
)

const (
	httpOutlet = "127.176.9.1:8081"
	tcpOutlet  = "127.176.9.1:8082"
	backend    = "127.171.1.2"

	allowedPath, deniedPath = "/books", "/admin"
	answered                = "X-Application"
	answerTimeout           = 10 * time.Second
	// healLimit is within which others are served again after a trap; alone it
	// takes a tenth of a second and what starting the module takes.
	healLimit = 15 * time.Second
	// calm is how long others must have been served to call it healed.
	calm     = 500 * time.Millisecond
	interval = 5 * time.Millisecond
)

var (
	caller = mesh.Name{Namespace: "shop", Name: "caller"}
	store  = mesh.Name{Namespace: "shop", Name: "store"}
)

// lab is a mesh whose module can be poisoned, with its application.
type lab struct {
	*rig.Mesh
	mu sync.Mutex
	// intruders are the requests the application saw that the policy denies.
	intruders []string
}

func openLab(t *testing.T, module string) *lab {
	t.Helper()
	l := &lab{}
	l.serve(t)
	o := rig.Options{
		Manifests: "testdata/mesh", Settings: smi.Settings{TrustDomain: "failure.test"},
		Workloads: []mesh.Name{caller, store}, Programs: programs,
	}
	o.Programs.Module = module
	var err error
	if l.Mesh, err = rig.Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, err := l.SidecarLog(store)
			t.Logf("the store's sidecar said: %s %v", text[max(0, len(text)-6000):], err)
		}
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
		if len(l.intruders) > 0 {
			t.Errorf("the application saw what is denied: %v", l.intruders)
		}
	})
	return l
}

// serve answers requests on one port, and says back what it hears on the other.
func (l *lab) serve(t *testing.T) {
	t.Helper()
	web, err := net.Listen("tcp", backend+":8081")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: answerTimeout, MaxHeaderBytes: 1 << 20, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, allowedPath) {
			l.mu.Lock()
			l.intruders = append(l.intruders, r.URL.Path+" "+r.Header.Get("x-poison"))
			l.mu.Unlock()
		}
		w.Header().Set(answered, "yes")
		_, _ = io.WriteString(w, "here you are\n")
	})}
	go server.Serve(web)
	lines, err := net.Listen("tcp", backend+":8082")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := lines.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), lines.Close()); err != nil {
			t.Error(err)
		}
	})
}

// got is what one request or line came to.
type got struct {
	at     time.Time
	took   time.Duration
	answer string // a status, "echo", or why there was none
	fine   bool
	opened bool
}

// request asks for a path with a poison, or none, through both sidecars.
func request(transport http.RoundTripper, path, poison string) got {
	g := got{at: time.Now()}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+httpOutlet+path, io.NopCloser(strings.NewReader("x")))
	if err != nil {
		g.answer = err.Error()
		return g
	}
	r.ContentLength, r.Host = 1, "store.shop"
	if poison != "" {
		r.Header.Set("x-poison", poison)
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		g.answer = shorten(err)
		return g
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	g.took = time.Since(g.at)
	ours := response.Header.Get(answered) != ""
	g.answer = fmt.Sprint(response.StatusCode)
	g.fine = ours && response.StatusCode == http.StatusOK
	g.opened = path == deniedPath && (ours || response.StatusCode == http.StatusOK)
	return g
}

// line sends a line on a connection of its own and reads one back.
func line(text string) got {
	g := got{at: time.Now()}
	conn, err := net.DialTimeout("tcp", tcpOutlet, answerTimeout)
	if err != nil {
		g.answer = shorten(err)
		return g
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err = io.WriteString(conn, text+"\n"); err == nil {
		_, err = bufio.NewReader(conn).ReadString('\n')
	}
	g.took = time.Since(g.at)
	if err != nil {
		g.answer = shorten(err)
		return g
	}
	g.answer, g.fine = "echo", true
	return g
}

func shorten(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error()
}

// others ask for what is allowed and denied, one after the other, all the time.
type others struct {
	ask   func(turn int) got
	done  chan struct{}
	ended chan struct{}
	mu    sync.Mutex
	all   []got
}

func startOthers(ask func(turn int) got) *others {
	o := &others{ask: ask, done: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		for turn := 0; ; turn++ {
			g := o.ask(turn)
			o.mu.Lock()
			o.all = append(o.all, g)
			o.mu.Unlock()
			select {
			case <-o.done:
				return
			case <-time.After(interval):
			}
		}
	}()
	return o
}

func (o *others) stop() {
	close(o.done)
	<-o.ended
}

// since sums up what they got from a time on.
func (o *others) since(from time.Time) (asked, bad, opened int, gap, slowest time.Duration, answers map[string]int, last time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	answers = map[string]int{}
	var first time.Time
	for _, g := range o.all {
		if g.at.Add(g.took).Before(from) {
			continue
		}
		asked++
		slowest = max(slowest, g.took)
		answers[g.answer]++
		if g.opened {
			opened++
		}
		if !g.fine {
			bad++
			if first.IsZero() {
				first = g.at
			}
			last = g.at
		}
	}
	return asked, bad, opened, last.Sub(first), slowest, answers, last
}

// healed waits until they have been served for a while.
func (o *others) healed(t *testing.T, what string, from time.Time) {
	t.Helper()
	for time.Since(from) < healLimit {
		time.Sleep(20 * time.Millisecond)
		asked, _, _, _, _, _, last := o.since(from)
		if last.Before(from) {
			last = from
		}
		if asked > 5 && time.Since(last) > calm {
			return
		}
	}
	t.Errorf("%s: others are not served again after %v", what, healLimit)
}
