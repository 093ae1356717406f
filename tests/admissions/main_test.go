package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestMain lets the program start itself as the injector.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveWord {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestReport: a short run reports every round; it says nothing about figures.
func TestReport(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--pods", "100"}, &out, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 3+len(rounds) {
		t.Errorf("%d lines:\n%s", lines, &out)
	}
	if err := run(t.Context(), []string{"--pods", "5"}, &out, os.Stderr); err == nil {
		t.Error("five pods are no measurement")
	}
}
