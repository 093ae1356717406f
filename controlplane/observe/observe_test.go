package observe_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/observe"
)

const web = "spiffe://test/ns/shop/sa/web"

var (
	store = mesh.Name{Namespace: "shop", Name: "store"}
	noon  = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
)

// entry is a request as a sidecar tells of it.
func entry(port, method, path, code string, ids ...string) *accesslogv3.TCPAccessLogEntry {
	peer := &accesslogv3.TLSProperties_CertificateProperties{SubjectAltName: []*accesslogv3.TLSProperties_CertificateProperties_SubjectAltName{
		{San: &accesslogv3.TLSProperties_CertificateProperties_SubjectAltName_Dns{Dns: "web.workload.shop.peer.wasmesh.internal"}},
	}}
	for _, id := range ids {
		peer.SubjectAltName = append(peer.SubjectAltName, &accesslogv3.TLSProperties_CertificateProperties_SubjectAltName{
			San: &accesslogv3.TLSProperties_CertificateProperties_SubjectAltName_Uri{Uri: id},
		})
	}
	return &accesslogv3.TCPAccessLogEntry{CommonProperties: &accesslogv3.AccessLogCommon{
		AccessLogType:         accesslogv3.AccessLogType_DownstreamEnd,
		UpstreamRemoteAddress: &corev3.Address{},
		TlsProperties:         &accesslogv3.TLSProperties{PeerCertificateProperties: peer},
		CustomTags: map[string]string{
			observe.TagPort: port, observe.TagMethod: method, observe.TagPath: path, observe.TagCode: code,
		},
	}}
}

// connection is an entry of an opaque port.
func connection(port string) *accesslogv3.TCPAccessLogEntry {
	e := entry(port, "", "", "0", web)
	delete(e.CommonProperties.CustomTags, observe.TagMethod)
	delete(e.CommonProperties.CustomTags, observe.TagPath)
	e.CommonProperties.AccessLogType = accesslogv3.AccessLogType_TcpConnectionEnd
	return e
}

// lines writes a report as a test wants to read it.
func lines(r observe.Report) []string {
	var out []string
	for _, o := range r.Observations {
		what := o.Method + " " + o.Path
		if o.Opaque {
			what = "tcp"
		}
		out = append(out, fmt.Sprintf("%s->%s:%d %s x%d nf%d %s-%s", o.Source, o.Destination, o.Port, what, o.Count, o.NotFound,
			o.First.Format("05"), o.Last.Format("05")))
	}
	for _, l := range r.Losses {
		out = append(out, fmt.Sprintf("lost %d %s %s->%s:%d %s", l.Count, l.Cause, l.Source, l.Destination, l.Port, l.Method))
	}
	return out
}

// Each entry by itself, and what becomes of it.
func TestEntries(t *testing.T) {
	with := func(e *accesslogv3.TCPAccessLogEntry, change func(*accesslogv3.AccessLogCommon)) *accesslogv3.TCPAccessLogEntry {
		change(e.CommonProperties)
		return e
	}
	good := func() *accesslogv3.TCPAccessLogEntry { return entry("80", "GET", "/books", "200", web) }
	long := "/" + strings.Repeat("a", observe.MaxPath)
	for name, c := range map[string]struct {
		entry *accesslogv3.TCPAccessLogEntry
		want  string
	}{
		"a request":               {good(), "shop/web->shop/store:80 GET /books x1 nf0 00-00"},
		"one that was not found":  {entry("80", "GET", "/x", "404", web), "shop/web->shop/store:80 GET /x x1 nf1 00-00"},
		"one not for its method":  {entry("80", "PUT", "/x", "405", web), "shop/web->shop/store:80 PUT /x x1 nf1 00-00"},
		"its query is dropped":    {entry("80", "GET", "/x?y=/z", "200", web), "shop/web->shop/store:80 GET /x x1 nf0 00-00"},
		"its path is canonical":   {entry("80", "GET", "/%62/../c//d", "200", web), "shop/web->shop/store:80 GET /c/d x1 nf0 00-00"},
		"the longest path":        {entry("80", "GET", long[:observe.MaxPath], "200", web), "shop/web->shop/store:80 GET " + long[:observe.MaxPath] + " x1 nf0 00-00"},
		"a connection":            {connection("5432"), "shop/web->shop/store:5432 tcp x1 nf0 00-00"},
		"a longer path":           {entry("80", "GET", long, "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"a path that grows":       {entry("80", "GET", "/"+strings.Repeat("\"", 400), "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"a path of two readings":  {entry("80", "GET", "/a%2fb", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"a path with a NUL":       {entry("80", "GET", "/a\x00b", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"a path that is no UTF-8": {entry("80", "GET", "/a\xff", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"no path":                 {entry("80", "GET", "", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"a method of two lines":   {entry("80", "GET\n", "/", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"a method like no UTF-8":  {entry("80", "G\xffT", "/", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"a long method":           {entry("80", strings.Repeat("A", observe.MaxMethod+1), "/", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"an empty method":         {entry("80", "", "/", "200", web), "lost 1 unreadable shop/web->shop/store:80 "},
		"no port":                 {entry("", "GET", "/", "200", web), "lost 1 unreadable ->shop/store:0 "},
		"port 0":                  {entry("0", "GET", "/", "200", web), "lost 1 unreadable ->shop/store:0 "},
		"port 65536":              {entry("65536", "GET", "/", "200", web), "lost 1 unreadable ->shop/store:0 "},
		"no URI":                  {entry("80", "GET", "/", "200"), "lost 1 foreign identity ->shop/store:80 "},
		"two URIs":                {entry("80", "GET", "/", "200", web, web+"2"), "lost 1 foreign identity ->shop/store:80 "},
		"another trust domain":    {entry("80", "GET", "/", "200", "spiffe://test2/ns/shop/sa/web"), "lost 1 foreign identity ->shop/store:80 "},
		"no service account":      {entry("80", "GET", "/", "200", "spiffe://test/ns/shop"), "lost 1 foreign identity ->shop/store:80 "},
		"a deeper one":            {entry("80", "GET", "/", "200", web+"/x"), "lost 1 foreign identity ->shop/store:80 "},
		"a name of two lines":     {entry("80", "GET", "/", "200", web+"\nkind: x"), "lost 1 foreign identity ->shop/store:80 "},
		"plaintext": {with(good(), func(c *accesslogv3.AccessLogCommon) { c.TlsProperties = nil }),
			"lost 1 no identity ->shop/store:80 "},
		"no certificate": {with(good(), func(c *accesslogv3.AccessLogCommon) { c.TlsProperties.PeerCertificateProperties = nil }),
			"lost 1 no identity ->shop/store:80 "},
		"it has not ended": {with(good(), func(c *accesslogv3.AccessLogCommon) { c.AccessLogType = accesslogv3.AccessLogType_DownstreamPeriodic }),
			"shop/web->shop/store:80 GET /books x0 nf0 00-00"},
		"plaintext that has not ended": {with(good(), func(c *accesslogv3.AccessLogCommon) {
			c.TlsProperties, c.AccessLogType = nil, accesslogv3.AccessLogType_TcpUpstreamConnected
		}), ""},
		"its sidecar answered": {with(good(), func(c *accesslogv3.AccessLogCommon) { c.UpstreamRemoteAddress = nil }), ""},
		"of another kind":      {with(good(), func(c *accesslogv3.AccessLogCommon) { c.AccessLogType = accesslogv3.AccessLogType_DownstreamStart }), ""},
		"nothing":              {nil, ""},
		"empty":                {&accesslogv3.TCPAccessLogEntry{}, ""},
	} {
		s := observe.New("test", noon)
		s.Add(store, c.entry, noon)
		if got := strings.Join(lines(s.Report()), "\n"); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// What is seen again is counted, and an open stream is counted once it ends.
func TestCounts(t *testing.T) {
	s := observe.New("test", noon)
	open := entry("80", "GET", "/books", "0", web)
	open.CommonProperties.AccessLogType = accesslogv3.AccessLogType_DownstreamPeriodic
	for i, e := range []*accesslogv3.TCPAccessLogEntry{
		open, open, entry("80", "GET", "/books", "404", web), entry("80", "GET", "/books?x", "200", web), connection("81"),
	} {
		s.Add(store, e, noon.Add(time.Duration(i)*time.Second))
	}
	got := s.Report()
	want := []string{"shop/web->shop/store:80 GET /books x2 nf1 00-03", "shop/web->shop/store:81 tcp x1 nf0 04-04"}
	if !slices.Equal(lines(got), want) || got.Since != noon {
		t.Errorf("got %q", lines(got))
	}
	got.Observations[0].Count = 99
	if s.Report().Observations[0].Count != 2 {
		t.Error("a report can be written to the set")
	}
}

// Bounds hold, what is beyond them is counted, and what is known goes on being
// counted.
func TestBounds(t *testing.T) {
	s := observe.New("test", noon)
	for i := range observe.MaxPaths + 5 {
		s.Add(store, entry("80", "GET", fmt.Sprintf("/%d", i), "200", web), noon)
	}
	open := entry("80", "GET", "/more", "0", web)
	open.CommonProperties.AccessLogType = accesslogv3.AccessLogType_DownstreamPeriodic
	s.Add(store, open, noon) // its end will be counted
	s.Add(store, entry("80", "GET", "/0", "200", web), noon)
	s.Add(store, entry("80", "POST", "/0", "200", web), noon)
	r := s.Report()
	if len(r.Observations) != observe.MaxPaths+1 || r.Observations[0].Count != 2 {
		t.Errorf("%d are kept, the first %+v", len(r.Observations), r.Observations[0])
	}
	if want := []observe.Loss{{Cause: observe.MorePaths, Destination: store, Source: mesh.Name{Namespace: "shop", Name: "web"}, Port: 80, Method: "GET", Count: 5}}; !slices.Equal(r.Losses, want) {
		t.Errorf("lost: %+v", r.Losses)
	}
}

// One destination cannot use up the room of the others, nor all of them more
// than there is.
func TestRoom(t *testing.T) {
	s := observe.New("test", noon)
	const destinations = observe.MaxObservations/observe.MaxOfDestination + 1
	for d := range destinations {
		name := mesh.Name{Namespace: "shop", Name: fmt.Sprint("s", d)}
		for i := range observe.MaxOfDestination + 3 {
			s.Add(name, entry(fmt.Sprint(1+i/observe.MaxPaths), "GET", fmt.Sprintf("/%d", i), "200", web), noon)
		}
	}
	r := s.Report()
	of, lost := map[mesh.Name]int{}, uint64(0)
	for _, o := range r.Observations {
		of[o.Destination]++
	}
	for _, l := range r.Losses {
		if l.Cause == observe.NoRoom {
			lost += l.Count
		}
	}
	if len(r.Observations) != observe.MaxObservations || len(of) != destinations-1 || of[mesh.Name{Namespace: "shop", Name: "s0"}] != observe.MaxOfDestination {
		t.Errorf("%d kept of %d destinations", len(r.Observations), len(of))
	}
	if want := uint64(destinations*(observe.MaxOfDestination+3) - observe.MaxObservations); lost != want {
		t.Errorf("%d lost, want %d", lost, want)
	}
}

// A sidecar that makes up callers makes neither set nor losses grow for ever.
func TestLossesAreBounded(t *testing.T) {
	s := observe.New("test", noon)
	const n = 5000
	for i := range n {
		s.Add(store, entry("80", "GET", "/a%2fb", "200", fmt.Sprintf("spiffe://test/ns/shop/sa/w%d", i)), noon)
	}
	r := s.Report()
	total := uint64(0)
	for _, l := range r.Losses {
		total += l.Count
	}
	if len(r.Losses) > 1001 || total != n {
		t.Errorf("%d losses of %d calls", len(r.Losses), total)
	}
}
