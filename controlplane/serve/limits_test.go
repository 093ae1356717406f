package serve

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

func TestOneIdentityHasFewStreamsAndTheOldestGoes(t *testing.T) {
	var g guests
	me, other := mesh.Name{Namespace: "shop", Name: "a"}, mesh.Name{Namespace: "shop", Name: "b"}
	contexts, leave := make([]context.Context, maxStreams+1), make([]func(), maxStreams+1)
	_, leaveOther := g.enter(other, func(error) { t.Error("the stream of another was ended") })
	for i := range contexts {
		ctx, end := context.WithCancelCause(t.Context())
		contexts[i] = ctx
		_, leave[i] = g.enter(me, end)
	}
	for i, ctx := range contexts {
		if ended := ctx.Err() != nil; ended != (i == 0) {
			t.Errorf("stream %d: ended is %v", i, ended)
		}
	}
	if code := status.Code(context.Cause(contexts[0])); code != codes.ResourceExhausted {
		t.Errorf("the oldest ended with %v", code)
	}
	for _, l := range append(leave, leaveOther) {
		l()
		l()
	}
	if len(g.of[me].streams) > 0 {
		t.Errorf("%d streams are left of those that went", len(g.of[me].streams))
	}
}

func TestWhoSaysTooMuchIsNotListenedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g guests
		noisy, calm := mesh.Name{Namespace: "shop", Name: "a"}, mesh.Name{Namespace: "shop", Name: "b"}
		began, rounds := time.Now(), messagesAtOnce+10*messagesPerSecond
		for i := range rounds { // streams that come and go share what their identity may
			g.forget()
			v, leave := g.enter(noisy, func(error) {})
			if err := v.wait(t.Context(), 1); err != nil {
				t.Fatal(i, err)
			}
			leave()
		}
		if took := time.Since(began).Round(time.Second); took != 10*time.Second {
			t.Errorf("%d messages took %v, want 10s", rounds, took)
		}
		v, _ := g.enter(calm, func(error) {})
		began = time.Now()
		if err := v.wait(t.Context(), messagesAtOnce/2); err != nil || time.Since(began) > 0 {
			t.Errorf("another waited %v: %v", time.Since(began), err)
		}
		time.Sleep(time.Minute)
		if err := g.open(t.Context(), calm); err != nil {
			t.Error(err)
		}
		if _, ok := g.of[noisy]; ok {
			t.Error("an identity that was quiet for a minute is not forgotten")
		}
	})
}

func TestAResponseWithoutAnAnswerEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u unanswered
		late := 0
		for _, nonce := range []string{"1", "2"} {
			if !u.begin(nonce, func() { late++ }) {
				t.Fatal("no time was given")
			}
		}
		u.answered("1")
		time.Sleep(answerLimit + time.Second)
		synctest.Wait()
		if late != 1 {
			t.Errorf("%d were late, want 1", late)
		}
		for i := range 2 * maxUnanswered {
			if ok := u.begin("more"+strings.Repeat("x", i), func() { late++ }); ok != (i < maxUnanswered-1) {
				t.Fatalf("response %d: %v", i, ok)
			}
		}
		u.end()
		time.Sleep(time.Minute)
		synctest.Wait()
		if late != 1 || u.begin("after", nil) {
			t.Errorf("%d were late after the end", late)
		}
	})
}

func TestNamesAreCounted(t *testing.T) {
	m := &discoveryv3.DeltaDiscoveryRequest{
		ResourceNamesSubscribe: []string{"abc", ""}, InitialResourceVersions: map[string]string{"abc": "12"},
	}
	if got := asked(m); got != 3*nameCost+3+5 {
		t.Errorf("got %d", got)
	}
}

// A handshake that fails is told, and of too many that are under way the oldest
// is ended.
func TestHandshakes(t *testing.T) {
	var out strings.Builder
	const patience = 5 * time.Second
	g := newGreeter(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13}), slog.New(slog.NewTextHandler(&out, nil)))
	ends := make(chan error, maxHandshakes+1)
	var first net.Conn
	for i := range maxHandshakes + 1 {
		ours, theirs := net.Pipe()
		if i == 0 {
			first = theirs
		}
		t.Cleanup(func() { theirs.Close() })
		go func() {
			_, _, err := g.Clone().(greeter).ServerHandshake(ours)
			ends <- err
		}()
		for deadline := time.Now().Add(patience); g.room.Waiting() < min(i+1, maxHandshakes) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
	}
	select {
	case err := <-ends:
		if err == nil {
			t.Error("a handshake ended without an error")
		}
	case <-time.After(patience):
		t.Fatal("no handshake made room for another")
	}
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the oldest reads %v", err)
	}
	if g.room.Waiting() != maxHandshakes || !strings.Contains(out.String(), "did not prove that it is a sidecar's") {
		t.Errorf("%d wait; the log says %s", g.room.Waiting(), out.String())
	}
}
