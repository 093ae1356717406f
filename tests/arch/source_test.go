package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// purePackages decide; effects live elsewhere.
var purePackages = []string{
	"filters/automaton", "filters/config", "filters/identity", "filters/pattern", "filters/policy",
	"filters/traffic", "controlplane/mesh", "controlplane/metricsapi", "controlplane/metricsapi/show", "controlplane/modules", "controlplane/observe", "controlplane/smi", "controlplane/suggest",
	"controlplane/wire", "controlplane/xds", "controlplane/kube/report", "controlplane/kube/trim", "injector/inject", "injector/redirect", "injector/sidecar/probe", "charts/images",
}

// impureImports reach a clock, the environment, I/O, a lock or a logger.
var impureImports = []string{
	"context", "io", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os",
	"os/exec", "path/filepath", "sync", "sync/atomic", "syscall", "testing",
}

// TestPurePackagesArePure looks for what a pure package must not have: impure
// imports, goroutines, channels' select, and variables of the package.
func TestPurePackagesArePure(t *testing.T) {
	for _, name := range purePackages {
		found := list(t, nil, "./"+name)
		if len(found) != 1 || len(found[0].GoFiles) == 0 {
			t.Fatalf("%s is not there any more; take it off the list", name)
		}
		for _, imported := range found[0].Imports {
			if slices.Contains(impureImports, imported) {
				t.Errorf("%s is pure and imports %s", name, imported)
			}
		}
		for _, file := range found[0].GoFiles {
			impurities(t, filepath.Join(found[0].Dir, file))
		}
	}
}

func impurities(t *testing.T, path string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			t.Errorf("%s: a pure package has a variable", set.Position(g.Pos()))
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.GoStmt, *ast.SelectStmt:
			t.Errorf("%s: a pure package starts or waits for something", set.Position(n.Pos()))
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok && id.Name == "time" && (x.Sel.Name == "Now" || x.Sel.Name == "Since" || x.Sel.Name == "Sleep") {
				t.Errorf("%s: a pure package looks at the clock", set.Position(n.Pos()))
			}
		}
		return true
	})
}

// TestPackagesSayWhatTheyAre wants a comment on every package, which says what
// it must never do.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range append(list(t, nil, "./..."), list(t, []string{"GOOS=wasip1", "GOARCH=wasm"}, "./filters/modules/...")...) {
		var doc string
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				doc = f.Doc.Text()
			}
		}
		if len(p.GoFiles) == 0 {
			continue
		}
		if !strings.HasPrefix(doc, "Package ") && !strings.HasPrefix(doc, "Command ") {
			t.Errorf("%s has no comment that starts with Package or Command", p.ImportPath)
		}
		if !strings.Contains(doc, "ever") && !strings.Contains(doc, "only") && !strings.Contains(doc, "nothing") {
			t.Errorf("the comment of %s does not say what the package must never do", p.ImportPath)
		}
	}
}
