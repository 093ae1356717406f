package capture

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	specs "github.com/servicemeshinterface/smi-sdk-go/pkg/apis/specs/v1alpha4"
	corev1 "k8s.io/api/core/v1"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/injector/redirect"
	"github.com/wasmesh/wasmesh/injector/sidecar"
)

// The addresses of services. Nobody routes them but the sidecars, except for the
// last one, which is no service of the mesh.
var (
	store4, store6 = netip.MustParseAddr("10.97.0.10"), netip.MustParseAddr("fd00:97::10")
	shelf4         = netip.MustParseAddr("10.97.0.11")
)

// world is two pods with sidecars, one without, and a host that is no pod.
type world struct {
	*plane
	caller, store, stranger  *space
	callerAdmin, storeAdmin  sidecar.Admin
	books, shelf, metrics    *application
	unknown, talk, elsewhere *application
	objects                  smi.Objects
}

func newWorld(t *testing.T) *world {
	t.Helper()
	n := newNode(t)
	w := &world{plane: startPlane(t), caller: n.pod(t, "caller"), store: n.pod(t, "store"), stranger: n.pod(t, "stranger")}
	w.capture(t, w.caller)
	w.capture(t, w.store, "--exclude-inbound-ports", "9191")
	w.books = web(t, w.store, "[::]:8080")
	w.shelf = web(t, w.store, netip.AddrPortFrom(w.store.four, 8081).String())
	w.metrics = web(t, w.store, "[::]:9191")
	w.unknown = web(t, w.store, "[::]:9999")
	w.talk = greeter(t, w.store, "0.0.0.0:9000")
	w.elsewhere = web(t, &space{name: "elsewhere", handle: n.self(t)}, netip.AddrPortFrom(outside4, 80).String())
	w.describe()
	w.publish(t, w.objects)
	caller, store := mesh.Name{Namespace: namespace, Name: "caller"}, mesh.Name{Namespace: namespace, Name: "store"}
	w.callerAdmin, w.storeAdmin = w.sidecar(t, w.caller, caller), w.sidecar(t, w.store, store)
	w.settled(t, w.callerAdmin, caller)
	w.settled(t, w.storeAdmin, store)
	return w
}

// describe makes the objects: the store behind a service with two ports, behind
// one that nobody may call, and behind a headless one.
func (w *world) describe() {
	services := []*corev1.Service{
		serviceObject("store", "store", []netip.Addr{store4, store6}, servicePort("http", 80, 8080), servicePort("tcp-talk", 9000, 9000)),
		serviceObject("shelf", "store", []netip.Addr{shelf4}, servicePort("http", 80, 8081)),
		serviceObject("each", "store", nil, servicePort("http", 8080, 8080), servicePort("tcp-talk", 9000, 9000)),
	}
	w.objects = smi.Objects{
		Namespaces: []*corev1.Namespace{namespaceObject(nil)}, Services: services,
		ServiceAccounts: []*corev1.ServiceAccount{accountObject("caller"), accountObject("store")},
		Pods:            []*corev1.Pod{podObject(w.caller), podObject(w.store, corev1.ContainerPort{ContainerPort: 8080})},
	}
	for _, s := range services {
		w.objects.EndpointSlices = append(w.objects.EndpointSlices, sliceObjects(s, w.store)...)
	}
	w.grant("/books.*")
}

func (w *world) grant(path string) {
	targets, group, talk := grants(path)
	w.objects.TrafficTargets = targets
	w.objects.HTTPRouteGroups = []*specs.HTTPRouteGroup{group}
	w.objects.TCPRoutes = []*specs.TCPRoute{talk}
}

// answers wants a status, and the application to have seen the call or not.
func answers(t *testing.T, from *space, to netip.AddrPort, path string, status int, reaches *application) {
	t.Helper()
	before := reaches.calls.Load()
	got, body, err := get(t.Context(), from, to, path)
	if err != nil || got != status {
		t.Errorf("%s -> %s%s: %d %q, %v; want %d", from.name, to, path, got, body, err, status)
	}
	if reached := reaches.calls.Load() - before; (status == 200) != (reached == 1) {
		t.Errorf("%s -> %s%s: status %d, and the application saw %d calls", from.name, to, path, got, reached)
	}
}

// closed wants a connection to end without an answer, and the application to have
// seen nothing.
func closed(t *testing.T, from *space, to netip.AddrPort, spared *application) {
	t.Helper()
	before := spared.calls.Load()
	if status, body, err := get(t.Context(), from, to, "/books"); err == nil {
		t.Errorf("%s -> %s was answered %d %q", from.name, to, status, body)
	}
	if spared.calls.Load() != before {
		t.Errorf("%s -> %s reached the application", from.name, to)
	}
}

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// moves wants the counter of a rule to rise by so much while f runs.
func moves(t *testing.T, s *space, chain redirect.Chain, rule string, by uint64, f func()) {
	t.Helper()
	before := counted(t, s, chain, rule)
	f()
	if rose := counted(t, s, chain, rule) - before; rose != by {
		t.Errorf("rule %q of %s saw %d connections, want %d", rule, s.name, rose, by)
	}
}

// TestRedirectedPods goes the ways that connections of pods can take.
func TestRedirectedPods(t *testing.T) {
	w := newWorld(t)
	t.Run("services", w.services)
	t.Run("headless", w.headless)
	t.Run("opaque", w.opaque)
	t.Run("own service", w.ownService)
	t.Run("around the sidecar", w.around)
	t.Run("useless ports", w.uselessPorts)
	t.Run("elsewhere", w.outside)
	t.Run("policy edit", w.edit)
	t.Run("grace", w.grace)
}

func (w *world) services(t *testing.T) {
	moves(t, w.caller, redirect.Output, "outbound", 4, func() {
		moves(t, w.store, redirect.Prerouting, "inbound", 1, func() { // one connection carries all
			answers(t, w.caller, at(store4, 80), "/books", 200, w.books)
			answers(t, w.caller, at(store6, 80), "/books", 200, w.books)
			answers(t, w.caller, at(store4, 80), "/secret", 403, w.books)
		})
		answers(t, w.caller, at(shelf4, 80), "/secret", 403, w.shelf)
	})
	// An application may listen at its pod's address only.
	answers(t, w.caller, at(shelf4, 80), "/books", 200, w.shelf)
	if from, _ := w.books.from.Load().(string); !strings.HasPrefix(from, redirect.Inside4+":") {
		t.Errorf("the sidecar dialled its application from %s", from)
	}
}

// headless calls go to an endpoint that the caller chose, by either address.
func (w *world) headless(t *testing.T) {
	for _, ip := range []netip.Addr{w.store.four, w.store.six} {
		answers(t, w.caller, at(ip, 8080), "/books", 200, w.books)
		answers(t, w.caller, at(ip, 8080), "/secret", 403, w.books)
	}
}

func (w *world) opaque(t *testing.T) {
	for _, to := range []netip.AddrPort{at(store4, 9000), at(store6, 9000), at(w.store.four, 9000)} {
		if text, err := greeting(t.Context(), w.caller, to); err != nil || text != "hello from store\nword" {
			t.Errorf("caller -> %s: %q, %v", to, text, err)
		}
	}
	before := w.talk.calls.Load()
	if text, _ := greeting(t.Context(), w.stranger, at(w.store.four, 9000)); text != "" || w.talk.calls.Load() != before {
		t.Errorf("a stranger heard %q", text)
	}
}

// ownService: a pod that calls its own service is judged like any caller.
func (w *world) ownService(t *testing.T) {
	moves(t, w.store, redirect.Output, "self", 1, func() {
		answers(t, w.store, at(store4, 80), "/books", 200, w.books)
		answers(t, w.store, at(store4, 80), "/secret", 403, w.books)
	})
	// What it dials at its own address never leaves it.
	answers(t, w.store, at(w.store.four, 8080), "/secret", 200, w.books)
	answers(t, w.store, netip.MustParseAddrPort("127.0.0.1:8080"), "/secret", 200, w.books)
}

func (w *world) around(t *testing.T) {
	for _, ip := range []netip.Addr{w.store.four, w.store.six} {
		for _, from := range []*space{w.stranger, w.caller} {
			closed(t, from, at(ip, 9999), w.unknown)
		}
		moves(t, w.store, redirect.Prerouting, "inbound", 1, func() { closed(t, w.stranger, at(ip, 8080), w.books) })
		moves(t, w.store, redirect.Prerouting, "excluded", 1, func() { answers(t, w.stranger, at(ip, 9191), "/", 200, w.metrics) })
	}
	closed(t, w.stranger, at(w.store.four, 8081), w.shelf)
}

// uselessPorts: nobody gets anywhere by dialling what connections are redirected
// to, and nothing goes in circles.
func (w *world) uselessPorts(t *testing.T) {
	for _, ip := range []netip.Addr{w.store.four, w.store.six, w.caller.four} {
		for _, port := range []uint16{redirect.OutboundPort, redirect.InboundPort} {
			for _, from := range []*space{w.stranger, w.caller, w.store} {
				began := time.Now()
				closed(t, from, at(ip, port), w.books)
				if took := time.Since(began); took > answerTimeout/2 {
					t.Errorf("%s -> %s:%d was not closed but left after %v", from.name, ip, port, took)
				}
			}
		}
	}
	closed(t, w.caller, at(netip.MustParseAddr("127.0.0.1"), redirect.OutboundPort), w.books)
	closed(t, w.caller, at(netip.MustParseAddr("::1"), redirect.InboundPort), w.books)
}

func (w *world) outside(t *testing.T) {
	before := stat(t, w.callerAdmin, "cluster.passthrough.upstream_cx_total")
	answers(t, w.caller, at(outside4, 80), "/", 200, w.elsewhere)
	if rose := stat(t, w.callerAdmin, "cluster.passthrough.upstream_cx_total") - before; rose != 1 {
		t.Errorf("%d connections were counted as passing through, want 1", rose)
	}
}

// edit changes the policy both ways: no listener is touched, and it is in force.
func (w *world) edit(t *testing.T) {
	conn, err := w.caller.dial(t.Context(), at(store4, 9000).String())
	check(t, err)
	defer conn.Close()
	before := map[sidecar.Admin]uint64{w.callerAdmin: listenerChanges(t, w.callerAdmin), w.storeAdmin: listenerChanges(t, w.storeAdmin)}
	for _, path := range []string{"/secret.*", "/books.*"} {
		w.grant(path)
		w.publish(t, w.objects)
		until(t, applyTimeout, "the edit", func() error {
			status, _, err := get(t.Context(), w.caller, at(store4, 80), "/secret")
			if want := map[bool]int{true: 200, false: 403}[path == "/secret.*"]; status != want {
				return fmt.Errorf("got %d, want %d: %w", status, want, err)
			}
			return nil
		})
	}
	for admin, was := range before {
		if is := listenerChanges(t, admin); is != was {
			t.Errorf("%d listeners changed by edits of the policy", is-was)
		}
	}
	_ = conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := conn.Write([]byte("still here")); err != nil {
		t.Errorf("an edit ended an open connection: %v", err)
	}
	if n, err := conn.Read(make([]byte, 100)); n == 0 {
		t.Errorf("an edit ended an open connection: %v", err)
	}
}

// grace lets strangers in, to the application and to nothing else.
func (w *world) grace(t *testing.T) {
	w.objects.Namespaces = []*corev1.Namespace{namespaceObject(map[string]string{smi.PlaintextLabel: "grace"})}
	w.publish(t, w.objects)
	for _, port := range []uint16{9999, 8080} {
		until(t, applyTimeout, "grace", func() error {
			status, _, err := get(t.Context(), w.stranger, at(w.store.four, port), "/")
			if status != 200 {
				return fmt.Errorf("port %d: got %d: %w", port, status, err)
			}
			return nil
		})
	}
	answers(t, w.stranger, at(w.store.six, 9999), "/", 200, w.unknown)
	answers(t, w.stranger, at(w.store.four, 8080), "/secret", 200, w.books)
	answers(t, w.stranger, at(w.store.six, 8080), "/secret", 200, w.books)
	answers(t, w.caller, at(store4, 80), "/secret", 403, w.books)
	w.uselessPorts(t)
	w.forwards(t)
}

// forwards: a neighbour on the network hands the pod a connection to somebody
// else. Its sidecar must not make it for him.
func (w *world) forwards(t *testing.T) {
	w.stranger.route(t, outside4, w.store.four)
	closed(t, w.stranger, at(outside4, 80), w.elsewhere)
}

func stat(t *testing.T, admin sidecar.Admin, name string) uint64 {
	t.Helper()
	body, err := admin.Get(t.Context(), "/stats?filter=^"+name+"$")
	check(t, err)
	var n uint64
	if _, err := fmt.Sscanf(string(body), name+": %d", &n); err != nil {
		t.Fatalf("stat %s: %q: %v", name, body, err)
	}
	return n
}

func listenerChanges(t *testing.T, admin sidecar.Admin) uint64 {
	t.Helper()
	var n uint64
	for _, name := range []string{"listener_added", "listener_modified", "listener_removed", "listener_in_place_updated"} {
		n += stat(t, admin, "listener_manager."+name)
	}
	return n
}
