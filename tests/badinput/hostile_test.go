package badinput

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/files"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

const (
	megabyte = 1 << 20
	// hostileTimeout is far above what any of them takes, which is a second or two,
	// and far below what a machine needs that is drawn into one.
	hostileTimeout = 30 * time.Second
)

// hostile is a document that is made to hurt whoever reads it.
type hostile struct {
	name, text string
	// told is what is said of it; nothing if there is nothing wrong with it.
	told []string
}

func groupOf(name, matches string) string {
	return "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {name: " + name + ", namespace: shop}\nspec:\n  matches:\n" + matches + "\n"
}

func targetOf(name, sources, rules string) string {
	return "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {name: " + name + ", namespace: shop}\n" +
		"spec:\n  destination: {kind: ServiceAccount, name: store}\n  sources:\n" + sources + "\n  rules:\n" + rules + "\n"
}

func listed(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func hostileExpressions() []hostile {
	group := func(expr string) string { return groupOf("hostile", "    - {name: m, pathRegex: '"+expr+"'}") }
	const object = "HTTPRouteGroup shop/hostile: spec.matches[0].pathRegex:"
	return []hostile{
		{"of 1 MB", group(strings.Repeat("a", megabyte)), []string{":6:", object, "more than 1024 bytes"}},
		{"of 1 MB of parentheses", group(strings.Repeat("(", megabyte)), []string{":6:", object, "more than 1024 bytes"}},
		{"with 10,000 alternatives", group(listed(10_000, "a%d|") + "b"), []string{":6:", object, "more than 1024 bytes"}},
		{"with short alternatives", group("(?:a|b|c|d)*" + strings.Repeat("[ab]", 24) + "(?:a|b)*a(?:a|b){24}$"), []string{":6:", object, "too large"}},
		{"with nested stars", group("((a*)*)*"), nil},
		{"with nested counts", group("(a{1,1000}){1,1000}"), []string{":6:", object, "invalid repeat count"}},
		{"with counts that multiply", group("((a{1,30}){1,30}){1,30}"), []string{":6:", object, "invalid repeat count"}},
		{"with invalid UTF-8", group("/a\xff\xfe"), []string{":1:", "cannot be read", "UTF-8"}},
		{"with half a surrogate pair", groupOf("hostile", `    - {name: m, pathRegex: "/a\ud800"}`), []string{":6:", "cannot be read", "Unicode"}},
		{"with a letter beyond ASCII", groupOf("hostile", `    - {name: m, pathRegex: "/a\xff"}`), nil},
	}
}

func hostileObjects() []hostile {
	const buyers, books = "    - {kind: ServiceAccount, name: buyer}", "    - {kind: HTTPRouteGroup, name: books}"
	long := strings.Repeat("x", megabyte)
	return []hostile{
		{"10,000 matches", groupOf("hostile", listed(10_000, "    - {name: m%d, pathRegex: /big$, methods: [GET]}\n")), nil},
		{"10,000 bad matches", groupOf("hostile", listed(10_000, "    - {name: m%d, pathRegex: /big(}\n")), []string{"HTTPRouteGroup shop/hostile: spec.matches[9999]", "missing closing )"}},
		{"10,000 unknown matches", groupOf("hostile", listed(10_000, "    - {name: m%d, pathRegex: /big$}\n")) + "---\n" +
			targetOf("hostile", buyers, "    - {kind: HTTPRouteGroup, name: hostile, matches: ["+listed(10_000, "x%d, ")+"]}"),
			[]string{"TrafficTarget shop/hostile: spec.rules[0].matches[9999]", `no match "x9999"`}},
		{"20,000 unknown sources", targetOf("hostile", listed(20_000, "    - {kind: ServiceAccount, name: s%d}\n"), books), []string{":20006:", "TrafficTarget shop/hostile: spec.sources[19999]", "s19999"}},
		{"20,000 unknown rules", targetOf("hostile", buyers, listed(20_000, "    - {kind: HTTPRouteGroup, name: g%d}\n")), []string{":20008:", "TrafficTarget shop/hostile: spec.rules[19999]", "g19999"}},
		{"20,000 unknown backends", "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: hostile, namespace: shop}\nspec:\n  service: store\n  backends:\n" +
			listed(20_000, "    - {service: b%d, weight: 1}\n"), []string{":20006:", "TrafficSplit shop/hostile: spec.backends[19999]", "b19999"}},
		{"a name of 1 MB", "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  namespace: shop\n  name: " + long + "\n", []string{":5:", "ServiceAccount shop/xxx", "cannot be the name"}},
		{"a reference of 1 MB", targetOf("hostile", buyers, "    - {kind: HTTPRouteGroup, name: "+long+"}"), []string{":9:", "TrafficTarget shop/hostile: spec.rules[0].name", "does not exist"}},
		{"an annotation of 1 MB", "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  namespace: shop\n  name: hostile\n  annotations: {a: " + long + "}\n", nil},
		{"1 MB of brackets", "a: " + strings.Repeat("[", megabyte) + "\n", []string{":1:", "cannot be read", "max depth"}},
		{"references to references", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: hostile, namespace: shop}\nb0: &b0 [x, x, x, x, x, x, x, x]\n" + laughs(9),
			[]string{"cannot be read", "excessive aliasing"}},
	}
}

// laughs has each line stand for eight of the line before it.
func laughs(n int) string {
	text := ""
	for i := range n {
		text += fmt.Sprintf("b%d: &b%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*b%d, ", i), 8))
	}
	return text
}

// Whatever one object is made of, it is judged in time, what is wrong is told
// with its name, and everything else means what it did before, the good objects
// in the same file too.
func TestHostileObjectsHarmOnlyThemselves(t *testing.T) {
	for _, h := range slices.Concat(hostileExpressions(), hostileObjects()) {
		t.Run(h.name, func(t *testing.T) {
			dir := t.TempDir()
			copyMesh(t, dir)
			replaceFile(t, filepath.Join(dir, "hostile.yaml"), []byte(h.text+"---\n"+fmt.Sprintf(extra, 1)))
			start := time.Now()
			source := files.NewSource(dir)
			objects, problems, err := source.Reload()
			if err != nil {
				t.Fatal(err)
			}
			snapshot, _, more := smi.Settle(smi.Objects{}, objects, settings())
			for _, w := range []mesh.Name{buyer, store} {
				if len(xds.Build(snapshot, w, xds.Settings{LeafLifetime: time.Hour})[xds.ListenerType]) < 2 {
					t.Errorf("%s has lost its listeners", w)
				}
			}
			wantTold(t, source, append(problems, more...), h.told)
			if took := time.Since(start); took > hostileTimeout {
				t.Errorf("it took %v", took)
			}
			wantGrants(t, snapshot, "shop/buyers", "shop/extra", "shop/paper")
		})
	}
}

// wantTold wants a problem with all parts, all problems in the hostile file, and
// none where nothing is wrong.
func wantTold(t *testing.T, source *files.Source, problems []mesh.Problem, parts []string) {
	t.Helper()
	told := parts == nil && len(problems) == 0
	for _, p := range problems {
		if p.Where == "" {
			p.Where = source.Locate(p)
		}
		said := p.String()
		told = told || parts != nil && containsAll(said, parts)
		if !strings.Contains(said, "hostile.yaml:") {
			t.Errorf("another file is blamed: %.300s", said)
		}
	}
	if !told {
		t.Errorf("it should say %q, and has %d problems, the last %.300v", parts, len(problems), problems[max(0, len(problems)-1):])
	}
}

// wantGrants wants those at the store, whatever else is granted there.
func wantGrants(t *testing.T, s *mesh.Snapshot, names ...string) {
	t.Helper()
	var granted []string
	for _, g := range s.Grants(store) {
		granted = append(granted, g.Name)
	}
	for _, name := range names {
		if !slices.Contains(granted, name) {
			t.Errorf("%s grants nothing any more: %q", name, granted)
		}
	}
}

// A running mesh with all hostile expressions at once goes on, and takes edits.
func TestHostileExpressionsOnARunningMesh(t *testing.T) {
	s := openShop(t, nil)
	l := s.startLoad()
	for i, h := range hostileExpressions() {
		name := fmt.Sprintf("hostile-%d", i)
		s.edit(name+".yaml", strings.ReplaceAll(h.text, "name: hostile,", "name: "+name+","))
	}
	for i, h := range hostileExpressions() {
		if h.told == nil {
			continue
		}
		parts := []string{fmt.Sprintf("hostile-%d.yaml", i)}
		for _, part := range h.told {
			parts = append(parts, strings.ReplaceAll(part, "shop/hostile:", fmt.Sprintf("shop/hostile-%d:", i)))
		}
		s.problem(applyTimeout, parts...)
	}
	s.edit("extra.yaml", fmt.Sprintf(extra, 1))
	s.must(applyTimeout, "an edit beside them", s.answers(buyer, store, "/extra1", http.StatusOK))
	l.stop(t)
}

// Of two objects with one name the first that is read counts, and the second is
// told with both places. One name in two kinds or namespaces is no such thing.
func TestObjectsDefinedTwice(t *testing.T) {
	dir := t.TempDir()
	copyMesh(t, dir)
	wide := strings.ReplaceAll(fmt.Sprintf(extra, 1), "name: extra,", "name: buyers,")
	replaceFile(t, filepath.Join(dir, "twice.yaml"), []byte(wide))
	replaceFile(t, filepath.Join(dir, "again.yaml"), []byte(strings.ReplaceAll(wide, "namespace: shop}", "namespace: elsewhere}")))
	source := files.NewSource(dir)
	objects, problems, err := source.Reload()
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !containsAll(problems[0].String(), []string{
		"twice.yaml:8:", "TrafficTarget shop/buyers", "already defined at " + filepath.Join(dir, "access.yaml") + ":8", "this definition is ignored",
	}) {
		t.Errorf("it says %v", problems)
	}
	snapshot, _, _ := smi.Settle(smi.Objects{}, objects, settings())
	wantGrants(t, snapshot, "shop/buyers", "shop/paper")
	for _, g := range snapshot.Grants(store) {
		if g.Name == "shop/buyers" && g.Matches[0].Name != "books/books" {
			t.Errorf("the second definition counts: %v", g)
		}
	}
}
