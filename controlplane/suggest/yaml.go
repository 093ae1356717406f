package suggest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	access "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/access/v1alpha3"
	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// wideList is how many characters a list may have on one line.
const wideList = 60

// YAML returns the suggestion as manifests, with its remarks as comments.
func (s Suggestion) YAML() ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(s.head())
	nodes := s.nodes()
	for _, p := range s.order {
		out.WriteString("---\n")
		e := yaml.NewEncoder(&out)
		e.SetIndent(2)
		if err := e.Encode(nodes[p]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", p.kind, p.name, err)
		}
		if err := e.Close(); err != nil {
			return nil, fmt.Errorf("%s %s: %w", p.kind, p.name, err)
		}
	}
	return out.Bytes(), nil
}

// head says what the manifests are, what they lack and where they reach beyond
// what was seen.
func (s Suggestion) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What it takes to allow what was seen since %s.\n", s.since.UTC().Format(time.RFC3339))
	b.WriteString("# Read it before you apply it: it allows what was seen, wanted or not, and nothing\n" +
		"# that merely has not happened yet. Headers are not observed, so it asks for none.\n")
	for _, kind := range []Kind{LeftOut, Wider} {
		first := true
		for _, r := range s.Remarks {
			if r.Kind != kind {
				continue
			}
			if first {
				fmt.Fprintf(&b, "#\n# %s%s:\n", strings.ToUpper(string(kind[:1])), kind[1:])
				first = false
			}
			fmt.Fprintf(&b, "#   %s\n", r)
		}
	}
	if s.Empty() {
		b.WriteString("#\n# There is nothing to add.\n")
	}
	return b.String()
}

func (s Suggestion) nodes() map[place]*yaml.Node {
	out := map[place]*yaml.Node{}
	for _, g := range s.Groups {
		var matches []*yaml.Node
		for _, m := range g.Spec.Matches {
			n := mapping(field{"name", text(m.Name)}, field{"pathRegex", text(m.PathRegex)}, field{"methods", texts(m.Methods)})
			n.HeadComment = s.notes[place{smi.KindHTTPRouteGroup, nameOf(g.ObjectMeta), m.Name}]
			matches = append(matches, n)
		}
		s.object(out, g.TypeMeta, g.ObjectMeta, mapping(field{"matches", list(matches...)}))
	}
	for _, r := range s.Routes {
		s.object(out, r.TypeMeta, r.ObjectMeta, mapping(field{"matches", mapping(field{"ports", numbersOf(r)})}))
	}
	for _, t := range s.Targets {
		var sources, rules []*yaml.Node
		for _, source := range t.Spec.Sources {
			sources = append(sources, subjectNode(source))
		}
		for _, r := range t.Spec.Rules {
			n := mapping(field{"kind", text(r.Kind)}, field{"name", text(r.Name)})
			if len(r.Matches) > 0 {
				n.Content = append(n.Content, text("matches"), texts(r.Matches))
			}
			rules = append(rules, n)
		}
		s.object(out, t.TypeMeta, t.ObjectMeta, mapping(
			field{"destination", subjectNode(t.Spec.Destination)}, field{"sources", list(sources...)}, field{"rules", list(rules...)}))
	}
	return out
}

func (s Suggestion) object(out map[place]*yaml.Node, kind metav1.TypeMeta, meta metav1.ObjectMeta, spec *yaml.Node) {
	p := place{kind: kind.Kind, name: nameOf(meta)}
	version := text("apiVersion")
	version.HeadComment = s.notes[p]
	n := mapping(field{"kind", text(kind.Kind)},
		field{"metadata", mapping(field{"name", text(meta.Name)}, field{"namespace", text(meta.Namespace)})}, field{"spec", spec})
	n.Content = append([]*yaml.Node{version, text(kind.APIVersion)}, n.Content...)
	out[p] = n
}

func nameOf(m metav1.ObjectMeta) mesh.Name { return mesh.Name{Namespace: m.Namespace, Name: m.Name} }

func subjectNode(s access.IdentityBindingSubject) *yaml.Node {
	return mapping(field{"kind", text(s.Kind)}, field{"name", text(s.Name)}, field{"namespace", text(s.Namespace)})
}

func numbersOf(r *specs.TCPRoute) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, p := range r.Spec.Matches.Ports {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(p)})
	}
	return n
}

// field is one line of a mapping.
type field struct {
	key   string
	value *yaml.Node
}

func mapping(fields ...field) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		n.Content = append(n.Content, text(f.key), f.value)
	}
	return n
}

func list(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: items}
}

// texts is a list on one line if it is short.
func texts(all []string) *yaml.Node {
	n := list()
	for _, s := range all {
		n.Content = append(n.Content, text(s))
	}
	if len(strings.Join(all, ", ")) <= wideList {
		n.Style = yaml.FlowStyle
	}
	return n
}

// text is quoted where a reader of YAML could take it for something else than
// text, such as no, 1e3 or a number.
func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if !isPlain(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// isPlain keeps to what every reader of YAML takes for text: it starts with a
// letter or a slash, holds nothing with a meaning of its own, and is none of the
// words for true, false and nothing.
func isPlain(s string) bool {
	switch strings.ToLower(s) {
	case "", "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	first := s[0]
	if first != '/' && (first < 'a' || first > 'z') && (first < 'A' || first > 'Z') {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`:#"'`, c) >= 0 {
			return false
		}
	}
	return true
}
