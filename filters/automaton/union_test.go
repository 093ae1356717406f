package automaton

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func ExampleMerge() {
	unions := Merge([]*Automaton{literal("/books", true), literal("/books/1", false), literal("/admin", true)})
	fmt.Println(len(unions), unions[0].Match("/books/1"), unions[0].Match("/admin/x"), unions[0].Match("/"))
	// Output: 1 [0 1] [2] []
}

// scrambled makes an automaton over a, b and c at random.
func scrambled(r *rand.Rand, states int) *Automaton {
	var classes [256]uint8
	classes['a'], classes['b'], classes['c'] = 1, 2, uint8(1+r.IntN(3))
	classes['d'] = max(classes['c'], 2)
	for b := int('d') + 1; b < 256; b++ {
		classes[b] = uint8(r.IntN(2))
	}
	width, _ := countClasses(&classes)
	next, accepting := make([]uint16, states*width), make([]bool, states)
	for s := 1; s < states; s++ {
		accepting[s] = r.IntN(3) == 0
		for c := range width {
			next[s*width+c] = uint16(r.IntN(states))
		}
	}
	a, err := New(classes, next, accepting, uint16(min(1, states-1)))
	if err != nil {
		panic(err)
	}
	return a
}

// fromEnd accepts what has an a at the n-th place from its end: in a union, every
// one doubles the states that all others need.
func fromEnd(n int) *Automaton {
	var classes [256]uint8
	classes['a'] = 1
	for b := 'a' + 1; b < 256; b++ {
		classes[b] = 0
	}
	states := 1<<n + 1
	next, accepting := make([]uint16, states*2), make([]bool, states)
	for s := range 1 << n {
		for c := range 2 {
			next[(s+1)*2+c] = uint16((s<<1|c)&(1<<n-1) + 1)
		}
		accepting[s+1] = s>>(n-1) == 1
	}
	a, err := New(classes, next, accepting, 1)
	if err != nil {
		panic(err)
	}
	return a
}

func text(r *rand.Rand) string {
	b := make([]byte, r.IntN(12))
	for i := range b {
		b[i] = "abcdz\xff"[r.IntN(6)]
	}
	return string(b)
}

// checkMerged wants of the unions what each automaton says by itself.
func checkMerged(t *testing.T, automata []*Automaton, unions []*Union, texts ...string) {
	t.Helper()
	for _, s := range texts {
		var got, want []uint32
		for _, u := range unions {
			got = append(got, u.Match(s)...)
		}
		slices.Sort(got)
		for i, a := range automata {
			if a.Match(s) {
				want = append(want, uint32(i))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q is accepted by %v, not by %v", s, want, got)
		}
	}
}

// checkUnion wants the same union back.
func checkUnion(t *testing.T, u *Union, automata int) *Union {
	t.Helper()
	encoded := u.AppendTo(nil)
	back, rest, ok := DecodeUnion(append(encoded[:len(encoded):len(encoded)], "rest"...), automata)
	if !ok || string(rest) != "rest" {
		t.Fatalf("refused, or %q left: %x", rest, encoded)
	}
	if again := back.AppendTo(nil); !bytes.Equal(again, encoded) {
		t.Fatalf("encoded again it differs:\n%x\n%x", again, encoded)
	}
	return back
}

func TestMergedAcceptsWhatEachAccepts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		automata := []*Automaton{{}}
		for range r.IntN(7) {
			automata = append(automata, scrambled(r, 1+r.IntN(5)), literal([]string{"ab", "abc", "b", "zz"}[r.IntN(4)], r.IntN(2) == 0))
		}
		unions := Merge(automata)
		var back []*Union
		for _, u := range unions {
			back = append(back, checkUnion(t, u, len(automata)))
		}
		for range 30 {
			s := text(r)
			checkMerged(t, automata, unions, s)
			checkMerged(t, automata, back, s)
		}
	}
}

// TestMergeStaysWithinItsBudget: what would not fit stays apart, and is right.
func TestMergeStaysWithinItsBudget(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var automata []*Automaton
	for n := 1; n <= 11; n++ {
		automata = append(automata, fromEnd(n), literal(fmt.Sprintf("/x%d", n), true))
	}
	// Each of these alone needs the product with every other.
	for range 12 {
		automata = append(automata, scrambled(r, 60))
	}
	unions := Merge(automata)
	total := 0
	for _, u := range unions {
		total += u.Transitions()
		checkUnion(t, u, len(automata))
	}
	if len(unions) < 2 || len(unions) >= len(automata) || total > MergeBudget {
		t.Errorf("%d automata became %d unions of %d transitions", len(automata), len(unions), total)
	}
	for range 300 {
		checkMerged(t, automata, unions, text(r), "/x"+text(r), "/x1"+text(r))
	}
	checkMerged(t, automata, unions, strings.Repeat("abz", 3000), "/x11"+strings.Repeat("a", 9000))
}

func TestMergeOfNothing(t *testing.T) {
	if got := Merge(nil); len(got) != 0 {
		t.Errorf("got %d unions", len(got))
	}
	var zero Union
	if got := zero.Match("/"); len(got) != 0 {
		t.Errorf("the zero union accepts for %v", got)
	}
}

// TestSinksEndTheSearch: an open end is not read.
func TestSinksEndTheSearch(t *testing.T) {
	u := Merge([]*Automaton{literal("/a", true), literal("/b", false)})[0]
	if u.sinks != 2 {
		t.Errorf("%d sinks, want the dead one and that behind /a", u.sinks)
	}
}

// damagedUnion is small enough to be damaged in every way.
func damagedUnion() []byte {
	return Merge([]*Automaton{literal("/ab", true), literal("/a", false), literal("b", false)})[0].AppendTo(nil)
}

func TestDecodeUnionRefusesEveryTruncation(t *testing.T) {
	b := damagedUnion()
	for n := range b {
		if _, _, ok := DecodeUnion(b[:n], 3); ok {
			t.Errorf("%d of %d bytes are taken", n, len(b))
		}
	}
	if _, _, ok := DecodeUnion(b, 2); ok {
		t.Error("a number beyond the automata is taken")
	}
}

// checkDecodeUnion takes anything: what is taken is the only encoding, and runs.
func checkDecodeUnion(t *testing.T, b []byte, texts ...string) {
	t.Helper()
	u, rest, ok := DecodeUnion(b, 3)
	if !ok {
		return
	}
	if again := u.AppendTo(nil); !bytes.Equal(again, b[:len(b)-len(rest)]) {
		t.Fatalf("two encodings of one union:\n%x\n%x", b[:len(b)-len(rest)], again)
	}
	for _, s := range texts {
		state := u.start
		for i := range len(s) {
			state = u.next[int(state)*u.width+int(u.classes[s[i]])]
		}
		if want := u.set(u.accepting[state]); !slices.Equal(u.Match(s), want) {
			t.Fatalf("%q: %v, step by step %v", s, u.Match(s), want)
		}
	}
}

func TestDecodeUnionSurvivesEveryChangedByte(t *testing.T) {
	b := damagedUnion()
	for i := range b {
		for _, with := range []byte{0, 1, 2, 3, 0x7f, 0x80, 0xff, b[i] + 1, b[i] - 1} {
			changed := bytes.Clone(b)
			changed[i] = with
			checkDecodeUnion(t, changed, "/ab", "/abc", "abc", "")
		}
	}
}

func FuzzDecodeUnion(f *testing.F) {
	f.Add(damagedUnion(), "/ab")
	f.Add(Merge([]*Automaton{literal("/a", true)})[0].AppendTo(nil), "/a/b")
	f.Fuzz(func(t *testing.T, b []byte, s string) { checkDecodeUnion(t, b, s, "/ab", "") })
}

// BenchmarkUnion8KB is the longest path that an attacker would send, through
// states that all are left again.
func BenchmarkUnion8KB(b *testing.B) {
	u := Merge([]*Automaton{fromEnd(8), literal("/books", true)})[0]
	s := strings.Repeat("ab/a", 2048)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		u.Match(s)
	}
}
