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
	"fmt"
	"log/slog"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/door"
	"github.com/wasmesh/wasmesh/controlplane/review"
	"github.com/wasmesh/wasmesh/injector/inject"
)

// Path is where the API server asks.
const Path = "/inject"

const (
	// maxValues bounds a pod: one of a hundred containers with fifty
	// variables each has half of it.
	maxValues = 50_000
	// atOnce is how many are worked on at a time: each costs a core milliseconds,
	// and the largest some tens of megabytes.
	atOnce = 4
	// maxWait is how long a question waits for its turn.
	maxWait = 2 * time.Second
)

// Handler answers questions.
type Handler struct {
	settings inject.Settings
	log      *slog.Logger
	counters Counters
	reader   *review.Reader
	teller   door.Teller
}

// New returns a handler that injects by the settings.
func New(s inject.Settings, log *slog.Logger) *Handler {
	return &Handler{settings: s, log: log, reader: review.NewReader(maxValues, atOnce, maxWait)}
}

// Server returns a server of the handler that slow askers cannot hold up. The
// caller gives it its TLS configuration.
func Server(h *Handler) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, h)
	return review.Server(mux, h.log)
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	question, done, err := h.reader.Read(w, r)
	if err != nil {
		h.fail(w, err)
		return
	}
	defer done()
	began := time.Now()
	if err := review.Answer(w, question, h.respond(question.Request)); err != nil {
		h.log.Debug("the API server left before its answer", "err", err)
	}
	h.counters.took(time.Since(began))
}

// fail says that there is no answer, which stops the pod.
func (h *Handler) fail(w http.ResponseWriter, err error) {
	h.counters.Failed.Add(1)
	h.teller.Warn(h.log, time.Now(), "a question could not be answered", "code", review.Fail(w, err), "err", err)
}

func (h *Handler) respond(q *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	if q.Operation != admissionv1.Create || q.Resource.Group != "" || q.Resource.Resource != "pods" || q.SubResource != "" {
		return h.allow(q, inject.Report{Outcome: inject.LeftAlone, Reason: "it is no pod that is created"}, nil)
	}
	if err := h.reader.Fits(q); err != nil {
		return h.refuse(q, err.Error())
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
