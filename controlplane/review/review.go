// Package review takes in what an API server asks a webhook. Nobody has to prove
// anything to ask, so whatever comes costs a bounded amount of memory, and who
// sends slowly keeps nobody else waiting.
//
// It knows nothing of what is asked, and never decodes what could fill the memory.
package review

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wasmesh/wasmesh/controlplane/door"
)

const (
	// Most bounds a question, in bytes: the API server takes objects up to 3 MiB in
	// a request, stores 1.5 MiB of them, and sends the old one too.
	Most = 4 << 20
	// AskTimeout is when the API server gives up, and so ends what does not arrive.
	AskTimeout = 5 * time.Second
	// leave is how long questions still come after a server is to end, until every
	// API server knows that it goes.
	leave = 3 * time.Second
	// maxArriving are the bodies that arrive at a time; one more closes the one that
	// has taken longest. An honest one needs milliseconds.
	maxArriving = 16
	// maxWaiting bounds, in bytes, the bodies that have arrived.
	maxWaiting = 32 << 20
)

// Reader reads questions. It is safe for concurrent use.
type Reader struct {
	values  int
	wait    time.Duration
	slots   chan struct{}
	room    *door.Room
	waiting atomic.Int64
}

// NewReader returns one for objects of at most so many values (a field, an element
// of a list). So many questions are worked on at a time; the others wait so long
// for their turn.
func NewReader(values, atOnce int, wait time.Duration) *Reader {
	return &Reader{values: values, wait: wait, slots: make(chan struct{}, atOnce), room: door.NewRoom(maxArriving)}
}

// Error is why there is no question, with the code of HTTP to answer.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Read returns the question of a request; done is called when it is answered.
// Its error is always an *Error.
func (d *Reader) Read(w http.ResponseWriter, r *http.Request) (question *admissionv1.AdmissionReview, done func(), err error) {
	body, err := d.arrive(w, r)
	if err != nil {
		return nil, nil, err
	}
	size := int64(len(body))
	leave := func() { d.waiting.Add(-size) }
	if d.waiting.Add(size) > maxWaiting {
		leave()
		return nil, nil, busy()
	}
	if err := d.turn(r); err != nil {
		leave()
		return nil, nil, err
	}
	done = func() { <-d.slots; leave() }
	if question, err = decode(body); err != nil {
		done()
		return nil, nil, &Error{http.StatusBadRequest, err}
	}
	return question, done, nil
}

func busy() error {
	return &Error{http.StatusServiceUnavailable, errors.New("too many questions at once; ask again")}
}

// arrive reads the body.
func (d *Reader) arrive(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &Error{http.StatusUnsupportedMediaType, errors.New("a question is application/json")}
	}
	if r.ContentLength > Most {
		return nil, &Error{http.StatusRequestEntityTooLarge, fmt.Errorf("a question has at most %d bytes", Most)}
	}
	leave := d.room.Enter(arriving{http.NewResponseController(w)})
	defer leave()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, Most))
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return nil, &Error{http.StatusRequestEntityTooLarge, err}
	}
	if err != nil {
		return nil, &Error{http.StatusBadRequest, err}
	}
	return body, nil
}

// arriving is a body that others may put an end to.
type arriving struct{ control *http.ResponseController }

// Close has the next read fail.
func (a arriving) Close() error { return a.control.SetReadDeadline(time.Unix(1, 0)) }

// turn waits for one.
func (d *Reader) turn(r *http.Request) error {
	timer := time.NewTimer(d.wait)
	defer timer.Stop()
	select {
	case d.slots <- struct{}{}:
		return nil
	case <-r.Context().Done():
		return &Error{http.StatusServiceUnavailable, r.Context().Err()}
	case <-timer.C:
		return busy()
	}
}

// Fits says whether the objects of a question can be decoded, or why not. What is
// read of the question before does not decode them.
func (d *Reader) Fits(q *admissionv1.AdmissionRequest) error {
	if n := values(q.Object.Raw) + values(q.OldObject.Raw); n > d.values {
		return fmt.Errorf("it has %d fields and elements, and at most %d are read", n, d.values)
	}
	return nil
}

func decode(body []byte) (*admissionv1.AdmissionReview, error) {
	question := new(admissionv1.AdmissionReview)
	if err := json.Unmarshal(body, question); err != nil {
		return nil, err
	}
	if question.APIVersion != admissionv1.SchemeGroupVersion.String() || question.Kind != "AdmissionReview" || question.Request == nil {
		return nil, errors.New("this is no AdmissionReview of " + admissionv1.SchemeGroupVersion.String() + " with a request")
	}
	return question, nil
}

// values counts fields, elements, objects and lists without decoding them: "{},"
// is three bytes here and some hundred as a container.
func values(body []byte) (n int) {
	quoted := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '{' || c == '['):
			n++
		}
	}
	return n
}

// Fail answers what there is no question for, and returns the code of HTTP. err is
// that of Read.
func Fail(w http.ResponseWriter, err error) (code int) {
	code = http.StatusBadRequest
	if e := new(Error); errors.As(err, &e) {
		code = e.Code
	}
	http.Error(w, err.Error(), code)
	return code
}

// Answer answers the question. An error says that nobody took it.
func Answer(w http.ResponseWriter, question *admissionv1.AdmissionReview, response *admissionv1.AdmissionResponse) error {
	response.UID = question.Request.UID
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: question.APIVersion, Kind: question.Kind}, Response: response,
	})
}

// Server returns a server of the handler that slow askers cannot hold up. The
// caller gives it its TLS configuration.
func Server(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: AskTimeout,
		ReadTimeout:       AskTimeout,
		WriteTimeout:      2 * AskTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Finish ends a server once nobody asks it any more, and what is open then has been
// answered.
func Finish(s *http.Server) error {
	time.Sleep(leave)
	ctx, cancel := context.WithTimeout(context.Background(), AskTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}
