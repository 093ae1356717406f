package suggest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/suggest"
	"github.com/wasmesh/wasmesh/filters/policy"
)

var update = flag.Bool("update", false, "write what is suggested into the files of testdata; read the difference")

const trustDomain = "suggest.test"

// A file of testdata is a mesh, what was seen in it, and what is suggested.
func TestGolden(t *testing.T) {
	pages, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(pages) < 8 {
		t.Fatalf("%d files, %v: the test looks at the wrong place", len(pages), err)
	}
	for _, page := range pages {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".txtar"), func(t *testing.T) { golden(t, page) })
	}
}

func golden(t *testing.T, page string) {
	archive, err := txtar.ParseFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, f := range archive.Files {
		parts[f.Name] = string(f.Data)
	}
	before := snapshotOf(t, cast(t), parts["policy.yaml"])
	seen := seenIn(t, parts["seen"])
	s := suggest.Suggest(seen, before)
	got, err := s.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		for i := range archive.Files {
			if archive.Files[i].Name == "suggested.yaml" {
				archive.Files[i].Data = got
			}
		}
		if err := os.WriteFile(page, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if want := parts["suggested.yaml"]; string(got) != want {
		t.Errorf("suggested:\n%s\nwant:\n%s", got, want)
	}
	after := tablesOf(snapshotOf(t, cast(t), parts["policy.yaml"], string(got)))
	for _, o := range seen.Observations {
		if !strings.Contains(parts["left out"], o.Path+"\n") && !after.allows(o) {
			t.Errorf("%s -> %s:%d %s %s is not allowed by what was suggested", o.Source, o.Destination, o.Port, o.Method, o.Path)
		}
		if strings.Contains(parts["left out"], o.Path+"\n") && o.Path != "" && after.allows(o) {
			t.Errorf("%s was to be left out and is allowed", o.Path)
		}
	}
}

func cast(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/cast.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// snapshotOf wants manifests without any problem.
func snapshotOf(t *testing.T, manifests ...string) *mesh.Snapshot {
	t.Helper()
	dir := t.TempDir()
	for i, m := range manifests {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(m), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := files.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, _, problems := smi.Settle(smi.Objects{}, loaded.Objects, smi.Settings{TrustDomain: trustDomain})
	for _, p := range append(loaded.Problems, problems...) {
		t.Errorf("a problem in the manifests: %s", p)
	}
	return s
}

// tables are the policies of a mesh, by destination.
type tables struct {
	mesh *mesh.Snapshot
	of   map[mesh.Name]*policy.Table
}

func tablesOf(s *mesh.Snapshot) tables {
	t := tables{s, map[mesh.Name]*policy.Table{}}
	for _, a := range s.Access {
		t.of[a.ServiceAccount] = policy.Compile(a.Grants)
	}
	return t
}

func (t tables) allows(o observe.Observation) bool {
	table := t.of[o.Destination]
	if table != nil && o.Opaque {
		return table.DecideConnection(mesh.SPIFFEID(t.mesh.TrustDomain, o.Source), o.Port).Allow
	}
	return table != nil && table.Decide(policy.Request{
		Peer: mesh.SPIFFEID(t.mesh.TrustDomain, o.Source), Port: o.Port, Method: o.Method, Path: o.Path,
	}).Allow
}

// noon is when everything was first seen.
var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// seenIn reads lines such as
//
//	shop/web -> shop/store:80 GET /books x12 notfound
//	shop/web -> shop/database:5432 tcp x3
//	lost 3 no identity -> shop/store:80
//	lost 3 more paths -> shop/store:80 from shop/web GET
func seenIn(t *testing.T, text string) observe.Report {
	t.Helper()
	r := observe.Report{Since: noon}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "lost":
			n, _ := strconv.ParseUint(words[1], 10, 64)
			cause, to, _ := strings.Cut(strings.Join(words[2:], " "), " -> ")
			to, from, _ := strings.Cut(to, " from ")
			l := observe.Loss{Cause: observe.Cause(cause), Count: n}
			l.Destination, l.Port = end(t, to)
			from, l.Method, _ = strings.Cut(from, " ")
			l.Source, _ = mesh.ParseName(from)
			r.Losses = append(r.Losses, l)
		default:
			r.Observations = append(r.Observations, observation(t, words))
		}
	}
	return r
}

func observation(t *testing.T, words []string) observe.Observation {
	t.Helper()
	o := observe.Observation{Count: 1, First: noon, Last: noon.Add(time.Hour)}
	o.Source, _ = mesh.ParseName(words[0])
	o.Destination, o.Port = end(t, words[2])
	o.Method = words[3]
	rest := words[4:]
	if o.Opaque = o.Method == "tcp"; o.Opaque {
		o.Method = ""
	} else {
		o.Path, rest = words[4], words[5:]
	}
	for _, w := range rest {
		if w == "notfound" {
			o.NotFound = o.Count
		} else if n, err := strconv.ParseUint(strings.TrimPrefix(w, "x"), 10, 64); err == nil {
			o.Count = n
		} else {
			t.Fatalf("%q: what is %q?", words, w)
		}
	}
	return o
}

func end(t *testing.T, text string) (mesh.Name, uint16) {
	t.Helper()
	account, port, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	name, ok := mesh.ParseName(account)
	if err != nil || !ok {
		t.Fatalf("%q is not namespace/account:port", text)
	}
	return name, uint16(n)
}
