package observe_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/proto"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
	"github.com/wasmesh/wasmesh/filters/policy"
)

// FuzzEntry reads foreign bytes as an entry, and foreign text as its parts.
func FuzzEntry(f *testing.F) {
	for _, e := range []*accesslogv3.TCPAccessLogEntry{
		{}, entry("80", "GET", "/books", "200", web), connection("81"), entry("80", "GET", "/a;b", "404", web, web),
	} {
		raw, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "80", "GET", "/books?x", web)
	}
	f.Add([]byte("\xff"), "0", "G\x00T", "/\xff\x00", "spiffe://test/ns/\n/sa/")
	f.Add([]byte{}, "65536", strings.Repeat("A", 100), "/"+strings.Repeat("%2e/", 1000), web+"\xff")
	f.Fuzz(func(t *testing.T, raw []byte, port, method, path, id string) {
		s := observe.New("test", noon)
		var e accesslogv3.TCPAccessLogEntry
		if proto.Unmarshal(raw, &e) == nil {
			s.Add(store, &e, noon)
		}
		s.Add(store, entry(port, method, path, "200", id), noon)
		r := s.Report()
		if len(r.Observations)+len(r.Losses) > 2 {
			t.Fatalf("two entries make %+v", r)
		}
		for _, o := range r.Observations {
			sound(t, o)
		}
		for _, l := range r.Losses {
			if l.Count == 0 || l.Destination != store || l.Source != (mesh.Name{}) && !named(l.Source) {
				t.Errorf("lost: %+v", l)
			}
		}
	})
}

// sound holds an observation to what its readers rely on.
func sound(t *testing.T, o observe.Observation) {
	t.Helper()
	if o.Destination != store || !named(o.Source) || o.Port == 0 || o.Count > 2 || o.NotFound > o.Count {
		t.Errorf("observed: %+v", o)
	}
	if o.Opaque {
		if o.Method != "" || o.Path != "" {
			t.Errorf("a connection has a request: %+v", o)
		}
		return
	}
	canonical, ok := policy.Normalize(o.Path)
	if !ok || canonical.Literal != o.Path || len(o.Path) > observe.MaxPath || strings.Contains(o.Path, "?") {
		t.Errorf("the path is %q", o.Path)
	}
	if o.Method == "" || len(o.Method) > observe.MaxMethod || !utf8.ValidString(o.Method) || strings.ContainsAny(o.Method, " \n\x00") {
		t.Errorf("the method is %q", o.Method)
	}
}

func named(n mesh.Name) bool {
	return n.Namespace != "" && n.Name != "" && !strings.ContainsAny(n.Namespace+n.Name, "/ \n\x00") &&
		len(n.Namespace) <= 63 && len(n.Name) <= 253
}
