package connections

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// flow is something that stays open and moves bytes, each of which is compared.
type flow struct {
	name string
	from mesh.Name
	// steps are how often something came and was right.
	steps atomic.Int64
	// done is closed at the end; ended is when, wrong is not nil if what came was
	// not what had to come.
	done  chan struct{}
	ended time.Time
	wrong error
	cause error
	stop  func()
}

// errWrong is in the error of a flow that got other bytes than it had to.
var errWrong = errors.New("wrong content")

// run steps until a step fails.
func (f *flow) run(step func(i int64) error) {
	defer close(f.done)
	for i := int64(0); ; i++ {
		if err := step(i); err != nil {
			f.ended, f.cause = time.Now(), err
			if errors.Is(err, errWrong) {
				f.wrong = err
			}
			return
		}
		f.steps.Add(1)
	}
}

// live returns nil once the flow has moved on twice since.
func (f *flow) live(ctx context.Context) error {
	before := f.steps.Load()
	for f.steps.Load() < before+2 {
		select {
		case <-f.done:
			return fmt.Errorf("%s from %s was cut after %d steps: %w", f.name, f.from.Name, f.steps.Load(), f.cause)
		case <-ctx.Done():
			return fmt.Errorf("%s from %s stands still after %d steps", f.name, f.from.Name, f.steps.Load())
		case <-time.After(pace):
		}
	}
	return nil
}

// kinds are the ways to keep something open.
func kinds() map[string]func(context.Context, *testing.T, *network, mesh.Name) (step func(int64) error, stop func(), err error) {
	return map[string]func(context.Context, *testing.T, *network, mesh.Name) (func(int64) error, func(), error){
		"opaque TCP, busy": openBusy, "opaque TCP, idle": openIdle, "chunked response": openChunked,
		"gRPC stream": openCount, "WebSocket": openWebSocket,
	}
}

// open starts a flow of a kind to the store and returns when it moves.
func (n *network) open(t *testing.T, kind string, from mesh.Name) *flow {
	t.Helper()
	step, stop, err := kinds()[kind](t.Context(), t, n, from)
	if err != nil {
		t.Fatalf("%s from %s: %v", kind, from.Name, err)
	}
	f := &flow{name: kind, from: from, done: make(chan struct{}), stop: stop}
	t.Cleanup(func() { f.stop(); <-f.done })
	go f.run(step)
	if kind == "opaque TCP, idle" {
		return f // it moves once in its life
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	defer cancel()
	if err := f.live(ctx); err != nil {
		t.Fatal(err)
	}
	return f
}

// openAll opens one flow of each kind.
func (n *network) openAll(t *testing.T, from mesh.Name) []*flow {
	t.Helper()
	var all []*flow
	for kind := range kinds() {
		all = append(all, n.open(t, kind, from))
	}
	return all
}

func openBusy(ctx context.Context, _ *testing.T, n *network, from mesh.Name) (func(int64) error, func(), error) {
	c, err := dial(ctx, n.outlet(from, store, 17001))
	if err != nil {
		return nil, nil, err
	}
	got := make([]byte, 32<<10)
	return func(i int64) error {
		sent := content(uint64(i), len(got))
		if err := c.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
			return err
		}
		if _, err := c.Write(sent); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if !bytes.Equal(sent, got) {
			return fmt.Errorf("%w in chunk %d", errWrong, i)
		}
		time.Sleep(pace)
		return nil
	}, func() { c.Close() }, nil
}

// openIdle says a word, and then waits for ever.
func openIdle(ctx context.Context, _ *testing.T, n *network, from mesh.Name) (func(int64) error, func(), error) {
	c, err := dial(ctx, n.outlet(from, store, 17001))
	if err != nil {
		return nil, nil, err
	}
	word := make([]byte, 4)
	if _, err := c.Write([]byte("word")); err != nil {
		return nil, nil, err
	}
	if _, err := io.ReadFull(c, word); err != nil {
		return nil, nil, err
	}
	return func(int64) error {
		if err := c.SetDeadline(time.Time{}); err != nil {
			return err
		}
		if _, err := c.Read(word); err != nil {
			return err
		}
		return fmt.Errorf("%w: %q out of nothing", errWrong, word)
	}, func() { c.Close() }, nil
}

func openChunked(ctx context.Context, _ *testing.T, n *network, from mesh.Name) (func(int64) error, func(), error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.outlet(from, store, 8001)+"/stream", nil)
	if err != nil {
		return nil, nil, err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, nil, errors.Join(errors.New(response.Status), response.Body.Close())
	}
	lines := bufio.NewReader(response.Body)
	return func(i int64) error {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.TrimSpace(line) != strconv.FormatInt(i, 10) {
			return fmt.Errorf("%w: line %d is %q", errWrong, i, line)
		}
		return nil
	}, func() { response.Body.Close() }, nil
}

func openCount(ctx context.Context, t *testing.T, n *network, from mesh.Name) (func(int64) error, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	s, err := dialRPC(t, n.outlet(from, store, 8002)).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, rpc("Count"))
	if err == nil {
		err = errors.Join(s.SendMsg(wrapperspb.String("go")), s.CloseSend())
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return func(i int64) error {
		got := &wrapperspb.Int64Value{}
		if err := s.RecvMsg(got); err != nil {
			return err
		}
		if got.Value != i {
			return fmt.Errorf("%w: message %d is %d", errWrong, i, got.Value)
		}
		return nil
	}, cancel, nil
}

func openWebSocket(ctx context.Context, _ *testing.T, n *network, from mesh.Name) (func(int64) error, func(), error) {
	c, err := upgrade(ctx, n.outlet(from, store, 8001))
	if err != nil {
		return nil, nil, err
	}
	return func(i int64) error {
		sent, got := content(uint64(i), 300), []byte(nil)
		if err := c.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
			return err
		}
		if err := websocket.Message.Send(c, sent); err != nil {
			return err
		}
		if err := websocket.Message.Receive(c, &got); err != nil {
			return err
		}
		if !bytes.Equal(sent, got) {
			return fmt.Errorf("%w in frame %d", errWrong, i)
		}
		time.Sleep(pace)
		return nil
	}, func() { c.Close() }, nil
}
