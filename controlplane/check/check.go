// Package check reads a folder of manifests and says what is wrong with them,
// each problem with its file and line.
//
// It reports what the control plane would report, from the same code, plus
// advice on what is in force but probably not meant. It must never judge a
// manifest by a rule of its own, and changes nothing.
package check

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Report is what a check found.
type Report struct {
	// Files read and objects understood.
	Files   int `json:"files"`
	Objects int `json:"objects"`
	// Findings in the order of files and lines.
	Findings []Finding `json:"findings"`
}

// Finding is a mesh.Problem in the form that scripts read.
type Finding struct {
	// Where is "file:line".
	Where     string      `json:"where"`
	Kind      string      `json:"kind,omitempty"`
	Namespace string      `json:"namespace,omitempty"`
	Name      string      `json:"name,omitempty"`
	Field     string      `json:"field,omitempty"`
	Effect    mesh.Effect `json:"effect"`
	Cause     string      `json:"cause"`
	Try       string      `json:"try,omitempty"`
}

// Check reads dir, resolves what it holds and reports every problem. The error
// is that of a folder that cannot be read; bad manifests are findings.
func Check(dir string, settings smi.Settings) (Report, error) {
	loaded, err := files.Load(dir)
	if err != nil {
		return Report{}, err
	}
	snapshot, problems := smi.Snapshot(loaded.Objects, settings)
	problems = slices.Concat(loaded.Problems, problems, smi.Advice(loaded.Objects, settings, snapshot))
	report := Report{Files: loaded.Files, Objects: loaded.Objects.Len(), Findings: []Finding{}}
	for _, p := range problems {
		p.Where = loaded.Locate(p)
		report.Findings = append(report.Findings, finding(p))
	}
	slices.SortStableFunc(report.Findings, byPlace)
	return report, nil
}

// OK says whether everything is in force as it is written. Warnings do not
// count against it.
func (r Report) OK() bool { return r.Count(mesh.Broken) == 0 && r.Count(mesh.Inert) == 0 }

// Count returns the number of findings with that effect.
func (r Report) Count(effect mesh.Effect) int {
	n := 0
	for _, f := range r.Findings {
		if f.Effect == effect {
			n++
		}
	}
	return n
}

// String returns one line per finding and a summary, for a person to read.
func (r Report) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintln(&b, f)
	}
	fmt.Fprintf(&b, "%s, %s: ", mesh.Counted(r.Files, "file", "files"), mesh.Counted(r.Objects, "object", "objects"))
	if len(r.Findings) == 0 {
		b.WriteString("no problems\n")
		return b.String()
	}
	fmt.Fprintf(&b, "%d broken, %d inert, %s\n", r.Count(mesh.Broken), r.Count(mesh.Inert), mesh.Counted(r.Count(mesh.Warning), "warning", "warnings"))
	return b.String()
}

// String returns "file:line: Kind ns/name: field: cause. What to try."
func (f Finding) String() string {
	return mesh.Problem{
		Object: mesh.Object{Kind: f.Kind, Name: mesh.Name{Namespace: f.Namespace, Name: f.Name}},
		Field:  f.Field,
		Cause:  f.Cause,
		Try:    f.Try,
		Where:  f.Where,
	}.String()
}

func finding(p mesh.Problem) Finding {
	return Finding{
		Where:     p.Where,
		Kind:      p.Object.Kind,
		Namespace: p.Object.Name.Namespace,
		Name:      p.Object.Name.Name,
		Field:     p.Field,
		Effect:    p.Effect,
		Cause:     p.Cause,
		Try:       p.Try,
	}
}

func byPlace(a, b Finding) int {
	fileA, lineA := place(a.Where)
	fileB, lineB := place(b.Where)
	return cmp.Or(strings.Compare(fileA, fileB), cmp.Compare(lineA, lineB))
}

func place(where string) (file string, line int) {
	i := strings.LastIndexByte(where, ':')
	if i < 0 {
		return where, 0
	}
	line, _ = strconv.Atoi(where[i+1:])
	return where[:i], line
}
