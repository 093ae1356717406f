package kube

import (
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/wasmesh/wasmesh/controlplane/kube/trim"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// item is what is kept of one object.
type item struct {
	// value is the object as the snapshot takes it, in its last readable form; nil
	// if it never was readable.
	value wire.Object
	uid   types.UID
	// problems say why it cannot be read, or that nothing enforces it.
	problems []mesh.Problem
	// stands are for writing its status; they change nothing in the mesh.
	generation int64
	conditions []metav1.Condition
}

// same says whether the mesh would be the same with the other.
func (i item) same(o item) bool {
	return i.uid == o.uid && slices.Equal(i.problems, o.problems) && trim.Same(i.value, o.value)
}

// shelf keeps all objects of one kind. A Reflector writes it, everybody reads.
type shelf struct {
	kind string
	// slim is what a Reflector may forget of an object before it is shelved; its
	// result is of the same type, and slim of it is itself.
	slim func(any) any
	// take reads an object.
	take func(any) item
	// changed is called when the mesh may be another.
	changed func()

	mu     sync.RWMutex
	items  map[mesh.Name]item
	synced bool
}

var _ cache.TransformingStore = (*shelf)(nil)

// Transformer lets the Reflector keep less while it gathers a list.
func (s *shelf) Transformer() cache.TransformFunc {
	return func(object any) (any, error) { return s.slim(object), nil }
}

// Add shelves a new object.
func (s *shelf) Add(object any) error { return s.Update(object) }

// Update shelves an object in place of what it was.
func (s *shelf) Update(object any) error {
	name, err := nameOf(object)
	if err != nil {
		return err
	}
	next := s.take(object)
	s.mu.Lock()
	before, known := s.items[name]
	next = after(before, next)
	s.items[name] = next
	s.mu.Unlock()
	if !known || !before.same(next) {
		s.changed()
	}
	return nil
}

// after returns next with the last readable form of the same object. One that
// was deleted and made again is another: its past grants it nothing.
func after(before, next item) item {
	if next.value == nil && before.uid == next.uid {
		next.value = before.value
	}
	return next
}

// Delete takes an object off the shelf.
func (s *shelf) Delete(object any) error {
	name, err := nameOf(object)
	if err != nil {
		return err
	}
	s.mu.Lock()
	_, known := s.items[name]
	delete(s.items, name)
	s.mu.Unlock()
	if known {
		s.changed()
	}
	return nil
}

// Replace makes a whole list what is shelved.
func (s *shelf) Replace(list []any, _ string) error {
	items := make(map[mesh.Name]item, len(list))
	for _, object := range list {
		name, err := nameOf(object)
		if err != nil {
			return err
		}
		items[name] = s.take(object)
	}
	s.mu.Lock()
	differs := !s.synced || len(items) != len(s.items)
	for name, next := range items {
		before, known := s.items[name]
		next = after(before, next)
		items[name] = next
		differs = differs || !known || !before.same(next)
	}
	s.items, s.synced = items, true
	s.mu.Unlock()
	if differs {
		s.changed()
	}
	return nil
}

// Resync does nothing: what did not change is no news.
func (s *shelf) Resync() error { return nil }

// clear forgets all objects of a kind that is no more.
func (s *shelf) clear() {
	s.mu.Lock()
	had := len(s.items) > 0
	s.items = map[mesh.Name]item{}
	s.mu.Unlock()
	if had {
		s.changed()
	}
}

func (s *shelf) get(name mesh.Name) (item, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.items[name]
	return i, ok
}

func (s *shelf) isSynced() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.synced
}

// each calls f for every item, while the shelf stands still.
func (s *shelf) each(f func(mesh.Name, item)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, i := range s.items {
		f(name, i)
	}
}

func nameOf(object any) (mesh.Name, error) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	m, err := meta.Accessor(object)
	if err != nil {
		return mesh.Name{}, fmt.Errorf("an object without metadata: %w", err)
	}
	return mesh.Name{Namespace: m.GetNamespace(), Name: m.GetName()}, nil
}
