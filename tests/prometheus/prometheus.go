// Package prometheus runs the real server, as Debian packages it, for tests that hold
// its answers against what applications counted.
//
// It must never run a server without the package: a test that lacks it fails.
package prometheus

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Server is one that ends with its test.
type Server struct{ base string }

// Start runs one with that configuration.
func Start(t testing.TB, config string) Server {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("%v; install Debian's package prometheus", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	server := exec.Command(program, "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	var said strings.Builder
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", said.String())
		}
	})
	return Server{"http://" + address}
}

// URL is where it is.
func (s Server) URL() string { return s.base }

// Sample is one value of an answer.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query asks for what is now. A server that is not there yet knows nothing; a question
// that it does not understand fails the test.
func (s Server) Query(t testing.TB, text string) (out []Sample) {
	t.Helper()
	response, err := http.Get(s.base + "/api/v1/query?" + url.Values{"query": {text}}.Encode())
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if response.StatusCode == http.StatusServiceUnavailable {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %s, %v", text, response.Status, answer.Error, err)
	}
	for _, r := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out = append(out, Sample{r.Metric, value})
	}
	return out
}
