package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	modules "github.com/wasmesh/wasmesh/wasm-registry/store"
)

// refusal: what the control plane has tried, but Envoys refuse, is told on the
// object, with who refused, why, and what to try; what ran before goes on, and
// nothing is told any more once it is mended.
func refusal(t *testing.T) {
	digest := provide(t, program("picky.wasm"))
	filter := func(config string) {
		applyAll(t, fmt.Sprintf(`
apiVersion: wasmesh.io/v1alpha1
kind: WasmFilter
metadata: {name: picky, namespace: bookstore}
spec: {selector: {serviceAccount: bookstore}, module: {sha256: %s}, config: %q, onFailure: Deny}
`, digest, config))
	}
	calls := startCalls(t, one(t, "bookbuyer"), "buyer", store+"/books-bought")
	filter("fine")
	running(t, digest)
	began := time.Now()
	filter("refuse")
	said := condition(t, "False", "Refused", "2 sidecars")
	took := time.Since(began)
	for _, part := range []string{"bookstore/bookstore-v1-", "went on with what was before", "Take back the last edit"} {
		if !strings.Contains(said, part) {
			t.Errorf("the condition does not say %q: %s", part, said)
		}
	}
	if described := kubectl(t, "describe", "wasmfilter", "-n", "bookstore", "picky"); !strings.Contains(described, "refused what was made of it") {
		t.Errorf("kubectl describe does not say it:\n%s", described)
	}
	t.Logf("told %v after the edit: %s\n%s", took, said, kubectl(t, "get", "wasmfilter", "-n", "bookstore"))
	began = time.Now()
	filter("fine again")
	condition(t, "True", "AllOfIt", "")
	t.Logf("told %v after it was mended", time.Since(began))
	calls.stop(t)
	kubectl(t, "delete", "wasmfilter", "-n", "bookstore", "picky")
}

// condition waits until picky is in force or not, for that reason, and part of what
// is said. It gives all of it.
func condition(t *testing.T, status, reason, part string) (message string) {
	t.Helper()
	await(t, "InForce is "+status, settleTimeout, func() error {
		out := kubectl(t, "get", "wasmfilter", "-n", "bookstore", "picky", "-o",
			`jsonpath={range .status.conditions[?(@.type=="InForce")]}{.status} {.reason} {.observedGeneration}={.message}{end} {.metadata.generation}`)
		line, generation := out[:strings.LastIndex(out, " ")], out[strings.LastIndex(out, " ")+1:]
		head, text, _ := strings.Cut(line, "=")
		if message = text; head != status+" "+reason+" "+generation || !strings.Contains(text, part) {
			return fmt.Errorf("InForce is %q", out)
		}
		return nil
	})
	return message
}

// running waits until the Envoys of the bookstore have loaded the filter, and every
// sidecar has what its replica would have it have.
func running(t *testing.T, digest string) {
	t.Helper()
	for _, p := range ready(t, "bookstore", "bookstore", 2) {
		await(t, p.Name+" has loaded it", settleTimeout, func() error {
			stats, err := proxyStats(t.Context(), p, "picky.*config_reload$")
			for _, loaded := range stats {
				if loaded > 0 {
					return err
				}
			}
			return fmt.Errorf("its figures are %v: %w", stats, err)
		})
	}
	await(t, "the filter runs", settleTimeout, func() error {
		for _, p := range readyReplicas(t) {
			s, err := meshStatus(t.Context(), p)
			if err != nil {
				return err
			}
			if got := s.Filters["bookstore/picky"]; got != digest {
				return fmt.Errorf("%s has the module %q for it", p.Name, got)
			}
			for _, proxy := range s.Proxies {
				if !proxy.Settled {
					return fmt.Errorf("%s waits: %v %v", proxy.Name, proxy.Waiting, proxy.Refusals)
				}
			}
		}
		return nil
	})
	condition(t, "True", "AllOfIt", "")
	expectFrom(t, one(t, "bookbuyer"), "buyer", "200", store+"/books-bought")
}

// provide puts a module into the folder of each replica, as one does where there
// is no registry, and gives its digest.
func provide(t *testing.T, file string) string {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range readyReplicas(t) {
		folder := filepath.Join(node(&p).Folder, string(p.UID), "volumes/volume/state/state/modules")
		if err := os.WriteFile(filepath.Join(folder, modules.Digest(wasm)+".wasm"), wasm, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return modules.Digest(wasm)
}
