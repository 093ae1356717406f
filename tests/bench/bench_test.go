package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestSmoke runs the whole benchmark in its shortest form, so that it is found
// out when the configuration it takes from the control plane changes shape.
func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real Envoys")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, []string{"-smoke"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	all := append(variants(plaintext, []namedModule{{}}, true, regexp.MustCompile("")), variants(mutualTLS, []namedModule{{}}, true, regexp.MustCompile(""))...)
	for _, v := range all {
		if !strings.Contains(out.String(), "\n| "+v.name+" | ") {
			t.Errorf("no row for %q in:\n%s", v.name, &out)
		}
	}
	for _, want := range []string{"smoke form", "Envoy 1.", "anonymous memory", "time to ready"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-rounds", "3", "-module", "bin/a.wasm", "-module", "tinygo=bin/b.wasm", "-variants", "^wasmesh"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if o.rounds != 3 || len(o.modules) != 2 || o.modules[0].name != "a.wasm" || o.modules[1] != (namedModule{name: "tinygo", path: "bin/b.wasm"}) {
		t.Errorf("parsed %+v", o)
	}
	all := variants(mutualTLS, o.modules, false, o.only)
	if all[0].decider != nobody || all[len(all)-1].name != "wasmesh, 1,000, module tinygo" {
		t.Errorf("variants %v: want the bare chain first and the second module last", all)
	}
	for _, wrong := range [][]string{{"-rounds", "0"}, {"-warmup", "-1"}, {"-variants", "("}, {"-wire", "tcp"}, {"now"}} {
		if _, err := parse(wrong, &bytes.Buffer{}); err == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		figures []float64
		want    spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{2, 1}, spread{1.25, 1.5, 1.75}},
		{[]float64{5, 1, 4, 2, 300}, spread{2, 4, 5}},
	} {
		if got := summarize(c.figures); got != c.want {
			t.Errorf("summarize(%v) = %v, want %v", c.figures, got, c.want)
		}
	}
	if got := (spread{-0.04, -0.01, 1.26}).text(1); got != "0.0 (0.0 to 1.3)" {
		t.Errorf("text: %s", got)
	}
}

func TestCompare(t *testing.T) {
	made := func(name string, added ...float64) result {
		return result{variant: variant{name: name}, added: added}
	}
	for _, c := range []struct {
		name         string
		native, ours result
		want         string
	}{
		{"native wins", made("n", 1, 1), made("o", 5, 5), `x, "n" 1.0 µs, "o" 5.0 µs: **native wins**, by a factor of 5.0.`},
		{"ours wins", made("n", 60, 60), made("o", 5, 5), `x, "n" 60.0 µs, "o" 5.0 µs: **wasmesh wins**, by a factor of 12.0.`},
		{"too close", made("n", 4, 6), made("o", 5, 7), `x, "n" 5.0 µs, "o" 6.0 µs: no difference beyond the spread.`},
		{"too small", made("n", -1, 1), made("o", 5, 5), `x, "n" 0.0 µs, "o" 5.0 µs: native wins; its cost is lost in the spread, so there is no ratio.`},
	} {
		if got := compare("x", "µs", 1, c.native, c.ours, result.addedCost); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestInterval against the tables of the sign test.
func TestInterval(t *testing.T) {
	figures := func(n int) (out []float64) {
		for i := range n {
			out = append(out, float64(n-i))
		}
		return out
	}
	for n, want := range map[int]spread{1: {1, 1, 1}, 5: {1, 3, 5}, 6: {1, 3.5, 6}, 10: {2, 5.5, 9}, 12: {3, 6.5, 10}, 20: {6, 10.5, 15}} {
		if got := interval(figures(n)); got != want {
			t.Errorf("%d figures: %v, want %v", n, got, want)
		}
	}
}
