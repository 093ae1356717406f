// Package admission answers the API server when somebody writes an object of the
// mesh: it refuses what can never work, and warns of the rest.
//
// It decides nothing by itself: packages wire and smi do. What it refuses does no
// harm where it is stored all the same, since the control plane judges again; so
// the API server is told to go on without it. It never changes an object, never
// refuses one for what another object lacks, and never asks the API server
// anything.
package admission

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Path is where the API server asks.
const Path = "/validate"

const (
	// maxReview bounds a question, in bytes: the API server stores objects up to
	// 1.5 MiB, and sends the old one too.
	maxReview = 4 << 20
	// askTimeout ends a question that does not arrive; the API server gives up
	// after five seconds.
	askTimeout = 5 * time.Second
)

// Options say what objects are judged by.
type Options struct {
	// Objects returns the mesh as it is, and false while it is not known; nil for
	// never. What it returns is not written to. Without it nothing is said about
	// what an object refers to.
	Objects  func() (smi.Objects, bool)
	Settings smi.Settings
	Log      *slog.Logger
}

// webhook answers questions, a few at a time: each may cost a core tens of
// milliseconds, and who is not served is told so at once.
type webhook struct {
	Options
	slots chan struct{}
}

// New returns the handler of Path. Anybody may ask it: it tells no more than
// whether objects of given names exist.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, &webhook{Options: o, slots: make(chan struct{}, 2*runtime.GOMAXPROCS(0))})
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

// answer judges one AdmissionReview; an error says that it is none.
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
	if !response.Allowed {
		h.Log.Info("refused an object", "kind", review.Request.Kind.Kind, "namespace", review.Request.Namespace,
			"name", review.Request.Name, "by", review.Request.UserInfo.Username, "why", response.Result.Message)
	}
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: review.APIVersion, Kind: review.Kind}, Response: response,
	}, nil
}
