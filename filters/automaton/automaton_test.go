package automaton

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// literal builds the automaton that accepts word, or, if open, everything that
// begins with it. The word has no byte 0.
func literal(word string, open bool) *Automaton {
	var classes [256]uint8
	width := 1
	for b := range classes {
		if strings.IndexByte(word, byte(b)) >= 0 {
			classes[b] = uint8(width)
			width++
		}
	}
	states := len(word) + 2
	next := make([]uint16, states*width)
	for i := range len(word) {
		next[(i+1)*width+int(classes[word[i]])] = uint16(i + 2)
	}
	accepting := make([]bool, states)
	accepting[states-1] = true
	if open {
		for c := range width {
			next[(states-1)*width+c] = uint16(states - 1)
		}
	}
	a, err := New(classes, next, accepting, 1)
	if err != nil {
		panic(err)
	}
	return a
}

func ExampleDecode() {
	encoded := literal("/books", true).AppendTo(nil)
	a, rest, ok := Decode(append(encoded, "the next field"...))
	fmt.Println(ok, string(rest))
	fmt.Println(a.Match("/books/1"), a.Match("/boo"))
	// Output:
	// true the next field
	// true false
}

func TestMatch(t *testing.T) {
	closed, open := literal("/ab", false), literal("/ab", true)
	for _, tt := range []struct {
		text         string
		closed, open bool
	}{
		{"/ab", true, true},
		{"/abc", false, true},
		{"/ab\xff\x00", false, true},
		{"/a", false, false},
		{"", false, false},
		{"x/ab", false, false},
	} {
		if got := closed.Match(tt.text); got != tt.closed {
			t.Errorf("closed on %q: %v", tt.text, got)
		}
		if got := open.Match(tt.text); got != tt.open {
			t.Errorf("open on %q: %v", tt.text, got)
		}
	}
	if new(Automaton).Match("") || new(Automaton).Match("x") {
		t.Error("the zero automaton accepts something")
	}
	if open.forever == dead || closed.forever != dead {
		t.Error("the state in which Match may stop early is not recognised")
	}
	path := "/ab" + strings.Repeat("x", 60)
	if n := testing.AllocsPerRun(10, func() { open.Match(path); closed.Match(path) }); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}

func TestNewRefuses(t *testing.T) {
	var one, two, gap, wide [256]uint8
	two['a'] = 1
	gap['a'] = 2
	for b := range wide {
		wide[b] = uint8(b)
	}
	for _, tt := range []struct {
		want      error
		classes   [256]uint8
		next      []uint16
		accepting []bool
		start     uint16
	}{
		{errStates, one, nil, nil, 0},
		{errStates, one, make([]uint16, MaxStates+1), make([]bool, MaxStates+1), 0},
		{errTransitions, wide, make([]uint16, 257*256), make([]bool, 257), 0},
		{errShape, two, make([]uint16, 3), make([]bool, 2), 0},
		{errClasses, gap, make([]uint16, 6), make([]bool, 2), 0},
		{errStart, one, make([]uint16, 2), make([]bool, 2), 2},
		{errTarget, one, []uint16{0, 2}, make([]bool, 2), 1},
		{errDead, one, []uint16{1, 0}, make([]bool, 2), 1},
		{errDead, one, []uint16{0}, []bool{true}, 0},
	} {
		if _, err := New(tt.classes, tt.next, tt.accepting, tt.start); err != tt.want {
			t.Errorf("got %v, want %v", err, tt.want)
		}
	}
}

// The largest table is the one whose rows fill 16 bits.
func TestLargest(t *testing.T) {
	var classes [256]uint8
	for b := range classes {
		classes[b] = uint8(b)
	}
	next, accepting := make([]uint16, MaxTransitions), make([]bool, 256)
	for s := 1; s < 256; s++ {
		next[s*256+255] = uint16(min(s+1, 255))
	}
	accepting[255] = true
	a, err := New(classes, next, accepting, 1)
	if err != nil {
		t.Fatal(err)
	}
	if a.Match(strings.Repeat("\xff", 253)) || !a.Match(strings.Repeat("\xff", 254)) {
		t.Error("a full table does not count to 254")
	}
	checkRoundTrip(t, a)
}

func TestNewKeepsNothingOfItsCaller(t *testing.T) {
	next, accepting := []uint16{0, 1}, []bool{false, true}
	a, err := New([256]uint8{}, next, accepting, 1)
	if err != nil {
		t.Fatal(err)
	}
	next[1], accepting[1] = 0, false
	if !a.Match("") || !a.Match("x") {
		t.Error("the caller's slices changed the automaton")
	}
}

func checkRoundTrip(t *testing.T, a *Automaton) {
	t.Helper()
	encoded := a.AppendTo(nil)
	again, rest, ok := Decode(encoded)
	if !ok || len(rest) != 0 {
		t.Fatalf("own encoding refused, or %d bytes left", len(rest))
	}
	if !bytes.Equal(again.AppendTo(nil), encoded) {
		t.Fatal("a decoded automaton encodes differently")
	}
}

func TestRoundTrip(t *testing.T) {
	for _, word := range []string{"", "/", "/books/[]", strings.Repeat("/abc", 100)} {
		for _, open := range []bool{false, true} {
			checkRoundTrip(t, literal(word, open))
		}
	}
}

// The format is part of the table's version: a change here means a new one.
func TestEncodingIsFixed(t *testing.T) {
	const (
		states, start = "0300", "0100"
		classes       = "02" + "6000" + "0001" + "9d00"
		accept, rows  = "04", "0002" + "0202"
		want          = states + start + classes + accept + rows
	)
	if got := hex.EncodeToString(literal("a", true).AppendTo(nil)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecodeRefusesEveryTruncation(t *testing.T) {
	for _, a := range []*Automaton{literal("/books", true), literal(strings.Repeat("/abc", 100), false)} {
		encoded := a.AppendTo(nil)
		for n := range encoded {
			if _, _, ok := Decode(encoded[:n]); ok {
				t.Fatalf("accepts %d of %d bytes", n, len(encoded))
			}
		}
	}
}

// Decoded bytes are the only encoding of their automaton, and it is safe to
// run, whatever they are.
func checkDecode(t *testing.T, b []byte, texts ...string) {
	t.Helper()
	a, rest, ok := Decode(b)
	if !ok {
		if a != nil || rest != nil {
			t.Fatal("a refused encoding still returns something")
		}
		return
	}
	if a.States() > MaxStates || len(a.next) > MaxTransitions || len(a.next) > len(b)+256 {
		t.Fatalf("%d bytes became %d states and %d transitions", len(b), a.States(), len(a.next))
	}
	if !bytes.Equal(a.AppendTo(nil), b[:len(b)-len(rest)]) {
		t.Fatal("two encodings of one automaton")
	}
	for _, text := range texts {
		if got, want := a.Match(text), walk(a, text); got != want {
			t.Fatalf("on %q: got %v, want %v", text, got, want)
		}
	}
}

// walk is Match without its short cuts.
func walk(a *Automaton, s string) bool {
	state := a.state(a.start)
	for _, b := range []byte(s) {
		state = a.state(a.next[state*a.width+int(a.classes[b])])
	}
	return a.accepting[state]
}

func TestDecodeSurvivesEveryChangedByte(t *testing.T) {
	encoded := literal("/ab", true).AppendTo(nil)
	for i := range encoded {
		for v := range 256 {
			changed := bytes.Clone(encoded)
			changed[i] = byte(v)
			checkDecode(t, changed, "", "/ab", "/abc", "\xff")
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, word := range []string{"", "/", "/books"} {
		f.Add(literal(word, true).AppendTo(nil), "/books/1")
		f.Add(literal(word, false).AppendTo([]byte{}), word)
	}
	f.Add(literal(strings.Repeat("/abc", 100), false).AppendTo(nil), "/abc")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		checkDecode(t, b, "", text, text+"\x00\xff/")
	})
}

func BenchmarkMatch60Bytes(b *testing.B) {
	path := "/api/v2/users/0123456789abcdef0123456789abcdef0123456789abcd"
	if len(path) != 60 {
		b.Fatal(len(path))
	}
	a := literal(path, false)
	for b.Loop() {
		a.Match(path)
	}
}

func BenchmarkDecode(b *testing.B) {
	encoded := literal("/api/v2/users", true).AppendTo(nil)
	for b.Loop() {
		Decode(encoded)
	}
}
