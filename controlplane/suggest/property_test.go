package suggest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/controlplane/suggest"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// plainWords are no identifiers and, in one place, not too many.
func plainWords() []string { return []string{"a", "b.c", "(", "%20", "$", "**", "A", ""} }

// allWords also are values, identifiers and parameters.
func allWords() []string {
	words := []string{"a", "b.c", "d-e", "17", "0b9d1c9e-6c3e-4b43-9d2c-7a2f0e2f9c11", "d41d8cd98f00b204e9800998ecf8427e",
		"", "x;y", ";z", "%3Bq", "x%3by=1", "%20", "(", "[^/]+", "$", "**", "A", "no"}
	for i := range 12 {
		words = append(words, fmt.Sprint("w", i))
	}
	return words
}

// traffic makes up observations of few words, so that they meet often.
func traffic(r *rand.Rand, words []string) []observe.Observation {
	sources := []mesh.Name{{Namespace: "shop", Name: "web"}, {Namespace: "till", Name: "web"}, {Namespace: "till", Name: "cashier"}}
	destinations := []mesh.Name{{Namespace: "shop", Name: "store"}, {Namespace: "shop", Name: "office"}}
	known := map[observe.Observation]bool{}
	var out []observe.Observation
	for range r.IntN(120) {
		o := observe.Observation{
			Source: sources[r.IntN(len(sources))], Destination: destinations[r.IntN(len(destinations))], Port: 80,
			Method: []string{"GET", "POST", "M-SEARCH"}[r.IntN(3)],
		}
		if o.Destination.Name == "office" && r.IntN(2) == 0 {
			o.Port = 81
		}
		var path strings.Builder
		for range 1 + r.IntN(4) {
			path.WriteString("/" + words[r.IntN(len(words))])
		}
		p, ok := policy.Normalize(path.String())
		o.Path = p.Literal
		if !ok || known[o] {
			continue
		}
		known[o] = true
		o.Count, o.First, o.Last = uint64(r.IntN(9)), noon, noon
		out = append(out, o)
	}
	return out
}

// Whatever was seen: what is suggested is sound, allows all of it but what is
// told, allows nothing to who was not seen, and needs nothing more when applied.
func TestWhateverWasSeen(t *testing.T) {
	before := snapshotOf(t, cast(t))
	allowed, denied, left := 0, 0, 0
	seeds := 30
	if testing.Short() {
		seeds = 8
	}
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 1))
		seen := observe.Report{Observations: traffic(r, allWords()), Since: noon}
		s := suggest.Suggest(seen, before)
		text, err := s.YAML()
		if err != nil {
			t.Fatal(err)
		}
		r.Shuffle(len(seen.Observations), func(i, j int) {
			seen.Observations[i], seen.Observations[j] = seen.Observations[j], seen.Observations[i]
		})
		if again, _ := suggest.Suggest(seen, before).YAML(); !bytes.Equal(again, text) {
			t.Fatalf("seed %d: the order in which it was seen changes what is suggested", seed)
		}
		namesAreLabels(t, s)
		snapshot := snapshotOf(t, cast(t), string(text))
		after := tablesOf(snapshot)
		for _, o := range seen.Observations {
			switch {
			case after.allows(o):
				allowed++
			case told(s, o):
				left++
			default:
				t.Errorf("seed %d: %s -> %s:%d %s %s is neither allowed nor told", seed, o.Source, o.Destination, o.Port, o.Method, o.Path)
			}
			denied += strangers(t, seed, after, seen.Observations, o)
		}
		if more := suggest.Suggest(seen, snapshot); !more.Empty() {
			t.Errorf("seed %d: applied, it is not enough: %v", seed, more.Targets)
		}
	}
	if allowed < 40*seeds || denied < 160*seeds || left < seeds/2 || left > allowed/5 {
		t.Errorf("%d allowed, %d denied, %d left out: the test looks at too little", allowed, denied, left)
	}
}

// Where nothing looks like a value, exactly what was seen is allowed.
func TestExactlyWhatWasSeen(t *testing.T) {
	before := snapshotOf(t, cast(t))
	allowed, denied := 0, 0
	for seed := range uint64(20) {
		all := slices.DeleteFunc(traffic(rand.New(rand.NewPCG(seed, 2)), plainWords()), func(o observe.Observation) bool { return o.Path == "//" })
		s := suggest.Suggest(observe.Report{Observations: all}, before)
		text, err := s.YAML()
		if err != nil || len(s.Remarks) > 0 {
			t.Fatalf("seed %d: %v, %v", seed, err, s.Remarks)
		}
		after := tablesOf(snapshotOf(t, cast(t), string(text)))
		kind := func(o observe.Observation) observe.Observation {
			return observe.Observation{Source: o.Source, Destination: o.Destination, Port: o.Port, Method: o.Method, Path: o.Path}
		}
		seen := map[observe.Observation]bool{}
		for _, o := range all {
			seen[kind(o)] = true
		}
		// Who was seen asks, in the way of another, for what a third one asked for.
		for _, who := range all[:len(all)/4] {
			for _, how := range all[:len(all)/4] {
				for _, what := range all {
					o := kind(who)
					o.Method, o.Path = how.Method, what.Path
					if got := after.allows(o); got != seen[o] {
						t.Fatalf("seed %d: %s -> %s:%d %s %s: seen %v, allowed %v", seed, o.Source, o.Destination, o.Port, o.Method, o.Path, seen[o], got)
					} else if got {
						allowed++
					} else {
						denied++
					}
				}
			}
		}
	}
	if allowed < 2000 || denied < 20_000 {
		t.Errorf("%d allowed, %d denied: the test looks at too little", allowed, denied)
	}
}

// told reports whether something of what o's source sent was left out for a
// reason that o can have.
func told(s suggest.Suggestion, o observe.Observation) bool {
	p, _ := policy.Normalize(o.Path)
	if strings.Count(p.Literal, "/") == strings.Count(p.Stripped, "/") {
		return false
	}
	for _, r := range s.Remarks {
		if r.Kind == suggest.LeftOut && r.Destination == o.Destination && strings.Contains(r.Text, o.Source.String()) {
			return true
		}
	}
	return false
}

// strangers changes one thing of o to what was never seen at all and wants a
// denial: the method, the caller, the port, more of the path.
func strangers(t *testing.T, seed uint64, after tables, seen []observe.Observation, o observe.Observation) int {
	t.Helper()
	n := 0
	for _, change := range []func(*observe.Observation){
		func(o *observe.Observation) { o.Method = "PATCH" },
		func(o *observe.Observation) { o.Method = strings.ToLower(o.Method) },
		func(o *observe.Observation) { o.Source = mesh.Name{Namespace: "shop", Name: "no"} },
		func(o *observe.Observation) { o.Port = otherPort(seen, *o) },
		func(o *observe.Observation) { o.Path += "/1/2/3/4/5" },
	} {
		stranger := o
		change(&stranger)
		if stranger.Port == 0 {
			continue
		}
		if after.allows(stranger) {
			t.Errorf("seed %d: never seen and allowed: %s -> %s:%d %s %s", seed, stranger.Source, stranger.Destination, stranger.Port, stranger.Method, stranger.Path)
		}
		n++
	}
	return n
}

// otherPort is a port of the office to which o's source sent nothing; 0 if there
// is none. Where a destination has one port, no port is named.
func otherPort(seen []observe.Observation, o observe.Observation) uint16 {
	if o.Destination.Name != "office" {
		return 0
	}
	other := 161 - o.Port
	for _, x := range seen {
		if x.Source == o.Source && x.Destination == o.Destination && x.Port == other {
			return 0
		}
	}
	return other
}

func namesAreLabels(t *testing.T, s suggest.Suggestion) {
	t.Helper()
	seen := map[string]bool{}
	check := func(kind, namespace, name string) {
		if len(validation.IsDNS1123Label(name)) > 0 || seen[kind+namespace+"/"+name] {
			t.Errorf("%s %s/%s is no name or used twice", kind, namespace, name)
		}
		seen[kind+namespace+"/"+name] = true
	}
	for _, o := range s.Targets {
		check("target", o.Namespace, o.Name)
	}
	for _, o := range s.Routes {
		check("route", o.Namespace, o.Name)
	}
	for _, o := range s.Groups {
		check("group", o.Namespace, o.Name)
		for _, m := range o.Spec.Matches {
			check("match of "+o.Name+" ", o.Namespace, m.Name)
		}
	}
}
