package e2e

import (
	"fmt"
	"os"
	"path/filepath"
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
`, plain, ns))
	for i, version := range []string{"v4", "v6"} {
		family := "IP" + version
		apply(t, ns, byHand("listed-outside-"+version, family, outside.Status.PodIPs[i].IP)+
			byHand("listed-inside-"+version, family, inside.Status.PodIPs[i].IP))
	}

	for _, name := range []string{"alias-outside", "listed-outside-v4", "listed-outside-v6"} {
		expect(t, "200", from, "http://"+name+"/")
	}
	for _, name := range []string{"alias-inside", "listed-inside-v4", "listed-inside-v6"} {
		expect(t, "403", from, "http://"+name+"/")
	}
	applyAll(t, allowed("listed", ns+"/caller", ns+"/default"))
	expect(t, "200", from, "http://alias-inside/")
	answersFrom(t, from, "http://listed-inside-v4/", inside.Name)
	answersFrom(t, from, "http://listed-inside-v6/", inside.Name)
}

// byHand is a Service of one family without a selector, and where it leads.
func byHand(name, family, address string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {ipFamilies: [%[2]s], ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-1, labels: {kubernetes.io/service-name: %[1]s}}
addressType: %[2]s
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [{addresses: [%[3]q], conditions: {ready: true}}]
`, name, family, address)
}

// fromOutside applies what docs/kubernetes.md shows: who has no sidecar reaches a
// gateway, and the gateway what its account may ask for.
func fromOutside(t *testing.T) {
	plain, edge, ns := namespace(t, "internet", nil), namespace(t, "edge", inMesh), namespace(t, "shop", inMesh)
	shown := documented(t, "## From outside")
	if len(shown) != 2 {
		t.Fatalf("%d manifests are shown, want the gateway's and the policy", len(shown))
	}
	apply(t, plain, client)
	apply(t, ns, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  serviceAccountName: web
  containers: [{name: app, image: app, args: [serve], ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
`)
	applyAll(t, shown[0])
	ready(t, ns, "web", 1)
	ready(t, edge, "gateway", 1)
	outside := ready(t, plain, "client", 1)[0]
	expect(t, "403", outside, "http://gateway.edge/public/page")
	applyAll(t, shown[1])
	expect(t, "200", outside, "http://gateway.edge/public/page")
	expect(t, "403", outside, "http://gateway.edge/private")
	expect(t, "0", outside, "http://web.shop/public/page")
}

// documented are the manifests that a section of docs/kubernetes.md shows.
func documented(t *testing.T, section string) (shown []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, part := range strings.Split(rest, "```yaml\n")[1:] {
		manifest, _, _ := strings.Cut(part, "```")
		shown = append(shown, manifest)
	}
	return shown
}

// answersFrom wants an answer 200 with a text in it, such as who answered.
func answersFrom(t *testing.T, from corev1.Pod, url, text string) {
	t.Helper()
	expect(t, "200", from, url)
	if answer := call(t.Context(), from, "app", url); !strings.Contains(answer, text) {
		t.Errorf("%s is answered by %s, not by %s", url, answer, text)
	}
}
