package badinput

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

// Who else there is in testdata/beside.yaml and circle.yaml.
var (
	porter = mesh.Name{Namespace: "shop", Name: "porter"}
	shelf  = mesh.Name{Namespace: "shop", Name: "shelf"}
	desk   = mesh.Name{Namespace: "shop", Name: "desk"}
	tray   = mesh.Name{Namespace: "shop", Name: "tray"}
)

// flawed is an object of one kind that cannot be used, and how. Its name is made
// of both, unless the name is what is wrong.
type flawed struct {
	kind, version, flaw string
	// rest is what follows metadata.
	rest string
}

func (f flawed) name() string {
	if f.flaw == "name" {
		return strings.ToLower(f.kind) + "_name"
	}
	return strings.ToLower(f.kind) + "-" + f.flaw
}

func (f flawed) String() string {
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: shop}\n%s\n", f.version, f.kind, f.name(), f.rest)
}

// flaws has every kind with a value that does not parse, a field of the wrong
// shape, a field that does not exist, and a name that cannot be one.
func flaws() []flawed {
	const (
		access, specs = "access.smi-spec.io/v1alpha3", "specs.smi-spec.io/v1alpha4"
		split, own    = "split.smi-spec.io/v1alpha4", "wasmesh.io/v1alpha1"
		buyers        = "sources: [{kind: ServiceAccount, name: buyer}], rules: [{kind: HTTPRouteGroup, name: books}]"
		toStore       = "destination: {kind: ServiceAccount, name: store}"
	)
	return []flawed{
		{"Service", "v1", "value", "spec: {selector: {app: store}, ports: [{port: eighty}]}"},
		{"Service", "v1", "shape", "spec: {selector: {app: store}, ports: 8081}"},
		{"Service", "v1", "field", "spec: {selector: {app: store}, port: [{port: 8081}]}"},
		{"Service", "v1", "name", "spec: {selector: {app: store}, ports: [{port: 8081}]}"},
		{"ServiceAccount", "v1", "value", "automountServiceAccountToken: perhaps"},
		{"ServiceAccount", "v1", "shape", "secrets: none"},
		{"ServiceAccount", "v1", "field", "identity: store"},
		{"ServiceAccount", "v1", "name", ""},
		{"TrafficTarget", access, "value", "spec: {" + toStore + ", sources: [{kind: ServiceAccount, name: 7}], rules: []}"},
		{"TrafficTarget", access, "shape", "spec: {destination: store, " + buyers + "}"},
		{"TrafficTarget", access, "field", "spec: {" + toStore + ", port: 8081, " + buyers + "}"},
		{"TrafficTarget", access, "name", "spec: {" + toStore + ", " + buyers + "}"},
		{"HTTPRouteGroup", specs, "value", "spec: {matches: [{name: m, pathRegex: 7}]}"},
		{"HTTPRouteGroup", specs, "shape", "spec: {matches: [{name: m, methods: GET}]}"},
		{"HTTPRouteGroup", specs, "field", "spec: {matches: [{name: m, path: /books}]}"},
		{"HTTPRouteGroup", specs, "name", "spec: {matches: [{name: m, pathRegex: /books}]}"},
		{"TCPRoute", specs, "value", "spec: {matches: {ports: [http]}}"},
		{"TCPRoute", specs, "shape", "spec: {matches: {ports: 8081}}"},
		{"TCPRoute", specs, "field", "spec: {matches: {port: [8081]}}"},
		{"TCPRoute", specs, "name", "spec: {matches: {ports: [8081]}}"},
		{"UDPRoute", specs, "value", "spec: {matches: {ports: [dns]}}"},
		{"UDPRoute", specs, "shape", "spec: {matches: {ports: 53}}"},
		{"UDPRoute", specs, "field", "spec: {matches: {port: [53]}}"},
		{"UDPRoute", specs, "name", "spec: {matches: {ports: [53]}}"},
		{"TrafficSplit", split, "value", "spec: {service: store, backends: [{service: printer, weight: half}]}"},
		{"TrafficSplit", split, "shape", "spec: {service: store, backends: {service: printer, weight: 1}}"},
		{"TrafficSplit", split, "field", "spec: {service: store, backend: [{service: printer, weight: 1}]}"},
		{"TrafficSplit", split, "name", "spec: {service: store, backends: [{service: printer, weight: 1}]}"},
		{"Workload", own, "value", "spec: {serviceAccount: store, address: 127.62.0.9, ports: [{port: eighty}]}"},
		{"Workload", own, "shape", "spec: {serviceAccount: store, address: [127.62.0.9]}"},
		{"Workload", own, "field", "spec: {serviceAccount: store, address: 127.62.0.9, port: 8081}"},
		{"Workload", own, "name", "spec: {serviceAccount: store, address: 127.62.0.9}"},
	}
}

// mixture is a file in which a good document follows each few bad ones. It
// returns the first and last line of each flawed object.
func mixture(t *testing.T) (text string, lines map[string][2]int) {
	t.Helper()
	archive, err := os.ReadFile(filepath.Join("testdata", "beside.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	good := strings.Split(string(archive), "---\n")
	lines = map[string][2]int{}
	for i, f := range flaws() {
		first := strings.Count(text, "\n") + 1
		text += f.String() + "---\n"
		lines[f.kind+" shop/"+f.name()] = [2]int{first, strings.Count(text, "\n")}
		if i%4 == 3 && len(good) > 0 {
			text += good[0] + "---\n"
			good = good[1:]
		}
	}
	return text + strings.Join(good, "---\n"), lines
}

// One malformed object of each kind, in each way, in one file with good ones:
// what is good works, and each that is not is told with file and line.
func TestOneMalformedObjectOfEachKindHarmsOnlyItself(t *testing.T) {
	s := openShop(t, nil)
	l := s.startLoad()
	text, lines := mixture(t)
	s.edit("mixed.yaml", text)
	s.problem(applyTimeout, "Workload shop/workload_name")
	s.tellsEach(lines)

	s.must(applyTimeout, "a good TrafficTarget and HTTPRouteGroup", s.answers(buyer, store, "/beside", http.StatusOK))
	token, err := s.authority(t).CreateToken(porter, moduleTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Join(porter, token), s.AwaitReady(porter)); err != nil {
		t.Fatalf("a good Workload and ServiceAccount: %v", err)
	}
	s.must(applyTimeout, "a good TCPRoute", s.answers(porter, store, "/whatever", http.StatusOK))
	s.must(applyTimeout, "a good Service", s.answers(porter, shelf, "/whatever", http.StatusOK))
	s.must(applyTimeout, "a good TrafficSplit", s.answers(buyer, desk, "/beside", http.StatusOK))
	// None of the bad splits has turned the store's requests away, and no bad
	// target grants anything.
	l.stop(t)
	if err := s.answers(buyer, store, "/whatever", http.StatusForbidden)(t.Context()); err != nil {
		t.Error(err)
	}
}

// tellsEach wants a problem with its place for each object, and no other but
// that a good UDPRoute is not enforced.
func (s *shop) tellsEach(lines map[string][2]int) {
	s.t.Helper()
	status, err := s.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	told := map[string]bool{}
	for _, p := range status.Problems {
		object, ok := s.place(p, lines)
		if !ok && !containsAll(p, []string{"UDPRoute shop/good", "not enforced"}) {
			s.t.Errorf("it says of nothing that is wrong: %s", p)
		}
		told[object] = true
	}
	for object, between := range lines {
		if !told[object] {
			s.t.Errorf("nothing is said of %s in lines %d to %d; the problems are\n\t%s", object, between[0], between[1], strings.Join(status.Problems, "\n\t"))
		}
	}
}

// place returns the object whose problem it is, if the line is one of its own.
func (s *shop) place(problem string, lines map[string][2]int) (string, bool) {
	for object, between := range lines {
		for line := between[0]; line <= between[1]; line++ {
			if strings.HasPrefix(problem, fmt.Sprintf("%s:%d: %s:", filepath.Join(s.folder, "mixed.yaml"), line, object)) {
				return object, true
			}
		}
	}
	return "", false
}
