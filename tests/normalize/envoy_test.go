package normalize

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/wasmesh/wasmesh/injector/envoy"
)

const (
	// findTimeout covers a first download of the pinned Envoy.
	findTimeout = 5 * time.Minute
	// startTimeout is many times what a start takes on a busy machine, 0.2 s.
	startTimeout = 30 * time.Second
)

// startEnvoy runs Envoy until the test ends and returns the address of its
// listener.
func startEnvoy(t *testing.T, applicationPort uint16) string {
	t.Helper()
	binary := findEnvoy(t)
	// A Unix socket's path must be short, which t.TempDir need not be.
	dir, err := os.MkdirTemp("", "wasmesh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	admin, file := filepath.Join(dir, "admin"), filepath.Join(dir, "bootstrap.json")
	writeBootstrap(t, file, bootstrap(t, applicationPort, admin))
	cmd := exec.Command(binary, "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "info")
	cmd.SysProcAttr = diesWithParent()
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan string, 1)
	go follow(bufio.NewScanner(log), started, ended)
	t.Cleanup(func() {
		cmd.Process.Kill()
		tail := <-ended
		if err := cmd.Wait(); t.Failed() {
			t.Logf("envoy: %v\n%s", err, tail)
		}
	})
	select {
	case <-started:
	case tail := <-ended:
		ended <- tail
		t.Fatalf("envoy ended before it served:\n%s", tail)
	case <-time.After(startTimeout):
		t.Fatalf("envoy does not serve after %v", startTimeout)
	}
	return listenerAddress(t, admin)
}

func findEnvoy(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), findTimeout)
	defer cancel()
	found, err := envoy.Find(ctx, envoy.ToolsDir(filepath.Join("..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(found.Path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func writeBootstrap(t *testing.T, file string, b *bootstrapv3.Bootstrap) {
	t.Helper()
	text, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// follow reads Envoy's log to its end, so that Envoy never waits for a reader,
// and sends the last lines when it ends.
func follow(log *bufio.Scanner, started chan<- struct{}, ended chan<- string) {
	const kept = 30
	var tail []string
	serving := false
	for log.Scan() {
		if tail = append(tail, log.Text()); len(tail) > kept {
			tail = tail[1:]
		}
		if !serving && strings.Contains(log.Text(), "starting main dispatch loop") {
			serving = true
			close(started)
		}
	}
	ended <- strings.Join(tail, "\n")
}

// listenerAddress asks the administration interface which port was free.
func listenerAddress(t *testing.T, admin string) string {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", admin)
	}}
	defer transport.CloseIdleConnections()
	asked := http.Client{Transport: transport, Timeout: startTimeout}
	response, err := asked.Get("http://admin/listeners?format=json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var listeners struct {
		Statuses []struct {
			Local struct {
				Socket struct {
					Address string
					Port    json.Number `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.NewDecoder(response.Body).Decode(&listeners); err != nil {
		t.Fatal(err)
	}
	if len(listeners.Statuses) != 1 {
		t.Fatalf("envoy has %d listeners, want 1", len(listeners.Statuses))
	}
	socket := listeners.Statuses[0].Local.Socket
	return net.JoinHostPort(socket.Address, socket.Port.String())
}
