package show

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Graph draws edges as text, dot, json or mermaid.
func Graph(edges []Row, format string) (string, error) {
	switch format {
	case "text":
		return text(edges), nil
	case "dot":
		return dot(edges), nil
	case "mermaid":
		return mermaid(edges), nil
	case "json":
		if edges == nil {
			edges = []Row{}
		}
		out, err := json.MarshalIndent(map[string]any{"edges": edges}, "", "  ")
		return string(out) + "\n", err
	}
	return "", fmt.Errorf("a graph has no form %q; choose text, dot, json or mermaid", format)
}

// text has each caller once, with those it calls below.
func text(edges []Row) string {
	var b strings.Builder
	last := ""
	for i, e := range edges {
		if i == 0 || e.From != last {
			b.WriteString(Plain(e.From) + "\n")
			last = e.From
		}
		b.WriteString("  -> " + Plain(e.To) + "  " + label(e) + "\n")
	}
	return b.String()
}

func label(e Row) string { return fmt.Sprintf("%.2f/s %.2f%%", e.RPS, 100*e.Success) }

func dot(edges []Row) string {
	quote := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(Plain(s)) + `"`
	}
	var b strings.Builder
	b.WriteString("digraph mesh {\n  rankdir=LR;\n")
	for _, e := range edges {
		fmt.Fprintf(&b, "  %s -> %s [label=%s];\n", quote(e.From), quote(e.To), quote(label(e)))
	}
	b.WriteString("}\n")
	return b.String()
}

// mermaid numbers the nodes: names may hold what its syntax means something by.
func mermaid(edges []Row) string {
	var names []string
	for _, e := range edges {
		for _, n := range []string{e.From, e.To} {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	var b strings.Builder
	b.WriteString("graph LR\n")
	for i, n := range names {
		fmt.Fprintf(&b, "  n%d[\"%s\"]\n", i, entities(n))
	}
	for _, e := range edges {
		fmt.Fprintf(&b, "  n%d -->|\"%s\"| n%d\n", slices.Index(names, e.From), entities(label(e)), slices.Index(names, e.To))
	}
	return b.String()
}

// entities is how mermaid writes what would end a text or begin a tag.
func entities(s string) string {
	return strings.NewReplacer(`#`, "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "`", "#96;").Replace(Plain(s))
}
