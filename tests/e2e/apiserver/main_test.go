package apiserver

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs all tests beside each other, on however few cores: each has an API
// server of its own, and waits, mostly.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		os.Exit(2) // there is no such flag any more
	}
	os.Exit(m.Run())
}
