package ca

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Attest says whom a platform's token was given to: in Kubernetes, a service
// account token that is bound to a pod. An error that wraps ErrRefused says that
// the token proves nothing; any other, that it could not be found out.
type Attest func(ctx context.Context, token string) (Identity, error)

const (
	maxPlatformToken = 16 << 10 // bytes; one of Kubernetes has about 1 KiB
	// recallFor bounds how long a token that was attested is believed in questions
	// for the roots, of which every sidecar asks two a minute.
	recallFor = 10 * time.Minute
	// maxRecalled bounds what is kept of them. Beyond it everything is forgotten,
	// and tokens are attested anew.
	maxRecalled = 100_000
)

// errNotAttested is a refusal of a platform's token: its holder needs no operator,
// as the platform replaces tokens.
var errNotAttested = fmt.Errorf("%w: the platform does not vouch for the token", ErrRefused)

// recollection are the tokens that were attested lately, by their digest. Only
// questions for the roots are answered by it: who lies with the token of a pod
// that is gone can have a step of a rotation made too early or too late, and gets
// nothing but roots, which are public. No certificate is issued by it.
type recollection struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]recalled
}

type recalled struct {
	id    Identity
	until time.Time
}

func (r *recollection) find(token string, now time.Time) (Identity, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := sha256.Sum256([]byte(token))
	known, ok := r.known[key]
	if ok && !now.Before(known.until) {
		delete(r.known, key)
		ok = false
	}
	return known.id, ok
}

func (r *recollection) keep(token string, id Identity, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= maxRecalled {
		r.known = map[[sha256.Size]byte]recalled{}
	}
	r.known[sha256.Sum256([]byte(token))] = recalled{id, now.Add(recallFor)}
}

// attested asks the platform whose the token is.
func (e *endpoint) attested(ctx context.Context, token string) (Identity, error) {
	if token == "" || len(token) > maxPlatformToken {
		return Identity{}, fmt.Errorf("%w: it is empty or has more than %d bytes", errNotAttested, maxPlatformToken)
	}
	id, err := e.authority.attest(ctx, token)
	switch {
	case errors.Is(err, ErrRefused):
		return id, fmt.Errorf("%w: %w", errNotAttested, err)
	case err != nil:
		return id, fmt.Errorf("attesting a token: %w", err)
	case id.Kind != KindPod:
		return Identity{}, fmt.Errorf("attesting a token: %s is of kind %.80q, and only pods have such tokens", id.Workload, id.Kind)
	}
	e.recalled.keep(token, id, e.authority.now())
	return id, nil
}

// attest trades a platform's token and a signing request for a certificate. The
// platform is asked each time: a pod that is gone gets nothing, however good its
// token still is.
func (e *endpoint) attest(ctx context.Context, body []byte) (answer, mesh.Name, error) {
	var in attestRequest
	if err := decode(body, &in); err != nil {
		return answer{}, mesh.Name{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	key, err := ParseRequest([]byte(in.CSR))
	if err != nil {
		return answer{}, mesh.Name{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	id, err := e.attested(ctx, in.Token)
	if err != nil {
		return answer{}, id.Workload, err
	}
	out, err := e.issue(id, key)
	if err != nil {
		return answer{}, id.Workload, err
	}
	// A node whose clock is wrong is told, and served: its pods cannot set it.
	if skewed := checkSkew(in.Now, e.authority.now(), e.authority.leafLifetime); skewed != nil {
		e.log.Error("join endpoint: issued to a pod whose node's clock is wrong", "workload", id.Workload.String(), "told", skewed)
	}
	return out, id.Workload, nil
}

// holder proves who asks for the roots: with a platform's token, or as a renewal
// does. Neither is spent.
func (e *endpoint) holder(ctx context.Context, in rootsRequest) (Identity, error) {
	if in.Token != "" && e.authority.attest != nil {
		if id, ok := e.recalled.find(in.Token, e.authority.now()); ok {
			return id, nil
		}
		return e.attested(ctx, in.Token)
	}
	workload, ok := mesh.ParseName(in.Workload)
	if _, err := Label(workload, KindWorkload); !ok || err != nil {
		return Identity{}, refuse("malformed question for roots")
	}
	return Identity{Workload: workload, Kind: KindWorkload}, e.authority.proved(workload, in.Renewal)
}
