package attest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/wasmesh/wasmesh/controlplane/ca"
	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/smi"
	"github.com/wasmesh/wasmesh/filters/identity"
)

type claims = map[string]any

// token has claims, and a signature that nobody looks at here.
func token(c claims) string {
	data, _ := json.Marshal(c)
	return "e30." + base64.RawURLEncoding.EncodeToString(data) + ".c2ln"
}

func good() claims {
	return claims{"aud": []string{Audience}, "exp": time.Now().Add(time.Hour).Unix(), "kubernetes.io": claims{"pod": claims{"uid": "u-1"}}}
}

func with(change func(claims)) string {
	c := good()
	change(c)
	return token(c)
}

// What the API server would refuse in any case is refused without it; each case
// differs from the good one in one thing.
func TestPlausible(t *testing.T) {
	for _, fine := range []string{token(good()), with(func(c claims) { c["aud"] = Audience }), with(func(c claims) { c["aud"] = []string{"x", Audience} })} {
		if err := plausible(fine, time.Now()); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct{ token, reason string }{
		"none":          {"", "three parts"},
		"join token":    {"wmjoin1.a.b.c", "three parts"},
		"not base64":    {"a.*.c", "base64url"},
		"not JSON":      {"a.YQ.c", "cannot be read"},
		"long":          {strings.Repeat("x", maxToken+1), "more than"},
		"no audience":   {with(func(c claims) { delete(c, "aud") }), "audiences"},
		"API server's":  {with(func(c claims) { c["aud"] = []string{"https://kubernetes.default.svc"} }), "audiences"},
		"odd audience":  {with(func(c claims) { c["aud"] = claims{} }), "cannot be read"},
		"expired":       {with(func(c claims) { c["exp"] = time.Now().Add(-time.Minute).Unix() }), "expired"},
		"never expires": {with(func(c claims) { delete(c, "exp") }), "expired"},
		"no pod":        {with(func(c claims) { delete(c, "kubernetes.io") }), "not bound"},
	} {
		if err := plausible(c.token, time.Now()); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %q", name, err, c.reason)
		}
	}
}

func FuzzPlausible(f *testing.F) {
	f.Add(token(good()))
	f.Add(with(func(c claims) { c["aud"] = Audience }))
	f.Add("e30.e30.e30")
	f.Add(strings.Repeat("x", maxToken+1))
	f.Fuzz(func(t *testing.T, text string) {
		if plausible(text, time.Now()) == nil && (len(text) > maxToken || strings.Count(text, ".") != 2) {
			t.Fatalf("%q", text)
		}
	})
}

// reviewed is what the API server answers about the token of pod shop/web-0.
func reviewed() authenticationv1.TokenReviewStatus {
	return authenticationv1.TokenReviewStatus{
		Authenticated: true, Audiences: []string{Audience},
		User: authenticationv1.UserInfo{
			Username: "system:serviceaccount:shop:web",
			Extra:    map[string]authenticationv1.ExtraValue{podNameExtra: {"web-0"}, podUIDExtra: {"u-1"}},
		},
	}
}

func TestBindingOf(t *testing.T) {
	b, err := bindingOf(reviewed())
	want := binding{mesh.Name{Namespace: "shop", Name: "web-0"}, mesh.Name{Namespace: "shop", Name: "web"}, "u-1"}
	if err != nil || b != want {
		t.Fatalf("%v, %v", b, err)
	}
	type status = authenticationv1.TokenReviewStatus
	for reason, change := range map[string]func(*status){
		"does not accept":    func(s *status) { s.Authenticated, s.Error = false, "expired" },
		"audiences":          func(s *status) { s.Audiences = nil },
		"no service account": func(s *status) { s.User.Username = "shop:web" },
		"no service":         func(s *status) { s.User.Username = "system:serviceaccount:shop" },
		"not bound":          func(s *status) { delete(s.User.Extra, podUIDExtra) },
		"bound to a pod":     func(s *status) { s.User.Extra[podNameExtra] = authenticationv1.ExtraValue{"web-0", "web-1"} },
	} {
		s := reviewed()
		change(&s)
		if _, err := bindingOf(s); !errors.Is(err, ca.ErrRefused) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%v, want %q", err, reason)
		}
	}
}

func pod() *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0", UID: "u-1", Labels: map[string]string{smi.SidecarLabel: smi.SidecarInjected}},
		Spec:       corev1.PodSpec{ServiceAccountName: "web", InitContainers: []corev1.Container{{Name: SidecarContainer}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
}

func TestCheck(t *testing.T) {
	b, _ := bindingOf(reviewed())
	for _, phase := range []corev1.PodPhase{"", corev1.PodPending, corev1.PodRunning} {
		p := pod()
		if p.Status.Phase = phase; b.check(p) != nil {
			t.Errorf("%q: %v", phase, b.check(p))
		}
	}
	for reason, change := range map[string]func(*corev1.Pod){
		"replaced":      func(p *corev1.Pod) { p.UID = "u-2" },
		"being deleted": func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) },
		"(Succeeded)":   func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		"(Failed)":      func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		`"admin"`:       func(p *corev1.Pod) { p.Spec.ServiceAccountName = "admin" },
		`"default"`:     func(p *corev1.Pod) { p.Spec.ServiceAccountName = "" },
		"no sidecar":    func(p *corev1.Pod) { p.Labels = nil },
		"the container": func(p *corev1.Pod) { p.Spec.InitContainers = nil },
	} {
		p := pod()
		change(p)
		if err := b.check(p); !errors.Is(err, ca.ErrRefused) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%v, want %q", err, reason)
		}
	}
}

// apiServer answers as a test says.
type apiServer struct {
	mu       sync.Mutex
	reviews  int
	most, in int
	delay    time.Duration
	failing  bool
	pod      *corev1.Pod
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.in++
	s.most = max(s.most, s.in)
	failing, answer := s.failing, any(s.pod)
	if r.Method == http.MethodPost {
		s.reviews++
		answer = authenticationv1.TokenReview{TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"}, Status: reviewed()}
	}
	s.mu.Unlock()
	time.Sleep(s.delay)
	s.mu.Lock()
	s.in--
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case failing:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Method == http.MethodGet && s.pod == nil:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
	default:
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func (s *apiServer) reviewer(t *testing.T) *Reviewer {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return New(client)
}

func TestAttest(t *testing.T) {
	s := &apiServer{pod: pod()}
	r := s.reviewer(t)
	id, err := r.Attest(t.Context(), token(good()))
	want := ca.Identity{ServiceAccount: mesh.Name{Namespace: "shop", Name: "web"}, Workload: mesh.Name{Namespace: "shop", Name: "web-0"}, Kind: ca.KindPod,
		Owner: identity.Owner{Kind: "Pod", Name: "web-0"}}
	if err != nil || id != want {
		t.Fatalf("%v, %v", id, err)
	}
	s.pod = nil
	if _, err := r.Attest(t.Context(), token(good())); !errors.Is(err, ca.ErrRefused) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a pod that is gone: %v", err)
	}
	before := s.reviews
	if _, err := r.Attest(t.Context(), "nonsense"); !errors.Is(err, ca.ErrRefused) || s.reviews != before {
		t.Errorf("nonsense: %v, %d reviews", err, s.reviews-before)
	}
	s.failing = true
	if _, err := r.Attest(t.Context(), token(good())); err == nil || errors.Is(err, ca.ErrRefused) {
		t.Errorf("an API server that fails is a refusal, or none at all: %v", err)
	}
}

// However many ask, the API server has few questions at a time, and whoever is
// not let in hears it at once.
func TestAttestIsBounded(t *testing.T) {
	s := &apiServer{pod: pod(), delay: 20 * time.Millisecond}
	r := s.reviewer(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[bool]int{}
	for range 2 * maxQueue {
		all.Go(func() {
			_, err := r.Attest(t.Context(), token(good()))
			if err != nil && !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			mu.Lock()
			answers[err == nil]++
			mu.Unlock()
		})
	}
	all.Wait()
	if s.most > maxReviews || answers[true] < maxQueue || answers[false] == 0 {
		t.Errorf("%d questions at a time, %v answered", s.most, answers)
	}
	if len(r.queue) != 0 || len(r.slots) != 0 {
		t.Error("places are not given back")
	}
}

// An API server that hangs holds nobody longer than the limit.
func TestAttestEnds(t *testing.T) {
	s := &apiServer{pod: pod(), delay: time.Second}
	r := s.reviewer(t)
	r.limit = 100 * time.Millisecond
	began := time.Now()
	if _, err := r.Attest(t.Context(), token(good())); !errors.Is(err, ErrBusy) || errors.Is(err, ca.ErrRefused) || time.Since(began) > 900*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
