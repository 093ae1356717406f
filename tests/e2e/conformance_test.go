package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/tests/conformance/suite"
	"github.com/wasmesh/wasmesh/tests/e2e/figures"
)

// inForce is how long a policy may take from the API server to every Envoy. The
// suite gives five seconds.
const inForce = 1500 * time.Millisecond

// suiteApp is one of the suite's three applications, in a pod of its own under an
// account of its own. Who gives the orders comes in past the sidecar.
const suiteApp = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: service-%[1]s}
---
apiVersion: v1
kind: Service
metadata: {name: app-%[1]s}
spec: {selector: {app: app-%[1]s}, ports: [{name: http, port: 9091}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: app-%[1]s
  labels: {app: app-%[1]s, svc: %[2]s}
  annotations: {wasmesh.io/exclude-inbound-ports: "9092"}
spec:
  serviceAccountName: service-%[1]s
  containers:
  - {name: app, image: app, args: [conform, app-%[1]s], ports: [{name: http, containerPort: 9091}]}
---
`

const suiteService = `
apiVersion: v1
kind: Service
metadata: {name: app-svc}
spec: {selector: {svc: app-svc}, ports: [{name: http, port: 9091}]}
`

// suiteBed is the mesh on the rig, as the suite sees it.
type suiteBed struct {
	t       *testing.T
	applied []string
}

// conformance runs the assertions that tests/conformance runs on a folder.
func conformance(t *testing.T) {
	ns := namespace(t, suite.Namespace, inMesh)
	manifests := suiteService + "---"
	for name, service := range map[string]string{"a": "none", "b": suite.AppSvc, "c": suite.AppSvc} {
		manifests += fmt.Sprintf(suiteApp, name, service)
	}
	apply(t, ns, manifests)
	bed := &suiteBed{t: t}
	for _, app := range []string{suite.AppA, suite.AppB, suite.AppC} {
		ready(t, ns, app, 1)
	}
	var results []suite.Result
	judged := 0
	for _, s := range []suite.Specification{suite.TrafficAccess(), suite.TrafficSpec(), suite.TrafficSplit("allow.yaml")} {
		r := s.Play(t.Context(), bed, "strict")
		r.Judge(func(id string, err error) {
			judged++
			t.Run(id, func(t *testing.T) {
				if err != nil {
					t.Error(err)
				}
			})
		})
		results = append(results, r)
	}
	var report strings.Builder
	suite.Report(&report, results, "on Kubernetes, in pods")
	figures.Tell(t, "%s", &report)
	if judged != suite.Assertions {
		t.Errorf("%d of %d assertions were judged", judged, suite.Assertions)
	}
	if err := bed.Apply(); err != nil {
		t.Error(err)
	}
}

func (b *suiteBed) Reach(app string) (*http.Client, string, error) {
	pod, err := kube.Client.CoreV1().Pods(suite.Namespace).Get(b.t.Context(), app, metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	return http.DefaultClient, "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(suite.Port+1)), nil
}

func (b *suiteBed) Apply(policies ...string) error {
	for _, old := range b.applied {
		if !slices.Contains(policies, old) {
			if err := b.kubectl(old, "delete"); err != nil {
				return err
			}
		}
	}
	for _, p := range policies {
		if err := b.kubectl(p, "apply"); err != nil {
			return err
		}
	}
	b.applied = policies
	time.Sleep(inForce) // as the suite does, and a third as long
	return nil
}

func (b *suiteBed) kubectl(policy, verb string) error {
	text, err := suite.Policy(policy)
	if err == nil {
		_, err = kube.Kubectl(b.t.Context(), string(text), verb, "-f", "-")
	}
	return err
}

// Knows is what the suite asks of the API server, and a client by its short name.
func (b *suiteBed) Knows(k suite.Kind, policy string, others ...string) error {
	text, err := kube.Kubectl(b.t.Context(), "", "get", "crd", k.Plural+"."+k.Group, "-o", "json")
	if err != nil {
		return err
	}
	var crd struct {
		Spec struct {
			Names struct {
				Kind, Plural string
				ShortNames   []string
			}
			Versions []struct {
				Name   string
				Served bool
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &crd); err != nil {
		return err
	}
	served := false
	for _, v := range crd.Spec.Versions {
		served = served || v.Name == k.Version && v.Served
	}
	if n := crd.Spec.Names; n.Kind != k.Kind || n.Plural != k.Plural || !slices.Contains(n.ShortNames, k.Short) || !served {
		return fmt.Errorf("%+v is not %+v", crd.Spec, k)
	}
	if err := b.Apply(slices.Concat(others, []string{policy})...); err != nil {
		return err
	}
	listed, err := kube.Kubectl(b.t.Context(), "", "get", k.Short, "-n", suite.Namespace, "-o", "name")
	if err != nil || !strings.Contains(listed, k.Group) {
		return fmt.Errorf("kubectl get %s lists %q: %w", k.Short, listed, err)
	}
	return b.Apply(others...)
}

func (b *suiteBed) Ready(app string) error {
	pod, err := kube.Client.CoreV1().Pods(suite.Namespace).Get(b.t.Context(), app, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !isReady(*pod) || pod.Labels["wasmesh.io/sidecar"] != "injected" {
		return fmt.Errorf("%s is not ready, or has no sidecar", app)
	}
	return nil
}

func (b *suiteBed) Behind(service string) (found []string, err error) {
	listed, err := kube.Client.DiscoveryV1().EndpointSlices(suite.Namespace).List(b.t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		return nil, err
	}
	for _, s := range listed.Items {
		for _, e := range s.Endpoints {
			found = append(found, e.TargetRef.Name)
		}
	}
	slices.Sort(found)
	return found, nil
}
