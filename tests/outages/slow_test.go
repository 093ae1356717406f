package outages

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	slowProxies = 50
	// slowServices make what each is sent more than what fits the buffers of a
	// connection.
	slowServices = 60
	// cutLimit is within which a proxy that does not read is given up.
	cutLimit = 20 * time.Second
)

func slow(i int) mesh.Name { return mesh.Name{Namespace: "slow", Name: fmt.Sprintf("slow%d", i)} }

// slowManifests are the workloads that will not read, and what they are sent.
func slowManifests(t *testing.T, folder string) {
	var text bytes.Buffer
	for i := range slowProxies {
		fmt.Fprintf(&text, `apiVersion: v1
kind: ServiceAccount
metadata: {name: slow%[1]d, namespace: slow}
---
apiVersion: wasmesh.io/v1alpha1
kind: Workload
metadata: {name: slow%[1]d, namespace: slow, labels: {app: slow}}
spec: {serviceAccount: slow%[1]d, address: 192.0.2.%[2]d, ports: [{name: http, port: 8081}]}
---
`, i, i+1)
	}
	for i := range slowServices {
		fmt.Fprintf(&text, `apiVersion: v1
kind: Service
metadata: {name: service%[1]d, namespace: slow}
spec: {clusterIP: 127.174.8.%[2]d, selector: {app: slow}, ports: [{name: http, port: 8081}]}
---
`, i, i+1)
	}
	if err := os.WriteFile(filepath.Join(folder, "slow.yaml"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Half of them stop in the middle of the transport, as a process that is stopped;
// the others' transport lives, and nobody takes what it received.
func testSlowProxies(t *testing.T, s *site) {
	quiet := s.editLatency(t, 5)
	pid := s.running[controlPlane].PID()
	before, watched := uses(t, pid), watch(t, pid)
	ice := make(chan struct{})
	for i := range slowProxies {
		dial := freezable(ice)
		if i%2 == 0 {
			dial = nil
		}
		stream, err := openStream(t.Context(), s.connect(s.certificate(slow(i)), dial))
		if err != nil {
			t.Fatal(err)
		}
		for _, typeURL := range types {
			if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.must(applyTimeout, "all slow proxies to be connected", func(ctx context.Context) error {
		n, err := s.slowConnected(ctx)
		if err == nil && n != slowProxies {
			err = fmt.Errorf("%d are", n)
		}
		return err
	})
	close(ice)
	began := time.Now()
	busy := s.editLatency(t, 5)
	s.must(cutLimit+forms(20*time.Second, 0)-time.Since(began), "the slow proxies to be cut", func(ctx context.Context) error {
		n, err := s.slowConnected(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d are connected", n)
		}
		return err
	})
	cut, most := time.Since(began), watched.stop()
	t.Logf("%d proxies that do not read were cut after %v", slowProxies, cut.Round(time.Millisecond))
	t.Logf("an edit is in force after %v, beside them after %v", quiet.Round(time.Millisecond), busy.Round(time.Millisecond))
	t.Logf("the control plane: %v before, at most %v", before, most)
	if busy > 3*quiet+500*time.Millisecond {
		t.Errorf("edits are late: %v instead of %v", busy, quiet)
	}
	if most.memory > before.memory+150 {
		t.Errorf("the slow proxies took %d MB", most.memory-before.memory)
	}
	s.ready(applyTimeout, caller, store) // none of those who read was cut for good
}

func (s *site) slowConnected(ctx context.Context) (n int, err error) {
	seen, err := s.seen(ctx)
	for _, p := range seen.Proxies {
		if p.Name.Namespace == "slow" {
			n++
		}
	}
	return n, err
}
