// Package api serves the traffic metrics of SMI over HTTP, in the form of an
// aggregated API of Kubernetes: its paths, errors, discovery and tables.
//
// It finds out what is asked and hands over what metricsapi makes of it. It never
// says who may ask: whoever serves it has let the caller in. It never shows what
// is missing as nothing: that is an error with a reason, or marked as partial.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/wasmesh/wasmesh/controlplane/mesh"
	"github.com/wasmesh/wasmesh/controlplane/metricsapi"
)

const (
	// DefaultWindow is what is told about where nobody says otherwise.
	DefaultWindow = 30 * time.Second
	// Timeout bounds how long a source may take: who asks waits for a minute.
	Timeout = 10 * time.Second
	// maxAtATime bounds the questions that are being worked on.
	maxAtATime = 16
)

// Asked is what a source has to tell about.
type Asked struct {
	Window time.Duration
	// Namespace is the only one that matters; empty for all.
	Namespace string
	// Out: also what left it. Pods: pods are told apart.
	Out, Pods bool
}

// Source knows what sidecars counted.
type Source interface {
	// Traffic tells of the window that ends now. An error says what does not work;
	// that of a context means that it took too long.
	Traffic(context.Context, Asked) (metricsapi.Traffic, error)
	// Bounds are the shortest and the longest window.
	Bounds() (shortest, longest time.Duration)
	// String names it for people.
	String() string
}

// Options say what is served.
type Options struct {
	// Mesh is what there is at the moment; nil: nothing was read yet.
	Mesh   func() *metricsapi.Mesh
	Source Source
	Log    *slog.Logger
}

type server struct {
	Options
	busy chan struct{}
}

// Handler answers GET below /apis, and everything else with an error of Kubernetes.
func Handler(o Options) http.Handler { return &server{o, make(chan struct{}, maxAtATime)} }

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := responder{w, r}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		out.fail(apierrors.NewMethodNotSupported(schema.GroupResource{Group: metricsapi.Group}, clip(r.Method)))
		return
	}
	where, err := parsePath(r.URL.Path)
	if err != nil {
		out.fail(err)
		return
	}
	if where.discovery != nil {
		out.plain(where.discovery)
		return
	}
	p, err := readParameters(r.URL.Query())
	if err != nil {
		out.fail(err)
		return
	}
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		out.fail(apierrors.NewTooManyRequests("too many questions about metrics at a time; ask again", 1))
		return
	}
	s.answer(out, where, p)
}

// answer is about one object, its edges, or a list.
func (s *server) answer(out responder, where place, p parameters) {
	m := s.Mesh()
	if m == nil {
		out.fail(apierrors.NewServiceUnavailable("the mesh is not known yet: its objects are being read"))
		return
	}
	if shortest, longest := s.Source.Bounds(); p.window < shortest || p.window > longest {
		out.fail(apierrors.NewBadRequest("t=" + p.window.String() + ": " + s.Source.String() + " can tell about " +
			shortest.String() + " at least and " + longest.String() + " at most"))
		return
	}
	q := metricsapi.Question{Kind: where.kind, Namespace: where.namespace, Name: where.name, Window: p.window}
	var objects []metricsapi.Object
	if where.name == "" {
		objects = p.choose(m.List(where.kind, where.namespace))
	} else {
		o, ok := m.Get(where.kind, mesh.Name{Namespace: where.namespace, Name: where.name})
		if !ok {
			out.fail(apierrors.NewNotFound(schema.GroupResource{Group: metricsapi.Group, Resource: where.kind.Resource}, where.name))
			return
		}
		objects = []metricsapi.Object{o}
	}
	asked := Asked{Window: p.window, Namespace: where.namespace, Out: where.edges,
		Pods: where.kind.Name == metricsapi.KindPod || where.kind.Name == metricsapi.KindSplit}
	if where.kind.Name == metricsapi.KindNamespace {
		asked.Namespace = where.name
	}
	traffic := metricsapi.Traffic{At: time.Now()}
	if len(objects) > 0 {
		var err error
		if traffic, err = s.ask(out.r.Context(), asked); err != nil {
			out.fail(err)
			return
		}
	}
	switch {
	case where.edges:
		out.list(metricsapi.EdgeList(q, traffic, objects[0]), traffic.Lacks())
	case where.name == "" || where.kind.Name == metricsapi.KindSplit:
		out.list(metricsapi.List(q, traffic, objects), "")
	default:
		out.item(metricsapi.Item(q, traffic, objects[0]))
	}
}

// ask bounds how long the source takes, and says what its failure means.
func (s *server) ask(ctx context.Context, a Asked) (metricsapi.Traffic, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	t, err := s.Source.Traffic(ctx, a)
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, context.DeadlineExceeded):
		err = apierrors.NewTimeoutError(s.Source.String()+" did not answer within "+Timeout.String(), 5)
	default:
		err = apierrors.NewServiceUnavailable(s.Source.String() + ": " + err.Error())
	}
	s.Log.Warn("metrics API: a question could not be answered", "reason", err)
	return t, err
}

// warn tells people, such as those at kubectl, what is wrong with an answer that is
// none the less good for something.
func warn(w http.ResponseWriter, what string) {
	if header, err := utilnet.NewWarningHeader(299, "-", what); err == nil && what != "" {
		w.Header().Add("Warning", header)
	}
}

// status is the error as the API server would write it.
func status(err error) metav1.Status {
	s := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable, Message: err.Error()}
	var told apierrors.APIStatus
	if errors.As(err, &told) {
		s = told.Status()
	}
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return s
}

// Unauthorized answers whoever is not known.
func Unauthorized(w http.ResponseWriter, r *http.Request) {
	responder{w, r}.fail(apierrors.NewUnauthorized("metrics are told to whom is known only"))
}
