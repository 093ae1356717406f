package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/xds"
)

// Look is how a view is drawn.
type Look struct {
	// Width is how many characters a line may have; below MinWidth it is that.
	Width int
	// Now is the time at which certificates are looked at.
	Now time.Time
	// Colour marks states with a terminal's colours.
	Colour bool
}

// MinWidth is the narrowest view there is.
const MinWidth = 60

const (
	indent    = "    "
	showBytes = 12 // of a digest
	// others is what a row has beside the name.
	others = 2 + len("refused") + 2 + showBytes + 2 + len("ends in 8760h00m")
	// showNames is how many things that a proxy is waited for are listed.
	showNames = 3
)

// Text is the whole state.
func (s Status) Text(l Look) string {
	l.Width = max(l.Width, MinWidth)
	var b strings.Builder
	b.WriteString(wrap("module "+digest(s.Module), l.Width, indent))
	for _, name := range slices.Sorted(maps.Keys(s.Filters)) {
		b.WriteString(wrap("module "+digest(s.Filters[name])+" of WasmFilter "+name, l.Width, indent))
	}
	for _, r := range s.Replicas {
		what := "serves " + mesh.Counted(r.Proxies, "sidecar", "sidecars")
		if r.Error != "" {
			what = "does not say which sidecars it serves, so that they are missing here: " + r.Error
		}
		b.WriteString(wrap("replica "+r.Name+" "+what, l.Width, indent))
	}
	for _, r := range s.Relaxed {
		what := "mode " + r.Mode.String()
		if r.Plaintext {
			what += ", callers without a sidecar get in"
		}
		b.WriteString(wrap("namespace "+r.Namespace+" is not closed: "+what, l.Width, indent))
	}
	b.WriteByte('\n')
	b.WriteString(s.Table(l, nil))
	b.WriteByte('\n')
	if len(s.Problems) == 0 {
		b.WriteString("no problems in the manifests\n")
		return b.String()
	}
	b.WriteString(mesh.Counted(len(s.Problems), "problem", "problems") + " in the manifests\n")
	for _, p := range s.Problems {
		b.WriteString(wrap("- "+p, l.Width, "  "))
	}
	return b.String()
}

// Table is a row for each workload and connected proxy, with what is wrong below
// it. notes are lines of the reader's own for a proxy.
func (s Status) Table(l Look, notes map[mesh.Name]string) string {
	l.Width = max(l.Width, MinWidth)
	rows := s.rows()
	longest := len("PROXY")
	for _, r := range rows {
		longest = max(longest, len([]rune(r.Name.String())))
	}
	name := min(longest, l.Width-others)
	var b strings.Builder
	line := func(proxy, state, module, certificate, colour string) {
		state = fmt.Sprintf("%-7s", state)
		if l.Colour && colour != "" {
			state = colour + state + plain
		}
		fmt.Fprintf(&b, "%-*s  %s  %-*s  %s\n", name, clip(proxy, name), state, showBytes, module, certificate)
	}
	line("PROXY", "STATE", "MODULE", "CERTIFICATE", "")
	for _, r := range rows {
		state, colour := r.state()
		line(r.Name.String(), state, r.module(), r.certificate(l.Now), colour)
		for _, note := range append(r.notes(l.Now), notes[r.Name]) {
			if note != "" {
				b.WriteString(indent + wrap(note, l.Width-len(indent), indent+"  "))
			}
		}
	}
	return b.String()
}

// row is a workload with its stream, if it has one.
type row struct {
	Workload
	known bool // the manifests have it
	*serve.Proxy
	Name mesh.Name
}

func (s Status) rows() []row {
	var out []row
	for _, w := range s.Workloads {
		out = append(out, row{Workload: w, known: true, Name: w.Name})
	}
	for i := range s.Proxies {
		p := &s.Proxies[i]
		at := slices.IndexFunc(out, func(r row) bool { return r.Name == p.Name })
		if at < 0 || out[at].Proxy != nil { // gone from the manifests, or a second stream
			r := row{Name: p.Name}
			if at >= 0 {
				r = out[at]
			}
			out, at = append(out, r), len(out)
		}
		out[at].Proxy = p
	}
	slices.SortStableFunc(out, func(a, b row) int { return a.Name.Compare(b.Name) })
	return out
}

// A terminal's colours (ECMA-48).
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = "\x1b[0m"
)

func (r row) state() (word, colour string) {
	switch {
	case r.Proxy == nil:
		return "absent", red
	case len(r.Refusals) > 0:
		return "refused", red
	case !r.Settled:
		return "pending", yellow
	}
	return "synced", green
}

func (r row) module() string {
	if r.Proxy == nil || r.Proxy.Module == "" {
		return "-"
	}
	return digest(r.Proxy.Module)
}

// certificate says how long it goes on.
func (r row) certificate(now time.Time) string {
	switch {
	case r.Proxy == nil || r.Expires.IsZero():
		return "-"
	case !now.Before(r.Expires):
		return "ended"
	}
	left := r.Expires.Sub(now)
	if left >= 10_000*time.Hour {
		return "ends in years"
	}
	if left < time.Hour {
		return "ends in " + left.Truncate(time.Second).String()
	}
	return fmt.Sprintf("ends in %dh%02dm", int(left.Hours()), int(left.Minutes())%60)
}

func (r row) notes(now time.Time) []string {
	var out []string
	if len(r.Ports) > 0 {
		var ports []string
		for _, p := range r.Ports {
			ports = append(ports, fmt.Sprintf("%d %s", p.Port, p.Protocol))
		}
		out = append(out, "serves "+strings.Join(ports, ", "))
	}
	if r.Proxy == nil {
		return append(out, "no sidecar is connected")
	}
	if !r.known {
		out = append(out, "the manifests have no such workload: it is told nothing")
	}
	if n := len(r.Waiting); n > 0 {
		text := fmt.Sprintf("%s not acknowledged: ", mesh.Counted(n, "resource", "resources"))
		for i, name := range r.Waiting[:min(n, showNames)] {
			if i > 0 {
				text += ", "
			}
			text += r.origin(name.Type, name.Name)
		}
		if n > showNames {
			text += fmt.Sprintf(" and %d more", n-showNames)
		}
		out = append(out, text)
	}
	for _, refusal := range r.Refusals {
		var of []string
		for _, name := range refusal.Resources {
			if o := r.origin(refusal.Type, name); !slices.Contains(of, o) {
				of = append(of, o)
			}
		}
		out = append(out, fmt.Sprintf("refused %s ago and keeps what it had: %s: %s",
			now.Sub(refusal.At).Truncate(time.Second), strings.Join(of, ", "), refusal.Cause))
	}
	return out
}

// origin names the object of the manifests that a resource was made of.
func (r row) origin(typeURL, resource string) string {
	kind := strings.ToLower(typeURL[strings.LastIndexByte(typeURL, '.')+1:])
	parts := strings.Split(resource, "|")
	switch {
	case typeURL == xds.FilterType:
		return fmt.Sprintf("the policy of ServiceAccount %s (%s)", r.ServiceAccount, resource)
	case typeURL == xds.RuntimeType:
		return "the mode of Namespace " + r.Name.Namespace
	case parts[0] == "outbound" && len(parts) >= 3:
		return fmt.Sprintf("Service %s port %s (%s)", parts[1], parts[2], kind)
	case parts[0] == "inbound" && len(parts) == 2:
		return fmt.Sprintf("its own port %s (%s)", parts[1], kind)
	}
	return resource + " (" + kind + ")"
}

// digest is as much of one as tells it from others.
func digest(sum string) string {
	if sum == "" {
		return "none: everything is denied"
	}
	return sum[:min(len(sum), showBytes)]
}
