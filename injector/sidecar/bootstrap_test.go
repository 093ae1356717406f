package sidecar

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/injector/envoy"
)

var example = Config{
	Workload:       "shop/buyer-1",
	ServiceAccount: "shop/buyer",
	TrustDomain:    "mesh.test",
	XDS:            "127.0.0.1:15010",
	RunDir:         "/dev/shm/run",
}

// findEnvoy returns a real Envoy.
func findEnvoy(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no real Envoy")
	}
	found, err := envoy.Find(context.Background(), envoy.ToolsDir(filepath.Join("..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	return found.Path
}

func TestBootstrapIsPure(t *testing.T) {
	a, err := Bootstrap(example)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Bootstrap(example)
	if !bytes.Equal(a, b) {
		t.Fatal("two calls differ")
	}
	for _, want := range []string{`"shop/buyer-1"`, `"spiffe://mesh.test/ns/wasmesh-system/sa/controlplane"`, `"mode": 384`, `"/dev/shm/run/admin.sock"`, `"STATIC"`} {
		if !bytes.Contains(a, []byte(want)) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestBootstrapRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"shorter run folder": func(c *Config) { c.RunDir = "/" + strings.Repeat("a", 100) },
		"absolute":           func(c *Config) { c.RunDir = "run" },
		"host:port":          func(c *Config) { c.XDS = "localhost" },
		"must look like":     func(c *Config) { c.XDS = "localhost:0" },
		"trust domain":       func(c *Config) { c.TrustDomain = "" },
	} {
		c := example
		change(&c)
		if _, err := Bootstrap(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnvoyAcceptsBootstrap(t *testing.T) {
	binary := findEnvoy(t)
	for _, xds := range []string{"127.0.0.1:15010", "[::1]:15010", "localhost:15010"} {
		c := example
		c.XDS, c.RunDir = xds, shortDir(t)
		data, err := Bootstrap(c)
		if err != nil {
			t.Fatal(err)
		}
		provision(t, &runDir{path: c.RunDir})
		path := filepath.Join(c.RunDir, BootstrapFile)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, binary, "--mode", "validate", "--disable-hot-restart", "--config-path", path, "--log-level", "warning").CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("[warning]")) {
			t.Errorf("%s: %v\n%s", xds, err, out)
		}
	}
}

// shortDir is a folder whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Envoy takes the second group as the value and the first out of the name.
func TestLabelsOfAMetric(t *testing.T) {
	name := "wasmcustom.osm_request_total.=source_namespace=.=a;.;.=destination_name=.=c.d;.;.=response_code=.=200;.;"
	want := map[string]string{"source_namespace": "a", "destination_name": "c.d", "response_code": "200"}
	for _, tag := range statsConfig()["stats_tags"].([]any) {
		o := tag.(object)
		m := regexp.MustCompile(o["regex"].(string)).FindStringSubmatch(name)
		label := o["tag_name"].(string)
		if value, ok := want[label]; ok != (m != nil) || ok && m[2] != value {
			t.Errorf("%s: %v", label, m)
		}
		if m := regexp.MustCompile(o["regex"].(string)).FindString("cluster.x" + name); m != "" {
			t.Errorf("%s: matches a foreign metric", label)
		}
	}
}
