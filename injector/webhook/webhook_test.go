package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/wasmesh/wasmesh/controlplane/review"
	"github.com/wasmesh/wasmesh/injector/inject"
)

var quiet = slog.New(slog.DiscardHandler)

// pod is of ordinary size: three containers, probes, some environment.
func pod(name string) string {
	container := func(n string) string {
		env := strings.Repeat(`{"name":"SOME_VARIABLE","value":"with a value of some length"},`, 30)
		return `{"name":"` + n + `","image":"app:1","ports":[{"name":"http","containerPort":8080}],"env":[` + strings.TrimSuffix(env, ",") + `],
"readinessProbe":{"httpGet":{"path":"/ok","port":"http"}},"livenessProbe":{"tcpSocket":{"port":8080}}}`
	}
	return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + name + `","namespace":"shop"},"spec":{"containers":[` +
		container("a") + "," + container("b") + "," + container("c") + `]}}`
}

func reviewOf(object string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",
"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"namespace":"shop","operation":"CREATE","object":%s}}`, object)
}

// request is one as the API server sends it.
func request(body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func ask(t testing.TB, h http.Handler, body []byte) (int, *admissionv1.AdmissionResponse) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(body))
	if w.Code != http.StatusOK {
		return w.Code, nil
	}
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Response == nil || answer.Response.UID != "u-1" {
		t.Fatalf("answer %s: %v", w.Body, err)
	}
	return w.Code, answer.Response
}

// TestAnswers: each question that is refused, beside one that is not.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		code    int
		allowed bool
		why     string
	}{
		"a pod":                        {string(reviewOf(pod("a"))), 200, true, ""},
		"one with our port":            {strings.ReplaceAll(string(reviewOf(pod("a"))), ":8080", ":15001"), 200, false, "port 15001 is the sidecar's"},
		"containers that are a number": {string(reviewOf(`{"spec":{"containers":7}}`)), 200, false, "does not parse"},
		"no object":                    {string(reviewOf(`null`)), 200, false, "does not parse"},
		"no review":                    {"{}", 400, false, ""},
		"nothing":                      {"", 400, false, ""},
		"not JSON":                     {"<", 400, false, ""},
		"another version":              {strings.Replace(string(reviewOf(pod("a"))), "io/v1", "io/v1beta1", 1), 400, false, ""},
		"a large one":                  {string(reviewOf(pod("a") + strings.Repeat(" ", 3<<20))), 200, true, ""},
		"too large":                    {string(reviewOf(pod("a") + strings.Repeat(" ", review.Most))), 413, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := New(inject.Defaults(), quiet)
			code, r := ask(t, h, []byte(c.body))
			if code != c.code || r != nil && r.Allowed != c.allowed {
				t.Fatalf("%d %+v", code, r)
			}
			if r != nil && !r.Allowed && !strings.Contains(r.Result.Message, c.why) {
				t.Errorf("refused because %q, want %q", r.Result.Message, c.why)
			}
			if n := h.counters.Injected.Load() + h.counters.LeftAlone.Load() + h.counters.Refused.Load() + h.counters.Failed.Load(); n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
}

// TestPatch: what the API server gets makes of the pod what package inject says.
func TestPatch(t *testing.T) {
	_, r := ask(t, New(inject.Defaults(), quiet), reviewOf(pod("a")))
	var ops []inject.Operation
	if err := json.Unmarshal(r.Patch, &ops); err != nil || *r.PatchType != admissionv1.PatchTypeJSONPatch {
		t.Fatal(err)
	}
	got, err := inject.Apply([]byte(pod("a")), ops)
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := inject.Manifest([]byte(pod("a")), "shop", inject.Defaults())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v\n%s\n%s", err, got, want)
	}
	if strings.Contains(string(r.Patch), "SOME_VARIABLE") {
		t.Error("the patch repeats what it does not change")
	}
	if _, r := ask(t, New(inject.Defaults(), quiet), reviewOf(string(got))); !r.Allowed || len(r.Patch) > 0 {
		t.Errorf("a second time: %s", r.Patch)
	}
}

// TestOverTLS runs the whole of it but the API server, whose part a fake plays.
func TestOverTLS(t *testing.T) {
	client := fake.NewClientset(&admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: configuration}, Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "inject.wasmesh.io"}}})
	l, err := net.Listen("tcp", "127.187.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- Run(ctx, Options{Client: client, Namespace: "wasmesh-system", Listen: address, Health: "127.187.0.1:15021", Settings: inject.Defaults(), Log: quiet})
	}()
	roots := x509.NewCertPool()
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
		if err == nil && roots.AppendCertsFromPEM(c.Webhooks[0].ClientConfig.CABundle) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no bundle: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	config := &tls.Config{RootCAs: roots, ServerName: "wasmesh-injector.wasmesh-system.svc"}
	post := func(c *tls.Config) (*http.Response, error) {
		api := http.Client{Transport: &http.Transport{TLSClientConfig: c}}
		return api.Post("https://"+address+Path, "application/json", bytes.NewReader(reviewOf(pod("a"))))
	}
	r, err := post(config)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	if r.StatusCode != 200 || !bytes.Contains(body, []byte(`"allowed":true`)) {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	old := config.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	if _, err := post(old); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	m, err := http.Get("http://127.187.0.1:15021/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ = io.ReadAll(m.Body)
	if !bytes.Contains(body, []byte(`wasmesh_injector_admissions_total{outcome="injected"} 1`)) {
		t.Errorf("metrics: %s", body)
	}
	stop()
	if _, err := post(config); err != nil {
		t.Errorf("asked to end, it does not answer any more: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// FuzzReview: whatever is sent, there is an answer of HTTP; what is refused says
// why, and a patch can be made.
func FuzzReview(f *testing.F) {
	f.Add(reviewOf(pod("a")))
	f.Add(reviewOf(`{"metadata":{"annotations":{"wasmesh.io/exclude-uids":"x"}},"spec":{"initContainers":[{"name":"wasmesh-sidecar"}]}}`))
	f.Add(reviewOf(`{"metadata":{"labels":{"wasmesh.io/sidecar":"injected"},"annotations":{"wasmesh.io/injection":"{}"}},"spec":{"initContainers":[{"name":"wasmesh-sidecar","args":["--app-probes"]}]}}`))
	h := New(inject.Defaults(), quiet)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(body))
		if w.Code != 200 {
			return
		}
		var answer admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Response == nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		if r := answer.Response; !r.Allowed && r.Result.Message == "" {
			t.Errorf("refused without a reason: %s", body)
		}
	})
}
