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
	"log/slog"
	"net/http"
	"time"

	"github.com/wasmesh/wasmesh/controlplane/review"
	"github.com/wasmesh/wasmesh/controlplane/smi"
)

// Path is where the API server asks.
const Path = "/validate"

const (
	// maxValues bounds a question: the old object and the new one of ten thousand
	// matches, with who manages which field.
	maxValues = 500_000
	// maxWait is how long a question waits for its turn: each may cost a core tens
	// of milliseconds.
	maxWait = time.Second
	// atOnce is how many are worked on at a time.
	atOnce = 4
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

// webhook answers questions, a few at a time.
type webhook struct {
	Options
	reader *review.Reader
}

// New returns the handler of Path. Anybody may ask it: it tells no more than
// whether objects of given names exist.
func New(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, &webhook{Options: o, reader: review.NewReader(maxValues, atOnce, maxWait)})
	return mux
}

// Server returns a server of the handler that slow askers cannot hold up. The
// caller gives it its TLS configuration.
func Server(o Options) *http.Server {
	return review.Server(New(o), o.Log)
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	question, done, err := h.reader.Read(w, r)
	if err != nil {
		review.Fail(w, err)
		return
	}
	defer done()
	response := h.respond(question.Request)
	if !response.Allowed {
		h.Log.Info("refused an object", "kind", question.Request.Kind.Kind, "namespace", question.Request.Namespace,
			"name", question.Request.Name, "by", question.Request.UserInfo.Username, "why", response.Result.Message)
	}
	if err := review.Answer(w, question, response); err != nil {
		h.Log.Debug("the API server left before its answer", "err", err)
	}
}
