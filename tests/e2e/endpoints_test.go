package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// caller is a pod that calls, under an account of its own.
const caller = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: caller}
---
apiVersion: v1
kind: Pod
metadata: {name: caller, labels: {app: caller}}
spec:
  serviceAccountName: caller
  containers: [{name: app, image: app, args: [serve, --listen, ":9999"]}]
`

// twoContainers: each container of a pod has a port and each port a policy of its
// own, by the number that the pod has, not the Service.
func twoContainers(t *testing.T) {
	ns := namespace(t, "two", inMesh)
	apply(t, ns, caller+`
---
apiVersion: v1
kind: Pod
metadata: {name: pair, labels: {app: pair}}
spec:
  containers:
  - {name: one, image: app, args: [serve, --listen, ":8081"], ports: [{name: http-one, containerPort: 8081}]}
  - {name: other, image: app, args: [serve, --listen, ":8082"], ports: [{name: http-other, containerPort: 8082}]}
---
apiVersion: v1
kind: Service
metadata: {name: pair}
spec:
  selector: {app: pair}
  ports: [{name: http-one, port: 81, targetPort: http-one}, {name: http-other, port: 82, targetPort: 8082}]
`)
	ready(t, ns, "pair", 1)
	from := ready(t, ns, "caller", 1)[0]
	for _, port := range []string{"81", "82"} {
		expect(t, "403", from, "http://pair:"+port+"/")
	}
	grant := func(port int) string {
		return fmt.Sprintf(`
apiVersion: specs.smi-spec.io/v1alpha4
kind: TCPRoute
metadata: {name: port}
spec: {matches: {ports: [%d]}}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: pair}
spec:
  destination: {kind: ServiceAccount, name: default}
  sources: [{kind: ServiceAccount, name: caller, namespace: two}]
  rules: [{kind: TCPRoute, name: port}]
`, port)
	}
	apply(t, ns, grant(8081))
	answersFrom(t, from, "http://pair:81/", ":8081")
	expect(t, "403", from, "http://pair:82/")
	apply(t, ns, grant(8082))
	answersFrom(t, from, "http://pair:82/", ":8082")
	expect(t, "403", from, "http://pair:81/")
}

// foreignServices: names that lead out of the mesh lead there as without it, and
// names that lead into it are judged, whoever wrote the addresses down.
func foreignServices(t *testing.T) {
	plain, ns := namespace(t, "foreign-plain", nil), namespace(t, "foreign", inMesh)
	apply(t, plain, server)
	apply(t, ns, caller+"---"+server)
	outside := ready(t, plain, "server", 2)[0]
	inside := ready(t, ns, "server", 2)[0]
	from := ready(t, ns, "caller", 1)[0]
	apply(t, ns, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: alias-outside}
spec: {type: ExternalName, externalName: server.%[1]s.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: alias-inside}
spec: {type: ExternalName, externalName: server.%[2]s.svc.cluster.local}
`, plain, ns)+byHand("listed-outside", outside.Status.PodIP)+byHand("listed-inside", inside.Status.PodIP))

	expect(t, "200", from, "http://alias-outside/")
	expect(t, "200", from, "http://listed-outside/")
	for _, name := range []string{"alias-inside", "listed-inside"} {
		expect(t, "403", from, "http://"+name+"/")
	}
	applyAll(t, allowed("listed", ns+"/caller", ns+"/default"))
	expect(t, "200", from, "http://alias-inside/")
	answersFrom(t, from, "http://listed-inside/", inside.Name)
}

// byHand is a Service without a selector, and where it leads.
func byHand(name, address string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-1, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [%[2]q], conditions: {ready: true}}]
`, name, address)
}

// fromOutside is the way that docs/kubernetes.md shows: who has no sidecar reaches
// a gateway, and the gateway what its account may ask for.
func fromOutside(t *testing.T) {
	plain, edge, ns := namespace(t, "internet", nil), namespace(t, "edge", inMesh), namespace(t, "shop", inMesh)
	apply(t, plain, client)
	apply(t, ns, server)
	apply(t, edge, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: gateway}
---
apiVersion: v1
kind: Pod
metadata:
  name: gateway
  labels: {app: gateway}
  annotations: {wasmesh.io/exclude-inbound-ports: "8080"}
spec:
  serviceAccountName: gateway
  containers:
  - {name: app, image: app, args: [gateway, --to, "http://server.shop"], ports: [{name: http, containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway}
spec: {selector: {app: gateway}, ports: [{name: http, port: 80, targetPort: http}]}
`)
	ready(t, ns, "server", 2)
	ready(t, edge, "gateway", 1)
	outside := ready(t, plain, "client", 1)[0]
	expect(t, "403", outside, "http://gateway.edge/public/page")
	apply(t, ns, `
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: public}
spec: {matches: [{name: public, pathRegex: /public/.*, methods: [GET]}]}
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: from-outside}
spec:
  destination: {kind: ServiceAccount, name: default}
  sources: [{kind: ServiceAccount, name: gateway, namespace: edge}]
  rules: [{kind: HTTPRouteGroup, name: public}]
`)
	expect(t, "200", outside, "http://gateway.edge/public/page")
	expect(t, "403", outside, "http://gateway.edge/private")
	expect(t, "0", outside, "http://server.shop/public/page")
}

// answersFrom wants an answer 200 with a text in it, such as who answered.
func answersFrom(t *testing.T, from corev1.Pod, url, text string) {
	t.Helper()
	expect(t, "200", from, url)
	if answer := call(t.Context(), from, "app", url); !strings.Contains(answer, text) {
		t.Errorf("%s is answered by %s, not by %s", url, answer, text)
	}
}
