package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Step is one of the three by which a root is replaced.
type Step string

// The steps, in their order. After each of them the mesh works as before, for as
// long as one likes.
const (
	// Start makes a new root, which everyone comes to trust.
	Start Step = "start"
	// Switch has the new root sign: everyone gets a leaf of it. The old key goes.
	Switch Step = "switch"
	// Finish ends the trust in the old root.
	Finish Step = "finish"
)

// ErrNotYet is wrapped when a step would cut somebody off.
var ErrNotYet = errors.New("the step would cut workloads off")

// Holding is what a sidecar's Envoy runs with, as the sidecar has it from Envoy.
type Holding struct {
	// Trusts and Signer are fingerprints: of the roots in the trust bundle, and of
	// the one that signed the leaf.
	Trusts []string `json:"trusts"`
	Signer string   `json:"signer"`
}

// plausible bounds what a caller has us keep.
func (h Holding) plausible() bool {
	long := func(print string) bool { return len(print) > len(fingerprint(nil)) }
	return len(h.Trusts) <= maxEarlier && !slices.ContainsFunc(h.Trusts, long) && !long(h.Signer)
}

// maxHoldings bounds what is kept of workloads that came and went. Beyond it
// everything is forgotten: those that are there tell again.
const maxHoldings = 100_000

// Root is a root as an operator sees it.
type Root struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	Expires     time.Time `json:"expires"`
}

// holder is whose Envoy holds something.
type holder struct {
	kind     string
	workload mesh.Name
}

// Waiting is a workload that the next step would cut off.
type Waiting struct {
	Workload mesh.Name `json:"workload"`
	Kind     string    `json:"kind"` // KindWorkload or KindPod
	Cause    string    `json:"cause"`
}

// Rotation is how far the replacement of the root has come.
type Rotation struct {
	// Last is the step that was made last; Finish if none is under way. Next is the
	// one that can follow.
	Last, Next Step
	Signer     Root
	// Trusted are the roots that members trust.
	Trusted []Root
	// Waiting are those for whom Next comes too early, sorted.
	Waiting []Waiting
}

// last follows from the roots alone: there is nothing else that could disagree.
func (r *roots) last() Step {
	switch {
	case r.external != nil:
		return Finish
	case r.next != nil:
		return Start
	case len(r.own()) > 1:
		return Switch
	}
	return Finish
}

// following are the steps that may come after each.
var following = map[Step]Step{Finish: Start, Start: Switch, Switch: Finish}

// Rotation returns how far it is, and who is not ready for the next step.
func (a *Authority) Rotation() (Rotation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rotation()
}

func (a *Authority) rotation() (Rotation, error) {
	r := a.roots.Load()
	out := Rotation{Last: r.last(), Next: following[r.last()], Signer: describe(r.signer), Waiting: []Waiting{}}
	for _, root := range r.trusted() {
		out.Trusted = append(out.Trusted, describe(root))
	}
	files, err := filepath.Glob(filepath.Join(a.dir, "workloads", "*_*.json"))
	if err != nil {
		return out, err
	}
	for _, path := range files { // sorted
		namespace, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".json"), "_")
		workload := mesh.Name{Namespace: namespace, Name: name}
		f, err := readCredential(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // revoked a moment ago
		}
		if err != nil {
			return out, fmt.Errorf("renewal credential of %s: %w", workload, err)
		}
		if cause := a.lacks(holder{KindWorkload, workload}, f.LeafEnds); cause != "" {
			out.Waiting = append(out.Waiting, Waiting{workload, KindWorkload, cause})
		}
	}
	out.Waiting = append(out.Waiting, a.waitingPods()...)
	return out, nil
}

// waitingPods are the pods for whom the next step comes too early. When the leaf
// of each ends is not kept, as no replica issued all of them: that they are there
// is enough.
func (a *Authority) waitingPods() []Waiting {
	if a.pods == nil {
		return nil
	}
	var out []Waiting
	for _, pod := range a.pods() {
		if cause := a.lacks(holder{KindPod, pod}, a.now().Add(a.leafLifetime)); cause != "" {
			out = append(out, Waiting{pod, KindPod, cause})
		}
	}
	slices.SortFunc(out, func(x, y Waiting) int { return strings.Compare(x.Workload.String(), y.Workload.String()) })
	return out
}

// lacks says why the next step would cut a workload off. One whose leaf has
// ended is cut off already, and comes back by a renewal.
func (a *Authority) lacks(h holder, leafEnds time.Time) string {
	r := a.roots.Load()
	holds, told := a.holdings[h]
	last := r.last()
	if last == Finish || !a.now().Before(leafEnds) {
		return ""
	}
	silent := !told || holds.Signer == "" && len(holds.Trusts) == 0
	switch {
	case silent:
		return "its sidecar has not told since the control plane started what its Envoy runs with; its certificate is good until " + leafEnds.Format(time.RFC3339)
	case last == Start && !slices.Contains(holds.Trusts, fingerprint(r.next.Raw)):
		return "its Envoy does not trust the new root yet"
	case last == Switch && holds.Signer != fingerprint(r.signer.Raw):
		return "its Envoy still has a certificate of the old root, good until " + leafEnds.Format(time.RFC3339)
	}
	return ""
}

func describe(c *x509.Certificate) Root {
	return Root{Name: c.Subject.CommonName, Fingerprint: fingerprint(c.Raw), Expires: c.NotAfter}
}

// Rotate makes one step, and returns how far it has come. It makes no step twice
// or out of order, and none that would cut a workload off, unless force says so.
// A crash leaves the state of before or after the step.
func (a *Authority) Rotate(step Step, force bool) (Rotation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, err := a.rotation()
	if err != nil {
		return now, err
	}
	if step != now.Next {
		return now, fmt.Errorf("the step after %q is %q, not %q", now.Last, now.Next, step)
	}
	if len(now.Waiting) > 0 && !force {
		return now, fmt.Errorf("%w, the first of %d being %s: %s", ErrNotYet, len(now.Waiting), now.Waiting[0].Workload, now.Waiting[0].Cause)
	}
	if a.external != "" {
		return now, fmt.Errorf("who signs is issued by the authority whose files are in %s: replace the root there, with both roots in %s meanwhile", a.external, externalRoots)
	}
	next, err := a.roots.Load().after(step, a.trustDomain, a.now())
	if err != nil {
		return now, err
	}
	data, err := next.pem()
	if err != nil {
		return now, err
	}
	written := a.store.Replace(a.kept, data)
	// What is kept is what is true, whatever became of the writing.
	if err := errors.Join(written, a.load()); err != nil {
		return now, fmt.Errorf("rotating the root: %w", err)
	}
	return a.rotation()
}

// after returns the roots that a step leads to.
func (r *roots) after(step Step, trustDomain string, now time.Time) (*roots, error) {
	next := *r
	switch step {
	case Start:
		var err error
		next.next, next.nextKey, err = newRoot(trustDomain, now)
		return &next, err
	case Switch:
		bridge, err := r.bridgeTo(r.next, now)
		if err != nil {
			return nil, err
		}
		next.signer, next.key, next.next, next.nextKey = r.next, r.nextKey, nil, nil
		next.earlier = append([]earlier{{r.signer, bridge, true}}, r.earlier...)
		next.earlier = next.earlier[:min(len(next.earlier), maxEarlier)]
	case Finish:
		next.earlier = slices.Clone(r.earlier)
		for i := range next.earlier {
			next.earlier[i].trusted = false
		}
	}
	return &next, nil
}

// note keeps what the sidecar of a workload holds that has proved who it is.
func (a *Authority) note(id Identity, holds Holding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.holdings) >= maxHoldings {
		clear(a.holdings)
	}
	a.holdings[holder{id.Kind, id.Workload}] = holds
}
