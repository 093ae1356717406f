package files

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// position is a place in a file, and the YAML that stands there.
type position struct {
	file string
	// line counts from 1.
	line int
	// offset is the number of lines before the document, by which lines of its
	// nodes differ from lines of the file.
	offset int
	node   *yaml.Node
}

// String returns "file:line".
func (p position) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// field returns the position of a field such as "spec.matches[1].pathRegex",
// or of the part of that path which exists.
func (p position) field(path string) position {
	steps := splitPath(path)
	// smi-rules 52: the decoder moves top-level matches under spec.
	if len(steps) > 1 && steps[0] == "spec" && steps[1] == "matches" {
		if _, line := child(p.node, "spec"); line == 0 {
			steps = steps[1:]
		}
	}
	for _, step := range steps {
		next, line := child(p.node, step)
		if line == 0 {
			break
		}
		p.node, p.line = next, p.offset+line
	}
	return p
}

// splitPath cuts "a.b[2].c[x-y.z]" into a, b, 2, c and x-y.z.
func splitPath(path string) []string {
	var steps []string
	for path != "" {
		if rest, ok := strings.CutPrefix(path, "["); ok {
			step, after, _ := strings.Cut(rest, "]")
			steps, path = append(steps, step), after
			continue
		}
		path = strings.TrimPrefix(path, ".")
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		if end > 0 {
			steps = append(steps, path[:end])
		}
		path = path[end:]
	}
	return steps
}

// child finds one step below a node and the line to show for it, 0 if it is not
// there. In a list of maps, such as SMI's headers, a step may be a key.
func child(n *yaml.Node, step string) (*yaml.Node, int) {
	n = resolve(n)
	if n == nil {
		return nil, 0
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1], n.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil {
			if 0 <= i && i < len(n.Content) {
				return n.Content[i], n.Content[i].Line
			}
			return nil, 0
		}
		for _, item := range n.Content {
			if item = resolve(item); item == nil || item.Kind != yaml.MappingNode {
				continue
			}
			if next, line := child(item, step); line != 0 {
				return next, line
			}
		}
	}
	return nil, 0
}

// resolve follows documents and aliases to what they stand for.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil {
		switch {
		case n.Kind == yaml.DocumentNode && len(n.Content) > 0:
			n = n.Content[0]
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		default:
			return n
		}
	}
	return nil
}

// text returns a scalar below a node, empty if there is none.
func text(n *yaml.Node, steps ...string) string {
	for _, step := range steps {
		n, _ = child(n, step)
	}
	if n = resolve(n); n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}
