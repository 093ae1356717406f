package connections

import (
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/filters/policy"
	"github.com/wasmesh/wasmesh/filters/traffic"
)

// rows is how many are copied into a database, or set in one.
const rows = 5000

// once wants one denial more of a port of the store, for want of anything granted
// to other: its own sidecar closes, and the store's hears nothing.
func (n *network) once(t *testing.T, port uint16, do func()) {
	t.Helper()
	n.counts(t, store, map[string]uint64{traffic.DenialSeries(metered(other), metered(store), string(policy.ReasonSource)): 0}, func() {
		n.counts(t, other, map[string]uint64{unsent(store, port, policy.ReasonSource): 1}, do)
	})
}

// testRedis has Redis' own client talk to Redis.
func testRedis(t *testing.T, n *network) {
	server, client := program(t, "redis-server", "redis-server"), program(t, "redis-cli", "redis-tools")
	dir, attributes := asNobody(t)
	cmd := exec.Command(server, "--bind", "127.141.0.3", "--port", "6379", "--save", "", "--appendonly", "no",
		"--dir", dir, "--protected-mode", "no")
	cmd.SysProcAttr = attributes()
	startServer(t, cmd, "127.141.0.3:6379")
	n.grant(t, grant{name: "redis", to: "store", sources: []string{"caller"}, ports: []int{6379}})
	redis := func(from mesh.Name, input string, args ...string) (string, error) {
		host, port, err := net.SplitHostPort(n.outlet(from, store, 6379))
		if err != nil {
			t.Fatal(err)
		}
		return tell(t.Context(), input, nil, client, append([]string{"-h", host, "-p", port}, args...)...)
	}
	value := hex.EncodeToString(content(3, bulk/2))
	if got, err := redis(caller, value, "-x", "SET", "large"); err != nil || got != "OK\n" {
		t.Errorf("SET: %q, %v", got, err)
	}
	if got, err := redis(caller, "", "GET", "large"); err != nil || got != value+"\n" {
		t.Errorf("GET: %d bytes of %d, %v", len(got), len(value)+1, err)
	}
	var commands strings.Builder
	for i := range rows {
		fmt.Fprintf(&commands, "SET key%d %d\r\n", i, i)
	}
	if got, err := redis(caller, commands.String(), "--pipe"); err != nil || !strings.Contains(got, fmt.Sprintf("errors: 0, replies: %d", rows)) {
		t.Errorf("%d commands at once: %q, %v", rows, got, err)
	}
	if got, err := redis(caller, "", "DBSIZE"); err != nil || got != fmt.Sprintf("%d\n", rows+1) {
		t.Errorf("DBSIZE: %q, %v", got, err)
	}
	n.once(t, 6379, func() {
		if got, err := redis(other, "", "PING"); err == nil || got != "" {
			t.Errorf("who may not got %q, %v", got, err)
		}
	})
}

// testPostgres has PostgreSQL's own client talk to PostgreSQL.
func testPostgres(t *testing.T, n *network) {
	initdb, server := program(t, "initdb", "postgresql"), program(t, "postgres", "postgresql")
	client := program(t, "psql", "postgresql-client")
	dir, attributes := asNobody(t)
	data := filepath.Join(dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	cmd.SysProcAttr, cmd.Dir = attributes(), dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	cmd = exec.Command(server, "-D", data, "-h", "127.141.0.3", "-p", "5432", "-k", "", "-c", "fsync=off", "-c", "shared_buffers=16MB")
	cmd.SysProcAttr, cmd.Dir = attributes(), dir
	startServer(t, cmd, "127.141.0.3:5432")
	n.grant(t, grant{name: "postgres", to: "store", sources: []string{"caller"}, ports: []int{5432}})
	psql := func(from mesh.Name, ssl, input string) (string, error) {
		host, port, err := net.SplitHostPort(n.outlet(from, store, 5432))
		if err != nil {
			t.Fatal(err)
		}
		return tell(t.Context(), input, []string{"PGSSLMODE=" + ssl, "PGCONNECT_TIMEOUT=5"},
			client, "-h", host, "-p", port, "-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-")
	}
	var table strings.Builder
	for i := range rows {
		fmt.Fprintf(&table, "%d\t%s\n", i, hex.EncodeToString(content(uint64(i), 20)))
	}
	got, err := psql(caller, "disable", "CREATE TABLE words (n int, word text);\nCOPY words FROM STDIN;\n"+table.String()+
		"\\.\nCOPY (SELECT * FROM words ORDER BY n) TO STDOUT;\n")
	if err != nil || got != table.String() {
		t.Errorf("%d bytes went in and %d came out, %v", table.Len(), len(got), err)
	}
	// By default a client asks for TLS first.
	if got, err := psql(caller, "prefer", "SELECT count(*), sum(n) FROM words;"); err != nil || got != fmt.Sprintf("%d|%d\n", rows, rows*(rows-1)/2) {
		t.Errorf("in another session: %q, %v", got, err)
	}
	n.once(t, 5432, func() {
		if got, err := psql(other, "disable", "SELECT 1;"); err == nil || got != "" {
			t.Errorf("who may not got %q, %v", got, err)
		}
	})
}
