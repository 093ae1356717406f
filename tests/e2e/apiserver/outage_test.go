package apiserver

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// etcdCall speaks to etcd's JSON gateway.
func (s *server) etcdCall(path, body string) string {
	s.t.Helper()
	resp, err := http.Post(fmt.Sprintf("http://%s:%d%s", address, s.etcdPort, path), "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("etcd %s: %s %s %v", path, resp.Status, text, err)
	}
	return string(text)
}

// While nobody watched, the history was compacted: a watch that goes on is
// refused with 410, all is listed again, and nothing is signalled but what
// changed.
func compaction(t *testing.T, s *server, r *reader) {
	r.t = t
	r.quiet()
	before, _ := r.reload()
	s.stopAPI()
	s.compact(t)
	s.startAPI()
	r.has(10*time.Second, "the watch is taken up", func(_ smi.Objects, p []mesh.Problem) bool { return !problem(p, "cannot be watched") })
	after, _ := r.reload()
	if !same(before, after) {
		t.Error("the mesh differs afterwards")
	}
	s.kubectl("", "delete", "traffictarget", "-n", "shop", "buyers")
	r.has(10*time.Second, "changes come again", func(o smi.Objects, _ []mesh.Problem) bool { return !target(o, "buyers") })
	s.apply(bookstore)
	r.has(10*time.Second, "changes come again", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "buyers") })
}

// elsewhere writes revisions of something that nobody watches.
func (s *server) elsewhere(revisions int) (last string) {
	s.t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("/elsewhere"))
	for range revisions {
		last = s.etcdCall("/v3/kv/put", fmt.Sprintf(`{"key":%q,"value":%q}`, key, key))
	}
	return last
}

// compact writes a hundred revisions of something else, and forgets all before.
func (s *server) compact(t *testing.T) {
	t.Helper()
	last := s.elsewhere(100)
	revision := regexp.MustCompile(`"revision":"(\d+)"`).FindStringSubmatch(last)
	if revision == nil {
		t.Fatalf("etcd tells no revision: %s", last)
	}
	s.etcdCall("/v3/kv/compaction", fmt.Sprintf(`{"revision":%q,"physical":true}`, revision[1]))
}

// While the server is away the caches serve on; afterwards what happened is
// caught up with within ten seconds, however long the outage was.
func restarted(t *testing.T, s *server, r *reader) {
	r.t = t
	before, _ := r.reload()
	s.stopAPI()
	r.has(10*time.Second, "the outage is told", func(_ smi.Objects, p []mesh.Problem) bool { return problem(p, "cannot be watched") })
	time.Sleep(20 * time.Second) // pauses between tries have become their longest
	if during, _ := r.reload(); !same(during, before) {
		t.Error("the caches do not serve on")
	}
	s.startAPI()
	s.kubectl("", "delete", "traffictarget", "-n", "shop", "buyers")
	took := r.has(10*time.Second, "the deletion is caught up with", func(o smi.Objects, p []mesh.Problem) bool {
		return !target(o, "buyers") && !problem(p, "cannot be watched")
	})
	figures.Tell(t, "caught up %v after kubectl returned", took.Round(time.Millisecond))
	s.apply(bookstore)
}

// An etcd that was restored to an older state is the truth again. What happened in
// between is far more than the server itself writes as it starts: else what it has
// by then could look like a continuation, to any client of Kubernetes.
func restored(t *testing.T, s *server, r *reader) {
	r.t = t
	r.has(5*time.Second, "the target is there", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "buyers") })
	s.stopAPI()
	stop(s.etcd)
	if err := os.CopyFS(filepath.Join(s.dir, "backup"), os.DirFS(filepath.Join(s.dir, "etcd"))); err != nil {
		t.Fatal(err)
	}
	s.startEtcd()
	s.startAPI()
	s.elsewhere(1000)
	s.apply(strings.ReplaceAll(bookstore, "name: buyers", "name: later"))
	s.kubectl("", "delete", "traffictarget", "-n", "shop", "buyers")
	r.has(15*time.Second, "the edits are seen", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "later") && !target(o, "buyers") })
	s.stopAPI()
	stop(s.etcd)
	if err := os.RemoveAll(filepath.Join(s.dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.dir, "backup"), filepath.Join(s.dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	s.startEtcd()
	s.startAPI()
	took := r.has(30*time.Second, "the restored truth is seen", func(o smi.Objects, _ []mesh.Problem) bool { return target(o, "buyers") && !target(o, "later") })
	figures.Tell(t, "converged %v after the server was ready", took.Round(time.Millisecond))
}
