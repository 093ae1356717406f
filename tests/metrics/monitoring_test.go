package metrics

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/filters/traffic"
	"github.com/wasmesh/wasmesh/injector/webhook"
	"github.com/wasmesh/wasmesh/tests/prometheus"
)

const monitoring = "../../examples/monitoring"

// rare are metrics that nothing in this mesh makes: something has to be refused under
// audit, or an open stream lose its right.
var rare = []string{traffic.Audited, traffic.Revoked}

// dashboard is what is read of one.
type dashboard struct {
	UID    string `json:"uid"`
	Title  string `json:"title"`
	Panels []struct {
		ID          int    `json:"id"`
		Title       string `json:"title"`
		Datasource  struct{ UID string }
		FieldConfig struct {
			Defaults struct{ Unit string }
		}
		Targets []struct{ Expr string }
	} `json:"panels"`
}

// TestMonitoring: every query of the dashboards is answered by a real Prometheus that
// scrapes a real mesh, and every metric of an alert is there.
func TestMonitoring(t *testing.T) {
	(&application{codes: map[int]int{}}).serve(t)
	echo(t)
	c := start(t)
	server := prometheus.Start(t, scrapeAll(t, c))
	names := map[string]bool{}
	c.await(t, "everything is scraped, and rises", func() bool {
		happen(t)
		for _, s := range server.Query(t, `group by (__name__) ({__name__=~"osm_.*|wasmesh_.*|envoy_.*"})`) {
			names[s.Labels["__name__"]] = true
		}
		rising := server.Query(t, `sum(rate(envoy_wasmesh_local_replies_total{direction="inbound"}[10s])) * sum(rate(osm_request_total[10s])) * sum(rate(envoy_wasmesh_forbidden_total{reason!=""}[10s])) * sum(rate(wasmesh_injector_admissions_total[10s]) + 1)`)
		return len(rising) == 1 && rising[0].Value > 0
	})
	seen := map[string]bool{}
	for _, d := range dashboards(t) {
		if seen[d.UID] || d.UID == "" || d.Title == "" {
			t.Errorf("dashboard %q %q", d.UID, d.Title)
		}
		seen[d.UID] = true
		ids := map[int]bool{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.Title == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s: a panel %+v", d.Title, p)
			}
			ids[p.ID] = true
			for _, target := range p.Targets {
				answers := 0
				for _, workload := range []string{"store", "buyer"} { // one is called, one calls
					expr := strings.NewReplacer("$__rate_interval", "10s", "$namespace", "shop", "$workload", workload).Replace(target.Expr)
					answers += len(server.Query(t, expr))
				}
				if answers == 0 && !mentions(target.Expr, rare) {
					t.Errorf("%s: %s: nothing answers %s", d.Title, p.Title, target.Expr)
				}
			}
		}
	}
	for _, expr := range alerts(t) {
		server.Query(t, expr)
		for _, name := range metricName.FindAllString(expr, -1) {
			if !names[name] && !slices.Contains(rare, name) {
				t.Errorf("an alert asks for %s, which nothing tells: %s", name, expr)
			}
		}
	}
}

var metricName = regexp.MustCompile(`\b(osm|wasmesh|envoy)_[a-z_]+`)

func mentions(expr string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(expr, name) })
}

// scrapeAll is a configuration for two sidecars, the control plane and an injector.
func scrapeAll(t *testing.T, c *caller) string {
	t.Helper()
	counters := new(webhook.Counters)
	counters.Injected.Add(1)
	injector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_ = counters.Write(w)
	}))
	t.Cleanup(injector.Close)
	return `
global: {scrape_interval: 500ms, scrape_timeout: 450ms}
scrape_configs:
- job_name: mesh
  static_configs: [{targets: ["` + c.HealthAddress() + `", "` + strings.TrimPrefix(injector.URL, "http://") + `"], labels: {pod: mesh}}]
- job_name: sidecars
  metrics_path: /stats/prometheus
  static_configs:
  - {targets: ["127.41.0.2:15091"], labels: {namespace: shop, pod: store}}
  - {targets: ["127.41.0.1:15091"], labels: {namespace: shop, pod: buyer}}
`
}

// happen is one of everything: answered, failed, cut off by the application, refused
// by both sidecars, nobody there, an opaque connection.
func happen(t *testing.T) {
	t.Helper()
	for _, r := range []struct {
		method, url string
		want        int
	}{
		{"GET", "http://127.141.0.1:14001/200", 200}, {"POST", "http://127.141.0.1:14001/503", 503}, {"GET", "http://127.141.0.1:14001/0", 503},
		{"DELETE", "http://127.141.0.1:14001/200", 403}, {"GET", "http://127.141.0.2:14001/", 503}, {"GET", "http://127.141.0.3:14001/", 403},
	} {
		request, err := http.NewRequestWithContext(t.Context(), r.method, r.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil || response.StatusCode != r.want {
			t.Fatalf("%s %s: %v %v, want %d", r.method, r.url, response, err, r.want)
		}
		response.Body.Close()
	}
	connection, err := net.Dial("tcp", "127.141.0.1:14002")
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(connection, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
}

// echo is the store's opaque port.
func echo(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.42.0.2:14002")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			connection, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				_, _ = io.Copy(connection, connection)
			}()
		}
	}()
}

func dashboards(t *testing.T) (out []dashboard) {
	t.Helper()
	files, err := filepath.Glob(monitoring + "/dashboards/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, d)
	}
	return out
}

func alerts(t *testing.T) (exprs []string) {
	t.Helper()
	text, err := os.ReadFile(monitoring + "/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Expr string `json:"expr"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			exprs = append(exprs, r.Expr)
		}
	}
	if len(exprs) == 0 {
		t.Fatal("no alert")
	}
	return exprs
}

// TestAlerts: each fires in its test and not in the other, as Prometheus's own tool
// judges. The tool of Debian's package does not know discovery in Kubernetes.
func TestAlerts(t *testing.T) {
	tool := func(dir string, args ...string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), "promtool", args...)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	tool(monitoring, "check", "rules", "alerts.yaml")
	tool(monitoring, "test", "rules", "alerts_test.yaml")
	text, err := os.ReadFile(monitoring + "/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	known := bytes.ReplaceAll(text, []byte("kubernetes_sd_configs: [{role: pod}]"), []byte(`http_sd_configs: [{url: "http://127.0.0.1:1"}]`))
	rules, err := os.ReadFile(monitoring + "/alerts.yaml")
	if err != nil || bytes.Contains(known, []byte("kubernetes_sd")) {
		t.Fatalf("%v; the configuration discovers in another way:\n%s", err, known)
	}
	for name, text := range map[string][]byte{"prometheus.yaml": known, "alerts.yaml": rules} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tool(dir, "check", "config", "prometheus.yaml")
	tests, err := os.ReadFile(monitoring + "/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`alert: (\w+)`).FindAllSubmatch(rules, -1) {
		if !bytes.Contains(tests, []byte("alertname: "+string(name[1]))) {
			t.Errorf("%s has no test", name[1])
		}
	}
}
