package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// readyAfter is what a sidecar says of itself once.
var readyAfter = regexp.MustCompile(`msg=ready after=(\S+)`)

// startup: no Envoy goes on without a part of its configuration, which costs it
// five seconds, and each sidecar tells how long its Envoy took until it was ready.
func startup(t *testing.T) {
	var said []string
	for _, p := range meshed(t) {
		stats, err := proxyStats(t.Context(), p, "init_fetch_timeout")
		if err != nil {
			t.Fatal(err)
		}
		if len(stats) == 0 {
			t.Errorf("%s does not count where it gave up waiting", p.Name)
		}
		for name, times := range stats {
			if times > 0 {
				t.Errorf("%s went on without a part of its configuration: %s", p.Name, name)
			}
		}
		text, err := node(&p).Logs(p.Namespace, p.Name, "wasmesh-sidecar")
		if err != nil {
			t.Fatal(err)
		}
		found := readyAfter.FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s does not say when it was ready:\n%s", p.Name, tail(text))
		}
		for _, c := range p.Status.ContainerStatuses {
			if r := c.State.Running; r != nil {
				said = append(said, fmt.Sprintf("%s: Envoy %s, from the pod's creation to its application %v", p.Name, found[1], r.StartedAt.Sub(p.CreationTimestamp.Time)))
			}
		}
	}
	t.Log("ready after\n" + strings.Join(said, "\n"))
}
