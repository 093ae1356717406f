package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/ca/durable"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/modules"
	"github.com/wasmesh/wasmesh/controlplane/xds"
	"github.com/wasmesh/wasmesh/filters/config"
	"github.com/wasmesh/wasmesh/wasm-registry/inspect"
	"github.com/wasmesh/wasmesh/wasm-registry/module"
	"github.com/wasmesh/wasmesh/wasm-registry/store"
)

// lastGoodFile of the state folder outlives a restart: a control plane that
// starts with a bad module goes on with the one before.
const lastGoodFile = "modules.json"

// ownModule is the wish for the mesh's own filter module.
var ownModule = mesh.Object{Kind: "Module", Name: mesh.Name{Namespace: "wasmesh", Name: "filter"}}

// Inspect says what is wrong with a module that is to be started with the
// configurations; nil: it is good. An error that wraps inspect.ErrUnable says
// that nobody looked at it.
type Inspect func(ctx context.Context, wasm []byte, configurations ...[]byte) error

// candidate is a wish with the bytes it is about.
type candidate struct {
	modules.Wanted
	wasm []byte
	// await: until there is a good one, all waits for the inspection. Without it
	// nothing passes anyway, and sidecars that outlived a control plane must not
	// be told that there is none.
	await bool
}

// keeper does what the book of modules says. It belongs to the loop.
type keeper struct {
	store    store.Store
	lastGood string
	inspect  Inspect
	log      *slog.Logger
	book     modules.Book
	// under are the inspections that go on, by the use's ID; running counts them
	// and those that were ended and have not told found so.
	under   map[string]*inspection
	running int
	found   chan outcome
	retry   *time.Timer
}

type inspection struct{ cancel context.CancelFunc }

type outcome struct {
	of      *inspection
	verdict modules.Verdict
}

func openKeeper(dir, state string, look Inspect, log *slog.Logger) (*keeper, error) {
	s, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	if look == nil {
		look = inspect.InProcess
	}
	k := &keeper{
		store: s, lastGood: filepath.Join(state, lastGoodFile), inspect: look, log: log,
		under: map[string]*inspection{}, found: make(chan outcome, 16),
	}
	return k, k.remember()
}

// remember takes up what was good before a restart, if it is still there.
func (k *keeper) remember() error {
	data, err := os.ReadFile(k.lastGood)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("last good modules: %w", err)
	}
	good := map[string]modules.Use{}
	if err := json.Unmarshal(data, &good); err != nil {
		k.log.Error("what modules were good before cannot be read; they are inspected anew", "file", k.lastGood, "cause", err)
		return nil
	}
	for name, use := range good {
		if !k.store.Has(use.Digest) {
			k.log.Error("a module that was good before is gone or damaged", "wanted by", name, "module", use.Digest)
			continue
		}
		k.book = k.book.Admitted(name, use, time.Time{})
	}
	return nil
}

// step brings the modules up to what is wanted. While one is inspected, all
// stays as it was; again is signalled when there is more to do.
func (k *keeper) step(ctx context.Context, wanted []candidate, again chan<- struct{}) []mesh.Problem {
	var wishes []modules.Wanted
	for _, c := range wanted {
		wishes = append(wishes, c.Wanted)
	}
	k.drain()
	for {
		var work modules.Work
		k.book, work = k.book.Next(wishes, time.Now())
		for _, use := range work.Stop {
			k.under[use.ID()].cancel()
			delete(k.under, use.ID())
		}
		for _, w := range work.Inspect {
			k.start(ctx, candidateOf(wanted, w), again)
		}
		for _, w := range work.Admit {
			k.admit(candidateOf(wanted, w))
		}
		if !k.mustWait(wanted) {
			break
		}
		k.judged(<-k.found)
	}
	k.restore(wanted)
	var later time.Duration
	if k.book, later = k.book.Flip(time.Now()); later > 0 {
		k.wake(later, again)
	}
	if err := k.store.Keep(k.book.Reachable(wishes)...); err != nil {
		k.log.Warn("modules that nobody wants stay in their folder", "cause", err)
	}
	return k.book.Problems(wishes)
}

func candidateOf(all []candidate, w modules.Wanted) candidate {
	for _, c := range all {
		if c.Name() == w.Name() {
			return c
		}
	}
	return candidate{Wanted: w}
}

// mustWait reports whether an inspection goes on that all waits for.
func (k *keeper) mustWait(wanted []candidate) bool {
	for _, c := range wanted {
		_, under := k.book.Under[c.Use.ID()]
		if _, good := k.book.Good[c.Name()]; c.await && under && !good {
			return true
		}
	}
	return false
}

// start inspects beside the loop: a module that is slow to compile, or loops,
// must not hold up a policy.
func (k *keeper) start(ctx context.Context, c candidate, again chan<- struct{}) {
	k.log.Info("a module is being inspected", "file", c.Where, "module", short(c.Use.Digest))
	ctx, cancel := context.WithCancel(ctx)
	i := &inspection{cancel}
	k.under[c.Use.ID()] = i
	k.running++
	go func() {
		err := k.inspect(ctx, c.wasm, c.Starts...)
		v := modules.Verdict{Use: c.Use, At: time.Now()}
		if err != nil {
			v.Cause, v.Unable = err.Error(), errors.Is(err, inspect.ErrUnable)
		}
		k.found <- outcome{i, v}
		signal(again)
	}()
}

// drain takes the outcomes that are there.
func (k *keeper) drain() {
	for {
		select {
		case o := <-k.found:
			k.judged(o)
		default:
			return
		}
	}
}

// judged takes an outcome, unless the inspection was ended: then it says nothing.
func (k *keeper) judged(o outcome) {
	k.running--
	o.of.cancel()
	if id := o.verdict.Use.ID(); k.under[id] == o.of {
		delete(k.under, id)
		k.book = k.book.Judged(o.verdict)
	}
}

// admit keeps a good module and remembers it. What stands in the way of that is
// not the module's fault, and may pass.
func (k *keeper) admit(c candidate) {
	_, err := k.store.Put(c.wasm)
	next := k.book.Admitted(c.Name(), c.Use, time.Now())
	if err == nil {
		var data []byte
		if data, err = json.Marshal(next.Good); err == nil {
			err = durable.Write(k.lastGood, data)
		}
	}
	if err != nil {
		k.book = k.book.Obstructed(c.Name(), err.Error())
		return
	}
	k.book = next
}

// restore puts back what was good and is gone from the folder.
func (k *keeper) restore(wanted []candidate) {
	for _, c := range wanted {
		good, has := k.book.Good[c.Name()]
		if !has || !good.Equal(c.Use) || k.store.Exists(c.Use.Digest) {
			continue
		}
		k.log.Warn("a module that is good was gone from its folder; putting it back", "module", c.Use.Digest)
		if _, err := k.store.Put(c.wasm); err != nil {
			k.log.Error("it cannot be put back", "cause", err)
		}
	}
}

func (k *keeper) wake(after time.Duration, again chan<- struct{}) {
	if k.retry != nil {
		k.retry.Stop()
	}
	k.retry = time.AfterFunc(after, func() { signal(again) })
}

// close returns when nothing of k runs any more.
func (k *keeper) close() {
	if k.retry != nil {
		k.retry.Stop()
	}
	for _, i := range k.under {
		i.cancel()
	}
	for k.running > 0 {
		k.judged(<-k.found)
	}
}

func signal(again chan<- struct{}) {
	select {
	case again <- struct{}{}:
	default: // there is a signal already
	}
}

// ownCandidate reads the mesh's own module.
func ownCandidate(file string, s *mesh.Snapshot) candidate {
	c := candidate{await: true, Wanted: modules.Wanted{
		Object: ownModule, Where: file, Starts: configurations(s),
		Without: "every sidecar denies until there is a good one.", Try: "Build it again with `make module`.",
	}}
	var err error
	if c.wasm, err = readModule(file); err != nil {
		c.Unread = err.Error()
		return c
	}
	c.Use.Digest = store.Digest(c.wasm)
	return c
}

// readModule reads no more than a module can have.
func readModule(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > module.MaxBytes {
		return nil, fmt.Errorf("the module has %d bytes; at most %d are accepted", info.Size(), module.MaxBytes)
	}
	return os.ReadFile(file)
}

// configurations are what the module will be given: each form, with a policy of
// the mesh or, without workloads, an empty one.
func configurations(s *mesh.Snapshot) [][]byte {
	table := xds.Table(s, mesh.Workload{}).Encode()
	if len(s.Workloads) > 0 {
		table = xds.Table(s, s.Workloads[0]).Encode()
	}
	return [][]byte{
		config.Config{Form: config.Access, Destination: "inspection/inspection", Table: table}.Encode(),
		config.Config{Form: config.Connections, Destination: "inspection/inspection", Table: table}.Encode(),
		config.Config{Form: config.Lifetime, Destination: "inspection/inspection"}.Encode(),
	}
}
