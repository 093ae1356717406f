package serve

import (
	"context"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// What one identity may cost. A proxy needs some twenty messages to start and a
// few for an edit, and one stream; while its old connection is being given up
// there are two.
const (
	maxStreams        = 4
	messagesAtOnce    = 400
	messagesPerSecond = 100
	// streamCost is what opening a stream counts for: all resources are built.
	streamCost = 20
	// maxAsked bounds the names that a stream asks for or brings, in bytes, over
	// its life; then the proxy has to begin anew. 5,000 services need 0.6 MB.
	maxAsked = 8 << 20
	// nameCost is what keeping a name costs beside its bytes.
	nameCost = 64
	// maxCause is how much is kept of what a proxy says about a refusal.
	maxCause = 16 << 10
)

// guests are the identities that have streams, and those that had of late.
type guests struct {
	mu sync.Mutex
	of map[mesh.Name]*guest
}

// guest is one identity.
type guest struct {
	messages *rate.Limiter
	streams  []*visit // the oldest first
}

// visit is one stream of a guest. end ends it with a reason.
type visit struct {
	guest *guest
	end   context.CancelCauseFunc
}

// open holds back who opens streams too often, before one ends another.
func (g *guests) open(ctx context.Context, name mesh.Name) error {
	g.mu.Lock()
	g.forget()
	v := visit{guest: g.named(name)}
	g.mu.Unlock()
	return v.wait(ctx, streamCost)
}

// named returns an identity's guest, a new one if need be.
func (g *guests) named(name mesh.Name) *guest {
	if g.of == nil {
		g.of = map[mesh.Name]*guest{}
	}
	if g.of[name] == nil {
		g.of[name] = &guest{messages: rate.NewLimiter(messagesPerSecond, messagesAtOnce)}
	}
	return g.of[name]
}

// enter counts a stream in. Of too many the oldest is ended: it is the one whose
// proxy may be gone without a word.
func (g *guests) enter(name mesh.Name, end context.CancelCauseFunc) (v *visit, leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	who := g.named(name)
	if len(who.streams) >= maxStreams {
		who.streams[0].end(status.Errorf(codes.ResourceExhausted, "%s has more than %d streams; this is the oldest", name, maxStreams))
		who.streams = append([]*visit(nil), who.streams[1:]...)
	}
	v = &visit{who, end}
	who.streams = append(who.streams, v)
	return v, func() { g.leave(v) }
}

func (g *guests) leave(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range v.guest.streams {
		if s == v {
			v.guest.streams = append(v.guest.streams[:i:i], v.guest.streams[i+1:]...)
			return
		}
	}
}

// forget drops those who would get a new allowance that is no larger.
func (g *guests) forget() {
	for name, who := range g.of {
		if len(who.streams) == 0 && who.messages.Tokens() >= messagesAtOnce {
			delete(g.of, name)
		}
	}
}

// wait holds a guest back who says too much: it is not read from meanwhile, so
// that what it says stays on its side.
func (v *visit) wait(ctx context.Context, cost int) error {
	err := v.guest.messages.WaitN(ctx, cost)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return status.Errorf(codes.ResourceExhausted, "too many messages: %v", err)
	}
	return nil
}

// asked is what the names of a message cost to keep.
func asked(m *discoveryv3.DeltaDiscoveryRequest) int {
	cost := 0
	for _, name := range m.GetResourceNamesSubscribe() {
		cost += len(name) + nameCost
	}
	for name, version := range m.GetInitialResourceVersions() {
		cost += len(name) + len(version) + nameCost
	}
	return cost
}

// unanswered are the responses that a proxy has not answered yet. One that does
// not answer in time does not read, or runs something else than it should: its
// stream is ended, and it begins anew.
type unanswered struct {
	mu     sync.Mutex
	over   bool
	timers map[string]*time.Timer // by nonce
}

const (
	// answerLimit leaves an Envoy time to compile a module on a slow machine.
	answerLimit = 18 * time.Second
	// maxUnanswered: for each type there is rarely more than one.
	maxUnanswered = 64
)

// begin starts the time of a response; late is called when it is over.
func (u *unanswered) begin(nonce string, late func()) (ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over || len(u.timers) >= maxUnanswered {
		return false
	}
	if u.timers == nil {
		u.timers = map[string]*time.Timer{}
	}
	u.timers[nonce] = time.AfterFunc(answerLimit, late)
	return true
}

// answered ends the time of a response.
func (u *unanswered) answered(nonce string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if timer, ok := u.timers[nonce]; ok {
		timer.Stop()
		delete(u.timers, nonce)
	}
}

// end ends them all.
func (u *unanswered) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for _, timer := range u.timers {
		timer.Stop()
	}
	clear(u.timers)
}
