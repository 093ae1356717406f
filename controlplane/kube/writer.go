package kube

import (
	"context"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/kube/report"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// writeInterval is how often what was told is compared with what is.
const writeInterval = 500 * time.Millisecond

// statusPause is how long an object whose status could not be written waits.
const statusPause = 10 * time.Second

// Writer writes what became of objects onto them: conditions on our own kinds,
// events on all others. Only the holder of the Lease runs it.
type Writer struct {
	source  *Source
	replica string
	log     *slog.Logger
	// unsettled is what sidecars refuse or have not taken yet, on the objects that it
	// was made of.
	unsettled func(context.Context) []mesh.Problem
	told      atomic.Pointer[pass]
	// complained is the failure that was told last.
	complained string
	// later are those of our own objects whose status could not be written, and
	// when to try again.
	later map[mesh.Object]time.Time
}

// pass is what one reading of all objects found.
type pass struct {
	problems []mesh.Problem
	// generations say which form of our own objects the problems speak of.
	generations map[mesh.Object]int64
}

// NewWriter returns a writer that knows of no problems yet. unsettled may be asked
// at any time.
func NewWriter(s *Source, replica string, unsettled func(context.Context) []mesh.Problem, log *slog.Logger) *Writer {
	return &Writer{source: s, replica: replica, unsettled: unsettled, log: log, later: map[mesh.Object]time.Time{}}
}

// Tell makes these the problems of the objects as they were in the last Reload.
func (w *Writer) Tell(problems []mesh.Problem) {
	w.told.Store(&pass{problems, w.source.reloaded()})
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	var book report.Book
	tick := time.NewTicker(writeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if p := w.told.Load(); p != nil {
				w.write(ctx, now, &book, p)
			}
		}
	}
}

// write brings what is told up to what is, as far as the budget reaches. What
// fails is tried again.
func (w *Writer) write(ctx context.Context, now time.Time, book *report.Book, p *pass) {
	notes := report.Notes(append(append([]mesh.Problem(nil), p.problems...), w.unsettled(ctx)...))
	ours, others := map[mesh.Object][]report.Note{}, []report.Note{}
	for _, n := range notes {
		if _, own := p.generations[n.Object]; own {
			ours[n.Object] = append(ours[n.Object], n)
			continue
		}
		if ref, known := w.source.reference(n.Object); known && isToldByEvent(n) {
			n.UID = string(ref.UID)
			others = append(others, n)
		}
	}
	w.conditions(ctx, now, book, p, ours)
	for _, e := range book.Due(now, others) {
		err := w.event(ctx, e)
		switch {
		case err == nil:
			book.Done(e)
		case unreachable(err):
			w.complain(err)
			return
		default:
			w.complain(err)
			book.Failed(e)
		}
	}
}

// isToldByEvent leaves out what is ordinary outside of the mesh, such as a
// Service without a selector.
func isToldByEvent(n report.Note) bool {
	switch n.Object.Kind {
	case smi.KindService, smi.KindServiceAccount, smi.KindPod, kindEndpointSlice:
		return n.Effect != mesh.Inert
	}
	return true
}

// complain tells a failure, but not each time that the same fails.
func (w *Writer) complain(err error) {
	if line := err.Error(); line != w.complained {
		w.log.Warn("what became of an object cannot be written onto it; it is tried again", "cause", line)
		w.complained = line
	}
}

// unreachable says that the API server did not answer: then nothing can be
// written.
func unreachable(err error) bool { return apierrors.ReasonForError(err) == metav1.StatusReasonUnknown }

// conditions writes those of our own objects that differ from what they should
// be. An object that changed since the last pass waits for the next.
func (w *Writer) conditions(ctx context.Context, now time.Time, book *report.Book, p *pass, notes map[mesh.Object][]report.Note) {
	maps.DeleteFunc(w.later, func(_ mesh.Object, until time.Time) bool { return !now.Before(until) })
	for _, s := range w.source.supplies {
		if !s.feed.hasStatus() {
			continue
		}
		due := map[mesh.Name]item{}
		s.shelf.each(func(name mesh.Name, i item) {
			o := mesh.Object{Kind: s.feed.kind, Name: name}
			if generation, read := p.generations[o]; !read || generation != i.generation {
				return
			}
			var changed bool
			if i.conditions, changed = report.Conditions(now, i.generation, i.conditions, notes[o]); changed {
				due[name] = i
			}
		})
		for name, i := range due {
			if book.Spend(now, 1) == 0 {
				return
			}
			if err := w.status(ctx, s, name, i); err != nil {
				w.complain(err)
				w.later[mesh.Object{Kind: s.feed.kind, Name: name}] = now.Add(statusPause)
			}
		}
	}
}
