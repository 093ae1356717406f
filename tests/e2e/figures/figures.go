// Package figures has tests tell what they measured, also where they pass: go test
// shows what a test logs only where it fails.
//
// It never judges a figure.
package figures

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Variable names the file that figures are added to. Without it they are only in
// the test's own log.
const Variable = "WASMESH_FIGURES"

// Tell logs a figure of a test and adds it to the file.
func Tell(t testing.TB, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	t.Log(text)
	path := os.Getenv(Variable)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	_, err = fmt.Fprintf(file, "%s: %s\n", t.Name(), strings.TrimSpace(text))
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Error(err)
	}
}
