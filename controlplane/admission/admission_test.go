package admission

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/yaml"

	"github.com/wasmesh/wasmesh/controlplane/review"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// reviewOf is what the API server sends; old may be empty.
func reviewOf(t testing.TB, operation, object, old string) []byte {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	before := []byte("null")
	if old != "" {
		if before, err = yaml.YAMLToJSON([]byte(old)); err != nil {
			t.Fatal(err)
		}
	}
	var head struct{ APIVersion, Kind string }
	if err := json.Unmarshal(text, &head); err != nil {
		t.Fatal(err)
	}
	group, version, _ := strings.Cut(head.APIVersion, "/")
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",
		"kind":{"group":%q,"version":%q,"kind":%q},"namespace":"shop","operation":%q,"object":%s,"oldObject":%s}}`,
		group, version, head.Kind, operation, text, before)
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
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Response == nil {
		t.Fatalf("answer %s: %v", w.Body, err)
	}
	return w.Code, answer.Response
}

// TestAnswers shows the whole way, from the API server's question to its answer.
func TestAnswers(t *testing.T) {
	const foreign = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: 10.0.0.1}\n"
	bad := strings.Replace(group, "/books$", "/books(", 1)
	generated := strings.Replace(group, "name: web-routes, namespace: shop", "generateName: web-", 1)
	for name, c := range map[string]struct {
		operation, object, old string
		allowed                bool
		warns                  string
	}{
		"good":                         {"CREATE", group, "", true, ""},
		"bad":                          {"CREATE", bad, "", false, ""},
		"with a name to come":          {"CREATE", generated, "", true, ""},
		"with a status, ours to write": {"UPDATE", strings.Replace(vm, "status: {}", "status: {conditions: [{type: Accepted}]}", 1), vm, true, "ServiceAccount"},
		"turned bad":                   {"UPDATE", bad, group, false, ""},
		"mended":                       {"UPDATE", group, bad, true, ""},
		"bad as before":                {"UPDATE", bad, bad, true, "pathRegex"},
		"bad in another place":         {"UPDATE", strings.Replace(bad, "[GET]", "[get]", 1), bad, false, ""},
		"bad and on its way out":       {"UPDATE", strings.Replace(bad, "metadata: {", `metadata: {deletionTimestamp: "2026-01-01T00:00:00Z", `, 1), group, true, ""},
		"none of the mesh's kinds":     {"CREATE", foreign, "", true, ""},
		"deleted, of whatever form":    {"DELETE", bad, bad, true, ""},
		"an odd one, which is served":  {"CREATE", strings.Replace(group, "/books$", "/books", 1), "", true, "anchored at the start only"},
	} {
		t.Run(name, func(t *testing.T) {
			h := New(Options{Log: silent(), Objects: func() (smi.Objects, bool) { return smi.Objects{}, true }})
			code, r := ask(t, h, reviewOf(t, c.operation, c.object, c.old))
			if code != http.StatusOK || r.UID != "u-1" || r.Allowed != c.allowed {
				t.Fatalf("code %d, answer %+v", code, r)
			}
			if !r.Allowed && (r.Result == nil || !strings.Contains(r.Result.Message, "spec.matches[")) {
				t.Errorf("the refusal does not say where: %+v", r.Result)
			}
			if told := strings.Join(r.Warnings, "\n"); !strings.Contains(told, c.warns) || c.warns == "" && told != "" {
				t.Errorf("warnings %q, want %q", told, c.warns)
			}
		})
	}
}

// TestWhatIsNoQuestion is answered with an error of HTTP, which the API server
// reads as an outage.
func TestWhatIsNoQuestion(t *testing.T) {
	h := New(Options{Log: silent()})
	for body, want := range map[string]int{
		"":   http.StatusBadRequest,
		"{}": http.StatusBadRequest,
		`{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"1"}}`: http.StatusBadRequest,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`:                            http.StatusBadRequest,
		`{"a":"` + strings.Repeat("x", review.Most) + `"}`:                                         http.StatusRequestEntityTooLarge,
	} {
		if code, _ := ask(t, h, []byte(body)); code != want {
			t.Errorf("%.60q: %d, want %d", body, code, want)
		}
	}
	if code, r := ask(t, h, reviewOf(t, "CREATE", group, "")); code != http.StatusOK || !r.Allowed {
		t.Errorf("the good one: %d, %+v", code, r)
	}
}

// TestWarningsFitHeaders: the API server drops what does not.
func TestWarningsFitHeaders(t *testing.T) {
	got := line("a\nb\x00" + strings.Repeat("ü", 300))
	if len(got) > maxWarning || strings.ContainsAny(got, "\n\x00") || !strings.HasPrefix(got, "a b ") {
		t.Errorf("%q", got)
	}
}

// FuzzReview: whatever is sent, there is an answer of HTTP, and what is refused
// is told why.
func FuzzReview(f *testing.F) {
	for _, object := range []string{target, group, weights, ports, vm, filter} {
		f.Add(reviewOf(f, "CREATE", object, ""))
		f.Add(reviewOf(f, "UPDATE", object, object))
	}
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"kind":{"group":"wasmesh.io","kind":"Workload"},"operation":"CREATE","object":[]}}`))
	h := New(Options{Log: silent(), Objects: func() (smi.Objects, bool) { return smi.Objects{}, true }})
	f.Fuzz(func(t *testing.T, body []byte) {
		code, r := ask(t, h, body)
		if code != http.StatusOK && code != http.StatusBadRequest && code != http.StatusRequestEntityTooLarge {
			t.Fatalf("code %d", code)
		}
		if r != nil && !r.Allowed && (r.Result == nil || r.Result.Message == "") {
			t.Fatalf("refused without a reason: %+v", r)
		}
	})
}
