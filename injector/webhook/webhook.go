// Package webhook answers the API server when a pod of an opted-in namespace is
// created: with the pod's sidecar.
//
// It decides nothing by itself: package inject does. It never calls anybody,
// never keeps anything of a pod, and never lets a pod through that should have
// got a sidecar and could not: that pod is refused with the reason.
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

	"gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/injector/inject"
)

// Path is where the API server asks.
const Path = "/inject"

const (
	// maxReview bounds a question, in bytes: the API server stores objects up to
	// 1.5 MiB.
	maxReview = 4 << 20
	// askTimeout ends a question that does not arrive; the API server gives up
	// after five seconds.
	askTimeout = 5 * time.Second
	// waiting is how many questions may wait for a core.
	waiting = 64
)

// Options say how pods are injected.
type Options struct {
	Settings inject.Settings
	Log      *slog.Logger
}

type webhook struct {
	Options
	slots chan struct{}
}

// New returns the handler of Path.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, &webhook{Options: o, slots: make(chan struct{}, waiting*runtime.GOMAXPROCS(0))})
	return mux
}

// Server returns a server of the handler that slow askers cannot hold up. The
// caller gives it its TLS configuration.
func Server(o Options) *http.Server {
	return &http.Server{
		Handler:           New(o),
		ReadHeaderTimeout: askTimeout,
		ReadTimeout:       askTimeout,
		WriteTimeout:      2 * askTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		http.Error(w, "too many questions at once; ask again", http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		code := http.StatusBadRequest
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			code = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), code)
		return
	}
	answer, err := h.answer(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		h.Log.Debug("the API server left before its answer", "err", err)
	}
}

// answer handles one AdmissionReview; an error says that it is none.
func (h *webhook) answer(body []byte) (*admissionv1.AdmissionReview, error) {
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

// respond injects. What is no new pod goes through untouched: the configuration
// of the webhook asks about new pods only.
func (h *webhook) respond(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if r.Kind.Group != "" || r.Kind.Kind != "Pod" || r.Operation != admissionv1.Create || r.SubResource != "" {
		return &admissionv1.AdmissionResponse{Allowed: true}
	}
	var pod corev1.Pod
	if err := json.Unmarshal(r.Object.Raw, &pod); err != nil {
		return h.refuse(r, fmt.Errorf("the pod cannot be read: %w", err))
	}
	injected, report, err := inject.Pod(&pod, h.Settings)
	if err != nil {
		return h.refuse(r, err)
	}
	out := &admissionv1.AdmissionResponse{Allowed: true}
	if !report.Injected {
		h.Log.Info("left a pod alone", "namespace", r.Namespace, "pod", nameOf(&pod), "why", report.Reason)
		out.Warnings = []string{"no sidecar: " + report.Reason}
		return out
	}
	if out.Patch, err = Patch(&pod, injected); err != nil {
		return h.refuse(r, err)
	}
	patch := admissionv1.PatchTypeJSONPatch
	out.PatchType, out.Warnings = &patch, report.Notes
	h.Log.Info("injected a pod", "namespace", r.Namespace, "pod", nameOf(&pod))
	return out
}

func (h *webhook) refuse(r *admissionv1.AdmissionRequest, err error) *admissionv1.AdmissionResponse {
	h.Log.Warn("refused a pod", "namespace", r.Namespace, "name", r.Name, "by", r.UserInfo.Username, "why", err)
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Message: "wasmesh cannot give this pod a sidecar: " + err.Error(),
	}}
}

// Patch returns the JSON patch that makes one object of the other. It speaks of
// what differs alone, so that fields which only a newer API knows stay.
func Patch(before, after any) ([]byte, error) {
	old, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	made, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	operations, err := jsonpatch.CreatePatch(old, made)
	if err != nil {
		return nil, fmt.Errorf("the patch: %w", err)
	}
	return json.Marshal(operations)
}

// nameOf is what a person knows a new pod by.
func nameOf(pod *corev1.Pod) string {
	if pod.Name != "" {
		return pod.Name
	}
	return pod.GenerateName + "*"
}
