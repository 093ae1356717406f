package modules

import (
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

func named(name string) mesh.Name { return mesh.Name{Namespace: "shop", Name: name} }

// cast is a snapshot of workloads, each with its filters.
func cast(of map[string][]string) *mesh.Snapshot {
	s := &mesh.Snapshot{}
	for w, filters := range of {
		workload := mesh.Workload{Name: named(w)}
		for _, f := range filters {
			workload.Filters = append(workload.Filters, mesh.Filter{Name: named(f)})
		}
		s.Workloads = append(s.Workloads, workload)
	}
	return s
}

// TestPlaces is a transcript: what the mesh is at a second, what is known of the
// filters, and which places wait.
func TestPlaces(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	var p Places
	for _, step := range []struct {
		what  string
		after time.Duration
		mesh  map[string][]string
		known map[string]Outlook
		want  []Place
		later time.Duration
	}{
		{"a start: everybody is new, and closed until the filter runs", 0,
			map[string][]string{"a": {"f"}, "b": nil}, nil, nil, 0},
		{"a filter is written for one that runs; one that is new has it at once", 0,
			map[string][]string{"a": {"f"}, "b": {"f"}, "c": {"f"}}, nil, []Place{{named("b"), named("f")}}, 0},
		{"its module is good, and there is time to fetch it", 5 * time.Second,
			map[string][]string{"a": {"f"}, "b": {"f"}, "c": {"f"}}, map[string]Outlook{"f": Servable}, []Place{{named("b"), named("f")}}, Lead},
		{"not all of it has passed", 5*time.Second + Lead/4,
			map[string][]string{"a": {"f"}, "b": {"f"}, "c": {"f"}}, map[string]Outlook{"f": Servable}, []Place{{named("b"), named("f")}}, Lead * 3 / 4},
		{"it has", 5*time.Second + Lead,
			map[string][]string{"a": {"f"}, "b": {"f"}, "c": {"f"}}, map[string]Outlook{"f": Servable}, nil, 0},
		{"what was given stays, whatever becomes of the module", 7 * time.Second,
			map[string][]string{"a": {"f"}, "b": {"f"}, "c": {"f"}}, nil, nil, 0},
		{"a module that is known to be bad is not waited for", 8 * time.Second,
			map[string][]string{"a": {"f", "g"}, "b": {"f"}, "c": {"f"}}, map[string]Outlook{"g": Unusable}, nil, 0},
		{"a filter that is gone and comes again is new", 9 * time.Second,
			map[string][]string{"a": {"f"}, "b": nil, "c": {"f"}}, map[string]Outlook{"f": Servable}, nil, 0},
		{"so it waits", 9 * time.Second,
			map[string][]string{"a": {"f"}, "b": {"f"}, "c": {"f"}}, map[string]Outlook{"f": Servable}, []Place{{named("b"), named("f")}}, Lead},
	} {
		s := cast(step.mesh)
		next, waiting, later := p.Next(s, func(f mesh.Name) Outlook { return step.known[f.Name] }, began.Add(step.after))
		p = next
		if len(waiting) != len(step.want) || later != step.later {
			t.Errorf("%s: waiting %v, later %v; want %v, %v", step.what, waiting, later, step.want, step.later)
		}
		served := Without(s, waiting)
		for _, w := range served.Workloads {
			for _, f := range w.Filters {
				if waiting[Place{w.Name, f.Name}] {
					t.Errorf("%s: %s has %s", step.what, w.Name, f.Name)
				}
			}
		}
		for _, place := range step.want {
			if !waiting[place] {
				t.Errorf("%s: %v does not wait", step.what, place)
			}
		}
		for i, w := range s.Workloads {
			if len(w.Filters) != len(step.mesh[w.Name.Name]) || len(w.Filters)-len(served.Workloads[i].Filters) != count(waiting, w.Name) {
				t.Errorf("%s: of %s's filters %v are served %v", step.what, w.Name, w.Filters, served.Workloads[i].Filters)
			}
		}
	}
}

func count(places map[Place]bool, workload mesh.Name) (n int) {
	for p := range places {
		if p.Workload == workload {
			n++
		}
	}
	return n
}

// TestOutlook follows a wish from being written to serving.
func TestOutlook(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	w := Wanted{Object: mesh.Object{Kind: "WasmFilter", Name: named("f")}}
	all := []Wanted{w}
	expect := func(what string, b Book, outlook Outlook, underway bool) {
		t.Helper()
		if got := b.Outlook(w); got != outlook {
			t.Errorf("%s: outlook %d, want %d", what, got, outlook)
		}
		if got := b.Underway(all); (len(got) == 1) != underway || underway && got[0].Effect != mesh.Pending {
			t.Errorf("%s: under way %v, want %v", what, got, underway)
		}
	}
	var b Book
	expect("the image is being fetched", b, Awaited, true)
	w.Unread = "not found"
	all[0] = w
	expect("it is not there", b, Unusable, false)
	w.Unread, w.Use = "", Use{Digest: "1a"}
	all[0] = w
	b, _ = b.Next(all, now)
	expect("it is being inspected", b, Awaited, true)
	expect("it is bad", b.Judged(Verdict{Use: w.Use, Cause: "it traps", At: now}), Unusable, false)
	b = b.Judged(Verdict{Use: w.Use, At: now}).Admitted(w.Name(), w.Use, now)
	expect("it is good", b, Servable, true)
	b, _ = b.Flip(now)
	expect("it serves", b, Servable, false)
	w.Use.Digest = "2b"
	all[0] = w
	b, _ = b.Next(all, now)
	expect("another is wanted", b, Servable, true)
}
