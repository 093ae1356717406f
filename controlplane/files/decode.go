package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/wire"
)

// decoder gathers what the files of one folder hold.
type decoder struct {
	entries  []entry
	unread   []unread
	problems []located
	seen     map[mesh.Object]position
	// before and now are the memories of the last reading and of this one; nil
	// where nobody reads again.
	before, now memory
	// lines of the file that is being decoded.
	lines int
	// tolerated is how many problems there may be before the file is given up.
	tolerated int
}

type located struct {
	at      position
	problem mesh.Problem
}

// fail reports a document that yields no object.
func (d *decoder) fail(at position, u unread, cause, try string) {
	u.file = at.file
	d.unread = append(d.unread, u)
	d.report(at, mesh.Problem{Effect: mesh.Broken, Cause: cause, Try: try})
}

func (d *decoder) report(at position, p mesh.Problem) {
	// Parsers see an error at the end of a text on the line after it.
	at.line = min(at.line, d.lines)
	p.Where = at.String()
	d.problems = append(d.problems, located{at, p})
}

// file decodes all documents of one file.
func (d *decoder) file(path string, text []byte) {
	first := len(d.problems)
	d.lines = 1 + bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	d.tolerated = first + maxProblems
	for _, doc := range documents(text) {
		if d.remembered(path, doc); d.givesUp() {
			at := position{file: path, line: doc.offset + 1}
			d.fail(at, unread{}, fmt.Sprintf("the file already has %d problems; from here on it is not read.", maxProblems), "Check that it is a manifest.")
			break
		}
	}
	slices.SortStableFunc(d.problems[first:], byPlace)
}

func (d *decoder) givesUp() bool { return len(d.problems) >= d.tolerated }

// document decodes one document: an object, a List of objects, or nothing.
func (d *decoder) document(path string, doc document) {
	at := position{file: path, line: doc.offset + 1, offset: doc.offset, node: new(yaml.Node)}
	parser := yaml.NewDecoder(bytes.NewReader(doc.text))
	err := parser.Decode(at.node)
	if errors.Is(err, io.EOF) {
		return
	}
	if err == nil && !errors.Is(parser.Decode(new(yaml.Node)), io.EOF) {
		err = errors.New("text follows after the end of the document")
	}
	if err != nil {
		d.syntax(at, unread{}, err)
		return
	}
	root := resolve(at.node)
	if root == nil || root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	at.node, at.line = root, doc.offset+root.Line
	u := identify(root)
	// The second reading is the one that kubectl takes: YAML 1.1 scalars, and no
	// key twice.
	text, err := kyaml.YAMLToJSONStrict(doc.text)
	if err != nil {
		d.syntax(at, u, err)
		return
	}
	var value any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &value); err != nil {
		d.syntax(at, u, err)
		return
	}
	d.object(at, value)
}

// object decodes one object, or each item of a List.
func (d *decoder) object(at position, value any) {
	fields, ok := value.(map[string]any)
	if !ok {
		d.fail(at, unread{}, "the document is not an object.", "A manifest has apiVersion, kind and metadata.")
		return
	}
	if fields["kind"] == "List" {
		items, _ := fields["items"].([]any)
		for i, item := range items {
			if d.object(at.field(fmt.Sprintf("items[%d]", i)), item); d.givesUp() {
				return
			}
		}
		return
	}
	object, decoded, problems := wire.Decode(fields)
	for _, p := range problems {
		d.report(at.field(p.Field), p)
	}
	switch {
	case decoded != nil:
		// A time copied from a cluster says nothing about this folder; see Source.
		decoded.SetCreationTimestamp(metav1.Time{})
		d.add(entry{object: object, value: decoded, at: at})
	case slices.ContainsFunc(problems, isBroken):
		u := identify(at.node)
		u.file = at.file
		d.unread = append(d.unread, u)
	}
}

func isBroken(p mesh.Problem) bool { return p.Effect == mesh.Broken }

// add keeps an object unless there already is one of that name.
func (d *decoder) add(e entry) {
	if d.seen == nil {
		d.seen = map[mesh.Object]position{}
	}
	if first, ok := d.seen[e.object]; ok {
		d.report(e.at, mesh.Problem{
			Object: e.object, Effect: mesh.Broken,
			Cause: fmt.Sprintf("the object is already defined at %s; this definition is ignored.", first),
			Try:   "Remove one of the two, or rename it.",
		})
		return
	}
	d.seen[e.object] = e.at
	d.entries = append(d.entries, e)
}

// identify reads whose document it is from YAML that may not decode any further.
func identify(n *yaml.Node) unread {
	u := unread{name: mesh.Name{Namespace: text(n, "metadata", "namespace"), Name: text(n, "metadata", "name")}}
	for _, k := range wire.Kinds() {
		if k.Name == text(n, "kind") {
			u.kind = k.Name
		}
	}
	u.name.Namespace = wire.NamespaceOf(u.kind, u.name.Namespace)
	if u.name.Name == "" {
		u.name = mesh.Name{}
	}
	return u
}

// lineInError finds the line that YAML parsers put into their errors.
var lineInError = regexp.MustCompile(`line (\d+): `)

// syntax reports text that is no YAML, at the line that the parser names.
func (d *decoder) syntax(at position, u unread, err error) {
	cause := err.Error()
	for _, prefix := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors:"} {
		cause = strings.TrimSpace(strings.TrimPrefix(cause, prefix))
	}
	cause, _, _ = strings.Cut(cause, "\n")
	if m := lineInError.FindStringSubmatch(cause); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			at.line = at.offset + n
		}
		cause = strings.Replace(cause, m[0], "", 1)
	}
	d.fail(at, u, "the document cannot be read: "+cause+".", "What it held before stays in force. Check indentation, colons and quotes near this line.")
}
