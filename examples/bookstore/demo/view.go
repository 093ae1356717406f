package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/wasmesh/wasmesh/controlplane"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/status"
)

// View is everything the screen shows.
type View struct {
	// Running is how long the demo has been up.
	Running time.Duration
	// Source is the folder of manifests, as the user wrote it.
	Source string
	// Module is the file name of the filter module.
	Module string
	// Calls are sorted by caller, then by callee.
	Calls []Call
	// Root is the service whose requests are split, Shares how; both empty if
	// there is no split.
	Root   string
	Shares []Share
	// Window is the time that Shares cover.
	Window time.Duration
	// Status is what the control plane tells, at the moment At.
	Status controlplane.Status
	At     time.Time
	// Colour marks states with a terminal's colours.
	Colour bool
	// Sidecars are in the order in which they were started.
	Sidecars []SidecarView
	// Problems are those of the manifests, as the control plane tells them.
	Problems []string
	// Blind says why parts of the view may be out of date; empty if none is.
	Blind string
}

// Call is who calls whom, as the callee's sidecar counts it.
type Call struct {
	From, To string
	// Allowed and Denied are requests per second.
	Allowed, Denied float64
	// Reason is that of the last denial; empty if there was none.
	Reason string
}

// Share is one backend's part of a split.
type Share struct {
	Backend  string
	Weight   uint32 // as the manifests say
	Requests int    // within the window
}

// SidecarView is the state of one sidecar.
type SidecarView struct {
	Name      string
	Connected bool
	// Serves is false for a sidecar that nobody calls: it needs no policy.
	Serves bool
	Policy Policy
	// Refused is the cause of its last NACK; empty if it took everything.
	Refused string
}

// barWidth is the length of a share of 100 %, in characters.
const barWidth = 40

// Render returns the screen, at most width characters wide, each line ending in
// a newline.
func Render(v View, width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wasmesh demo: the bookstore, for %s, with %s. Ctrl-C ends it.\n\n", v.Running.Truncate(time.Second), v.Module)
	renderCalls(&b, v.Calls, width)
	renderShares(&b, v, width)
	screen := clip(b.String(), width) + sidecars(v, width)
	b.Reset()
	renderProblems(&b, v, width)
	fmt.Fprintf(&b, "\nTry: in %s/access.yaml, take the buyer out of the sources, or\n", v.Source)
	fmt.Fprintf(&b, "put the thief in; in split.yaml, change the weights. Save, and watch.\n")
	return screen + clip(b.String(), width)
}

// wide is from where on there is room for whole names and sentences.
const wide = 110

func renderCalls(b *strings.Builder, calls []Call, width int) {
	column, name, reason := 27, func(s string) string { return s }, explainReason
	if width < wide {
		column, name, reason = 22, short, func(word string) string { return word }
	}
	fmt.Fprintf(b, "%-*s %-*s %9s %9s  %s\n", column, "WHO CALLS", column, "WHOM", "allowed/s", "denied/s", "LAST DENIAL")
	if len(calls) == 0 {
		b.WriteString("nobody has called anybody yet\n")
	}
	for _, c := range calls {
		line := fmt.Sprintf("%-*s %-*s %9.1f %9.1f  %s", column, name(c.From), column, name(c.To), c.Allowed, c.Denied, reason(c.Reason))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// explainReason says what the word for a clause means.
func explainReason(reason string) string {
	meanings := map[string]string{
		"":        "",
		"policy":  "nothing is granted to anybody",
		"source":  "nothing is granted to this caller",
		"port":    "granted on another port only",
		"path":    "this path is not granted",
		"method":  "not granted with this method",
		"header":  "not granted with these headers",
		"reject":  "the path can be read in two ways",
		"expired": "the caller's certificate has ended",
		"panic":   "the filter itself failed",
	}
	if meaning, ok := meanings[reason]; ok {
		return meaning
	}
	return reason
}

func renderShares(b *strings.Builder, v View, width int) {
	bars := barWidth
	if width < wide {
		bars /= 3
	}
	if v.Root == "" {
		b.WriteString("\nSPLIT: none\n")
		return
	}
	fmt.Fprintf(b, "\nSPLIT of %s over the last %s\n", v.Root, v.Window.Truncate(time.Second))
	total := 0
	for _, s := range v.Shares {
		total += s.Requests
	}
	for _, s := range v.Shares {
		share := 0.0
		if total > 0 {
			share = float64(s.Requests) / float64(total)
		}
		bar := strings.Repeat("#", int(share*float64(bars)+0.5))
		fmt.Fprintf(b, "%-27s %-*s %3.0f %% of %d requests, weight %d\n", s.Backend, bars, bar, share*100, total, s.Weight)
	}
}

// sidecars shows what wasmesh status shows, and beside it what the sidecars
// themselves say.
func sidecars(v View, width int) string {
	notes := map[mesh.Name]string{}
	for _, s := range v.Sidecars {
		name, _ := mesh.ParseName(s.Name)
		switch {
		case !s.Connected:
			notes[name] = "says that it is not connected; policy: " + policyText(s)
		case s.Serves:
			notes[name] = "policy: " + policyText(s)
		}
	}
	colour := v.Colour && width >= status.MinWidth
	table := "\n" + v.Status.Table(status.Look{Width: width, Now: v.At, Colour: colour}, notes)
	if colour {
		return table // it is no wider, and nothing in it moves the cursor
	}
	return clip(table, width)
}

func policyText(s SidecarView) string {
	switch {
	case !s.Serves:
		return "none: it only calls"
	case s.Policy.Running == 0:
		return "none runs: it denies everything"
	case s.Policy.Applied():
		return fmt.Sprintf("runs %013x, as the manifests say", s.Policy.Running)
	}
	return fmt.Sprintf("still runs %013x, the manifests say %013x", s.Policy.Running, s.Policy.Wanted)
}

// maxProblems keeps the last lines of the screen in sight.
const maxProblems = 5

func renderProblems(b *strings.Builder, v View, width int) {
	if v.Blind != "" {
		fmt.Fprintf(b, "\nOUT OF DATE: %s\n", v.Blind)
	}
	if len(v.Problems) == 0 {
		fmt.Fprintf(b, "\nMANIFESTS in %s: no problems\n", v.Source)
		return
	}
	fmt.Fprintf(b, "\nMANIFESTS in %s: %d problems\n", v.Source, len(v.Problems))
	for i, p := range v.Problems {
		if i == maxProblems {
			fmt.Fprintf(b, "  and %d more: wasmesh check -f %s\n", len(v.Problems)-i, v.Source)
			break
		}
		b.WriteString(wrap("- "+p, width, "  "))
	}
}

// wrap breaks a text between words, with the indent before every further line.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	room := width
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case n+1 <= room:
			b.WriteByte(' ')
			room--
		default:
			b.WriteString("\n" + indent)
			room = width - len(indent)
		}
		b.WriteString(word)
		room -= n
	}
	return b.String() + "\n"
}

// Line is the view in one line, for what is no terminal.
func Line(v View) string {
	parts := []string{fmt.Sprintf("%4.0fs", v.Running.Seconds())}
	for _, c := range v.Calls {
		parts = append(parts, fmt.Sprintf("%s>%s %.1f/s ok %.1f/s denied", short(c.From), short(c.To), c.Allowed, c.Denied))
	}
	for _, s := range v.Sidecars {
		switch {
		case !s.Connected:
			parts = append(parts, short(s.Name)+" is not connected")
		case s.Refused != "":
			parts = append(parts, short(s.Name)+" refused: "+s.Refused)
		case s.Serves && !s.Policy.Applied():
			parts = append(parts, short(s.Name)+" has an older policy")
		}
	}
	if n := len(v.Problems); n > 0 {
		parts = append(parts, fmt.Sprintf("%d problems, first: %s", n, v.Problems[0]))
	}
	if v.Blind != "" {
		parts = append(parts, "out of date: "+v.Blind)
	}
	return strings.Join(parts, "; ") + "\n"
}

// short drops the namespace, which says nothing new in this example.
func short(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// clip cuts every line at width characters and drops what could move the cursor.
func clip(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		n := 0
		for _, r := range strings.TrimSuffix(line, "\n") {
			if n++; n > width {
				break
			}
			if r < ' ' || r == 0x7f {
				r = '?'
			}
			b.WriteRune(r)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
