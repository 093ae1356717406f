package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	// leafLife and hookLife are short, so that what takes weeks happens while one
	// waits: sidecars ask for the roots every two seconds.
	leafLife = 18 * time.Second
	hookLife = 16 * time.Second
)

// TestIdentity installs the chart with certificates that live for seconds, and
// replaces everything by which anybody is known while calls and admissions go on.
func TestIdentity(t *testing.T) {
	hooks := "extraArgs={--webhook-life=" + hookLife.String() + "}"
	helm(t, "install", "wasmesh", chart, "--create-namespace", "--set", "mesh.leafLifetime="+leafLife.String(),
		"--set", "controlPlane."+hooks, "--set", "injector."+hooks)
	defer func() {
		if t.Failed() {
			describe(t.Context(), t, system)
		}
		uninstall(t)
	}()
	namespace(t, "identity-idle", inMesh) // roots are told there too
	ns := namespace(t, "identity", inMesh)
	apply(t, ns, callers(ns))
	ready(t, ns, "server", 2)
	client := ready(t, ns, "client", 1)[0]
	expect(t, "200", client, "http://server/")
	startCertManager(t)
	calls, admissions := startCalls(t, client, "app", "http://server/"), startAdmissions(t, ns)
	t.Run("rotation of the root", func(t *testing.T) { rotation(t, ns) })
	admissions.stopAfter(t, 3)
	t.Run("cert-manager", func(t *testing.T) { adopt(t, ns) })
	calls.stop(t)
	t.Run("cert-manager from the first day", func(t *testing.T) { fromTheFirstDay(t, ns) })
}

// helm installs or upgrades the mesh, and waits until it is there.
func helm(t *testing.T, args ...string) {
	t.Helper()
	out, err := kube.Helm(t.Context(), append(args, "--namespace", system, "--wait", "--timeout", "90s")...)
	if err != nil {
		describe(t.Context(), t, system)
		t.Fatalf("%v\n%s", err, out)
	}
}

// callers are manifests of a client and two servers whose port is opaque: each connection of the
// client is one of its own between the sidecars, with a handshake of its own.
func callers(ns string) string {
	return strings.NewReplacer("{name: http", "{name: tcp-web", "port: http}", "port: tcp-web}", "targetPort: http", "name: tcp-web, targetPort: tcp-web").Replace(server) +
		"---" + strings.Replace(client, "args: [serve]", "args: [serve], ports: [{name: tcp-web, containerPort: 8080}]", 1) + `
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: web}
spec: {matches: {ports: [8080]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: web}
spec:
  destination: {kind: ServiceAccount, name: default}
  sources: [{kind: ServiceAccount, name: default, namespace: ` + ns + `}]
  rules: [{kind: TCPRoute, name: web}]
`
}

// newcomer is one more client that starts while something else happens.
func newcomer(name string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, image: "app", args: [serve]}]
`, name)
}
