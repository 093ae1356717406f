package controlplane

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/kube"
	"github.com/wasmesh/wasmesh/controlplane/serve"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// replies is a transport in which each replica, by its address, says something.
type replies map[string]string

func (r replies) RoundTrip(q *http.Request) (*http.Response, error) {
	body, ok := r[q.URL.Host+q.URL.Path]
	if !ok {
		return nil, errors.New("it is gone")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func sliceOf(namespace, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Endpoints:  endpoints,
	}
}

func endpointOf(pod, address string) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, TargetRef: &corev1.ObjectReference{Name: pod}}
}

// planeOf is replica "one" of three, with nobody connected.
func planeOf(said replies) *plane {
	p := &plane{
		server:  serve.New(slog.New(slog.DiscardHandler)),
		options: Options{Kubernetes: &kube.Options{Namespace: "system", Replica: "one"}},
	}
	p.objects.Store(&smi.Objects{EndpointSlices: []*discoveryv1.EndpointSlice{
		sliceOf("system", peersService, endpointOf("two", "10.0.0.2"), endpointOf("one", "10.0.0.1"), endpointOf("three", "10.0.0.3")),
		sliceOf("system", peersService, endpointOf("two", "fd00::2")),
		sliceOf("shop", peersService, endpointOf("impostor", "10.0.0.9")),
		sliceOf("system", "wasmesh-injector", endpointOf("injector", "10.0.0.8")),
	}})
	p.peers = &peers{plane: p, port: "15016", client: &http.Client{Transport: said}, told: map[string][]serve.Proxy{}}
	return p
}

func TestStatusIsThatOfAllReplicas(t *testing.T) {
	p := planeOf(replies{"10.0.0.2:15016" + proxiesPath: `[{"Name":{"Namespace":"shop","Name":"b"}},{"Name":{"Namespace":"shop","Name":"a"}}]`})
	proxies, replicas := p.peers.proxies(t.Context())
	if len(proxies) != 2 || proxies[0].Name.Name != "a" || proxies[0].Replica != "two" {
		t.Errorf("proxies are %+v", proxies)
	}
	if len(replicas) != 3 || replicas[0].Name != "one" || replicas[1].Name != "three" || replicas[2].Name != "two" {
		t.Fatalf("replicas are %+v", replicas)
	}
	if replicas[2].Proxies != 2 || replicas[2].Error != "" || !strings.Contains(replicas[1].Error, "it is gone") {
		t.Errorf("replicas are %+v", replicas)
	}
	p.peers.client = nil
	if _, replicas = p.peers.proxies(t.Context()); !strings.Contains(replicas[1].Error, "--peers") {
		t.Errorf("without --peers replicas are %+v", replicas)
	}
}

// What another replica's sidecar refuses is refused until that replica says
// otherwise, or is gone.
func TestARefusalOutlivesASilentReplica(t *testing.T) {
	said := replies{"10.0.0.2:15016" + unsettledPath: `[{"Name":{"Namespace":"shop","Name":"a"},"Refusals":[{"Type":"x"}]}]`}
	p := planeOf(said)
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"told", func() {}, 1},
		{"silent", func() { clear(said) }, 1},
		{"solved", func() { said["10.0.0.2:15016"+unsettledPath] = `[]` }, 0},
		{"told again", func() { said["10.0.0.2:15016"+unsettledPath] = `[{"Name":{"Namespace":"shop","Name":"a"}}]` }, 1},
		{"gone", func() { p.objects.Store(&smi.Objects{}) }, 0},
	} {
		step.do()
		if got := p.peers.unsettled(t.Context()); len(got) != step.want {
			t.Errorf("%s: %+v", step.what, got)
		}
	}
}
