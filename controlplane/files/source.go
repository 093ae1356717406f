package files

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Source is a folder read again and again. It holds the last readable form of
// every object, so that saving a half-written file revokes and grants nothing.
// It belongs to one goroutine.
type Source struct {
	dir     string
	reloads int64
	entries []entry
	memory  memory
	// since says in which reload an object appeared.
	since map[mesh.Object]int64
}

// NewSource returns a source that has read nothing yet.
func NewSource(dir string) *Source {
	return &Source{dir: dir, since: map[mesh.Object]int64{}}
}

// Reload reads the folder and returns all objects, with the problems of its
// documents. An object whose document cannot be read keeps its last form; so
// does every object of a file in which a document is too broken to tell whose
// it is. An object that is gone from readable files is deleted. If the folder
// itself cannot be read, the error says so and the objects are those of before.
//
// A folder does not know how old its objects are. Their creation times, which
// only serve to compare, count the reloads of this source from 1970 on, one
// second each.
func (s *Source) Reload() (smi.Objects, []mesh.Problem, error) {
	now := memory{}
	loaded, err := loadInto(s.dir, decoder{before: s.memory, now: now})
	if err != nil {
		return assemble(s.entries), nil, err
	}
	s.memory = now
	s.reloads++
	entries := append(loaded.entries, kept(s.entries, loaded)...)
	since := make(map[mesh.Object]int64, len(entries))
	for i, e := range entries {
		first, known := s.since[e.object]
		if !known {
			first = s.reloads
		}
		since[e.object] = first
		if i < len(loaded.entries) {
			e.value.SetCreationTimestamp(metav1.Unix(first, 0))
		}
	}
	s.entries, s.since = entries, since
	return assemble(entries), loaded.Problems, nil
}

// Locate is Loaded.Locate for the objects of the last Reload; one that was kept
// is located where it was last readable.
func (s *Source) Locate(p mesh.Problem) string { return Loaded{entries: s.entries}.Locate(p) }

// kept returns those of the last entries that must not be taken for deleted.
func kept(last []entry, loaded Loaded) []entry {
	present := map[mesh.Object]bool{}
	for _, e := range loaded.entries {
		present[e.object] = true
	}
	var out []entry
	for _, e := range last {
		if !present[e.object] && mayStillBeThere(e, loaded.unread) {
			out = append(out, e)
		}
	}
	return out
}

// mayStillBeThere looks for an unreadable document that could be the entry's.
func mayStillBeThere(e entry, documents []unread) bool {
	for _, u := range documents {
		sameName := u.name == mesh.Name{} || u.name == e.object.Name
		sameKind := u.kind == "" || u.kind == e.object.Kind
		if u.file == e.at.file && sameName && sameKind {
			return true
		}
	}
	return false
}
