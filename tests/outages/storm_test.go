package outages

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// A proxy that refuses everything is sent nothing again: no loop between the two.
func testRefusals(t *testing.T, s *site) {
	stream, err := openStream(t.Context(), s.connect(s.certificate(noisy), nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, typeURL := range types {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}); err != nil {
			t.Fatal(err)
		}
	}
	var received atomic.Int64
	go func() {
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			received.Add(1)
			if stream.Send(refusal(answer.GetTypeUrl(), answer.GetNonce())) != nil {
				return
			}
		}
	}()
	s.must(applyTimeout, "a response", func(context.Context) error {
		if received.Load() == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	time.Sleep(2 * time.Second)
	first := received.Load()
	time.Sleep(2 * time.Second)
	if again := received.Load() - first; first > int64(len(types)) || again > 0 {
		t.Errorf("%d responses, and %d more without any edit; %d types were asked for", first, again, len(types))
	}
	t.Logf("%d responses were refused, none was sent again", first)
}

func refusal(typeURL, nonce string) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: typeURL, ResponseNonce: nonce,
		ErrorDetail: &status.Status{Code: 3, Message: strings.Repeat("no, ", 5000)},
	}
}

// storm is a client with a valid certificate that does what it likes.
type storm struct {
	sent, received, streams atomic.Int64
	wait                    sync.WaitGroup
	cancel                  context.CancelFunc
}

// startStorm has one stream that is opened again and again, and others that stay.
func (s *site) startStorm(streams int) *storm {
	ctx, cancel := context.WithCancel(context.Background())
	st := &storm{cancel: cancel}
	conn := s.connect(s.certificate(noisy), nil)
	for i := range streams {
		st.wait.Go(func() {
			for ctx.Err() == nil {
				st.one(ctx, conn, i == 0)
			}
		})
	}
	s.t.Cleanup(st.stop)
	return st
}

func (st *storm) stop() {
	st.cancel()
	st.wait.Wait()
}

// one stream asks for thousands of names, refuses, takes back and asks again,
// as fast as it may.
func (st *storm) one(ctx context.Context, conn *grpc.ClientConn, brief bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := openStream(ctx, conn)
	if err != nil {
		time.Sleep(poll)
		return
	}
	st.streams.Add(1)
	var nonces sync.Map
	go func() {
		defer cancel()
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			st.received.Add(1)
			nonces.Store(answer.GetTypeUrl(), answer.GetNonce())
		}
	}()
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("outbound|shop/nobody-%d|8081", i))
	}
	for i := 0; ctx.Err() == nil; i++ {
		typeURL := types[i%len(types)]
		ask := refusal(typeURL, "none")
		if nonce, ok := nonces.Load(typeURL); ok {
			ask.ResponseNonce = nonce.(string)
		}
		if i%2 == 0 {
			ask.ResourceNamesSubscribe = append(names[:len(names):len(names)], "*", xds.RuntimeType)
		} else {
			ask.ResourceNamesUnsubscribe = append(names[:len(names):len(names)], "*")
		}
		if stream.Send(ask) != nil {
			return
		}
		st.sent.Add(1)
		if brief {
			return
		}
	}
}

// The storm of one identity is the affair of one identity.
func testStorm(t *testing.T, s *site) {
	quiet := s.editLatency(t, 7)
	pid := s.running[controlPlane].PID()
	before, watched, began := uses(t, pid), watch(t, pid), time.Now()
	logged := len(s.log(controlPlane))
	st := s.startStorm(4)
	time.Sleep(forms(2*time.Second, 20*time.Second))
	stormy := s.editLatency(t, 7)
	st.stop()
	most, took := watched.stop(), time.Since(began)
	load := float64(most.processor-before.processor) / float64(took)
	lines := len(s.log(controlPlane)) - logged
	t.Logf("in %v the storm sent %d messages on %d streams and received %d", took.Round(time.Millisecond), st.sent.Load(), st.streams.Load(), st.received.Load())
	t.Logf("an edit is in force after %v, in the storm after %v: %.1f times", quiet.Round(time.Millisecond), stormy.Round(time.Millisecond), float64(stormy)/float64(quiet))
	t.Logf("the control plane: %v before, at most %v; %.2f processors, %d bytes of log", before, most, load, lines)
	if stormy > 3*quiet+500*time.Millisecond {
		t.Errorf("edits are late: %v instead of %v", stormy, quiet)
	}
	if most.memory > before.memory+150 || most.descriptors > before.descriptors+20 {
		t.Errorf("the storm took %d MB and %d descriptors", most.memory-before.memory, most.descriptors-before.descriptors)
	}
	if lines > 1<<20 {
		t.Errorf("the storm caused %d bytes of log", lines)
	}
	s.must(applyTimeout, "the policy as before", answers(deniedPath, 403))
}
