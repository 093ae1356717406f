// Package webhook answers the API server when a pod is created: it puts the
// sidecar in, or refuses the pod with a reason.
//
// What is done to a pod is decided by package inject. The API server asks only
// for namespaces that opted in, and takes no answer for a refusal: so an error of
// this package stops a pod, and never lets one start without its sidecar. It
// never asks the API server anything and keeps nothing of what it sees.
package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/injector/inject"
)

// Path is where the API server asks.
const Path = "/inject"

const (
	// maxReview bounds a question, in bytes: the API server takes pods up to 3 MiB
	// in a request, and sends them as they will be stored.
	maxReview = 4 << 20
	// askTimeout is when the API server gives up.
	askTimeout = 5 * time.Second
	// maxWait is how long a question waits for its turn.
	maxWait = 2 * time.Second
)

// Handler answers questions.
type Handler struct {
	settings inject.Settings
	log      *slog.Logger
	counters Counters
	// slots bounds what is decoded at a time, and so memory.
	slots chan struct{}
}

// New returns a handler that injects by the settings.
func New(s inject.Settings, log *slog.Logger) *Handler {
	return &Handler{settings: s, log: log, slots: make(chan struct{}, 4*runtime.GOMAXPROCS(0))}
}

// Server returns a server of the handler that slow askers cannot hold up. The
// caller gives it its TLS configuration.
func Server(h *Handler) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, h)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: askTimeout,
		ReadTimeout:       askTimeout,
		WriteTimeout:      2 * askTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-r.Context().Done():
		return
	case <-timer.C:
		h.fail(w, http.StatusServiceUnavailable, errors.New("too many questions at once; ask again"))
		return
	}
	began := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		code := http.StatusBadRequest
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			code = http.StatusRequestEntityTooLarge
		}
		h.fail(w, code, err)
		return
	}
	answer, err := h.answer(body)
	if err != nil {
		h.fail(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		h.log.Debug("the API server left before its answer", "err", err)
	}
	h.counters.took(time.Since(began))
}

// fail says that there is no answer, which stops the pod.
func (h *Handler) fail(w http.ResponseWriter, code int, err error) {
	h.counters.Failed.Add(1)
	h.log.Warn("a question could not be answered", "code", code, "err", err)
	http.Error(w, err.Error(), code)
}

// answer judges one AdmissionReview; an error says that it is none.
func (h *Handler) answer(body []byte) (*admissionv1.AdmissionReview, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, err
	}
	if review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != "AdmissionReview" || review.Request == nil {
		return nil, errors.New("this is no AdmissionReview of " + admissionv1.SchemeGroupVersion.String() + " with a request")
	}
	response := h.respond(review.Request)
	response.UID = review.Request.UID
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: review.APIVersion, Kind: review.Kind}, Response: response,
	}, nil
}

func (h *Handler) respond(q *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if q.Operation != admissionv1.Create || q.Resource.Group != "" || q.Resource.Resource != "pods" || q.SubResource != "" {
		return h.allow(q, inject.Report{Outcome: inject.LeftAlone, Reason: "it is no pod that is created"}, nil)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(q.Object.Raw, &pod); err != nil {
		return h.refuse(q, fmt.Sprintf("the pod does not parse: %v", err))
	}
	// Who asks has looked at the label of the namespace.
	out, report := inject.Pod(&pod, inject.Namespace{Name: q.Namespace, Joined: true}, h.settings)
	if report.Outcome == inject.Refused {
		return h.refuse(q, report.Reason)
	}
	ops, err := inject.Patch(&pod, out, "")
	if err != nil {
		return h.refuse(q, err.Error())
	}
	return h.allow(q, report, ops)
}

func (h *Handler) allow(q *admissionv1.AdmissionRequest, r inject.Report, ops []inject.Operation) *admissionv1.AdmissionResponse {
	response := &admissionv1.AdmissionResponse{Allowed: true}
	for _, w := range r.Warnings {
		response.Warnings = append(response.Warnings, "wasmesh: "+w)
	}
	if len(ops) > 0 {
		patch, err := json.Marshal(ops)
		if err != nil {
			return h.refuse(q, err.Error())
		}
		kind := admissionv1.PatchTypeJSONPatch
		response.Patch, response.PatchType = patch, &kind
	}
	if r.Outcome == inject.Done {
		h.counters.Injected.Add(1)
		h.log.Info("injected", "pod", name(q), "probes", len(r.Probes), "warnings", len(r.Warnings))
	} else {
		h.counters.LeftAlone.Add(1)
		h.log.Info("left alone", "pod", name(q), "why", r.Reason)
	}
	return response
}

func (h *Handler) refuse(q *admissionv1.AdmissionRequest, why string) *admissionv1.AdmissionResponse {
	h.counters.Refused.Add(1)
	h.log.Info("refused", "pod", name(q), "by", q.UserInfo.Username, "why", why)
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Message: "the sidecar does not fit this pod: " + why,
	}}
}

// name is that of a pod, which may get the end of it later.
func name(q *admissionv1.AdmissionRequest) string {
	if q.Name != "" {
		return q.Namespace + "/" + q.Name
	}
	var meta struct {
		Metadata struct {
			Name         string `json:"name"`
			GenerateName string `json:"generateName"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(q.Object.Raw, &meta) // a log line only
	if meta.Metadata.Name != "" {
		return q.Namespace + "/" + meta.Metadata.Name
	}
	return q.Namespace + "/" + meta.Metadata.GenerateName + "*"
}
