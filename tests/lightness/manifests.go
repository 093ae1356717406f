package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
)

const (
	trustDomain = "lightness.example"
	namespace   = "shop"
	// principals is how many service accounts are granted what callers ask for.
	principals  = 1000
	grantedPath = "/books-bought"
	deniedPath  = "/books-bought/all"
	// Where the sidecar accepts, and its application behind it.
	storeAddress       = "127.166.0.1"
	applicationAddress = "127.166.0.2"
	port               = 14001
)

var workload = mesh.Name{Namespace: namespace, Name: "store"}

// account returns the service account of the i-th granted principal.
func account(i int) mesh.Name {
	return mesh.Name{Namespace: namespace, Name: fmt.Sprintf("buyer-%04d", i)}
}

// writeManifests writes a mesh of one workload that grants one path to all
// principals.
func writeManifests(folder string) error {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: wasmesh.io/v1alpha1
kind: Workload
metadata: {name: store, namespace: %[1]s, labels: {app: store}}
spec:
  serviceAccount: store
  address: %[2]s
  application: %[3]s
  loopback: 127.167.0.0/16
  ports: [{name: http, port: %[4]d}]
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: %[1]s}
spec: {selector: {app: store}, ports: [{name: http, port: %[4]d}]}
---
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: routes, namespace: %[1]s}
spec: {matches: [{name: bought, pathRegex: %[5]s$, methods: [GET]}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: store, namespace: %[1]s}
`, namespace, storeAddress, applicationAddress, port, grantedPath)
	for i := range principals {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, namespace: %s}\n", account(i).Name, namespace)
	}
	fmt.Fprintf(&b, `---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: buyers, namespace: %s}
spec:
  destination: {kind: ServiceAccount, name: store}
  rules: [{kind: HTTPRouteGroup, name: routes}]
  sources:
`, namespace)
	for i := range principals {
		fmt.Fprintf(&b, "  - {kind: ServiceAccount, name: %s, namespace: %s}\n", account(i).Name, namespace)
	}
	return os.WriteFile(filepath.Join(folder, "mesh.yaml"), []byte(b.String()), 0o600)
}
